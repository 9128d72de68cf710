/**
 * `WorkQueue` over JetStream work-queue streams. Laws: see `WorkQueue` and `QueueConsumer`.
 *
 * Orders to agents lie in the streams and have the durable consumers that NVCF gives them; other queues share a stream. A
 * message id counts for `duplicateWindowMs`. Messages that somebody else published have the
 * id that NVCF's agent gives them: a digest of subject and sequence.
 *
 * @module
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import type { ReportFault } from "../embedded/ReportFault.ts"
import { FabricUnavailable, OutcomeUnknown } from "../FabricError.ts"
import { bytesOf } from "../Message.ts"
import type { Delivery, WorkQueue } from "../WorkQueue.ts"
import * as Names from "./Names.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { publish } from "./Publish.ts"
import type { Pulled } from "./PullRequests.ts"
import { type Holding, QueueConsumer } from "./QueueConsumer.ts"
import * as Retry from "./Retry.ts"
import * as StreamReader from "./StreamReader.ts"
import { deadLetterStream, orderStreams, type StreamSpec, type Streams, workStream } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

export const payloadBytesMax = 512 * 1024
export const reasonMax = 2_000
const idHeader = "Millrace-Message-Id"
const reasonHeader = "Millrace-Reason"
/** So many characters of a digest are a label on Kubernetes. */
const digestLength = 63

const refuse = (operation: string, reason: string, retryable: boolean) =>
  new FabricUnavailable({ port: "WorkQueue", operation, reason, retryable })

/** A header is one line of plain characters. */
const encodeHeader = (text: string) => encodeURIComponent(text.toWellFormed())
const decodeHeader = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const digest = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, digestLength)

/** Where a queue lies. */
interface Place {
  readonly spec: StreamSpec
  readonly subject: string
  readonly durable: string
}

const publishProblem = (queue: string, messageId: string, payload: Uint8Array): string | undefined => {
  if (!Names.isSubject(queue)) return `${JSON.stringify(queue.slice(0, 40))} is no name of a queue`
  if (messageId.length === 0 || messageId.length > 400 || !messageId.isWellFormed()) {
    return `${JSON.stringify(messageId.slice(0, 40))} is no message id`
  }
  if (payload.byteLength > payloadBytesMax) {
    return `a message has at most ${payloadBytesMax} bytes and this one has ${payload.byteLength}`
  }
  return undefined
}

export const make = (supervisor: Supervisor, streams: Streams, report: ReportFault): WorkQueue["Service"] => {
  const { prefix } = supervisor.options
  const known = orderStreams(prefix)
  const workRoot = `${prefix}.work.`
  const deadRoot = `${prefix}.dead.`
  const dead = deadLetterStream(prefix)

  const placeOf = (queue: string): Place => {
    const orders = known.find(({ queues }) => queue.startsWith(queues))
    if (orders !== undefined) {
      const cluster = queue.split(".")[orders.clusterAt] ?? ""
      return { spec: orders, subject: orders.root + queue, durable: `${orders.name}-${cluster}` }
    }
    const spec = workStream(prefix)
    return { spec, subject: workRoot + queue, durable: `${spec.name}-${Names.token(queue)}` }
  }

  const roots = [workRoot, ...known.map(({ root }) => root)]
  const queueOf = (subject: string): string =>
    subject.slice(roots.find((root) => subject.startsWith(root))?.length ?? 0)

  const idOf = (message: Pulled): string => {
    const own = message.header(idHeader)
    return own === undefined ? digest(`${message.subject}:${message.sequence}`) : decodeHeader(own)
  }

  /** True when it is kept, now or by an earlier try. */
  const keepDeadLetter = async (queue: string, message: Pulled, reason: string): Promise<boolean> => {
    await streams.ensure(dead)
    const messageId = idOf(message)
    const published = await publish(supervisor, {
      subject: deadRoot + queue,
      data: message.data,
      headers: {
        [idHeader]: encodeHeader(messageId),
        [reasonHeader]: encodeHeader(reason.slice(0, reasonMax))
      },
      messageId: digest(`${queue}\n${messageId}\n${message.sequence}`)
    })
    if (published._tag !== "Stored") {
      report(`a dead letter of ${queue} could not be kept; the message comes again`, published)
    }
    return published._tag === "Stored"
  }

  const deliveryOf = (holding: Holding): Delivery => {
    const { message } = holding
    const queue = queueOf(message.subject)
    // A copy: the client's buffer holds the messages beside it.
    const payload = new Uint8Array(message.data)
    return {
      queue,
      messageId: idOf(message),
      payload,
      content: payload,
      deliveryCount: holding.deliveryCount,
      ack: holding.ack,
      nak: holding.nak,
      extend: holding.extend,
      terminate: (reason) => holding.ackAfter(() => keepDeadLetter(queue, message, reason))
    }
  }

  const unavailable = (operation: string) => (error: unknown) =>
    refuse(operation, NatsFailure.reasonOf(error), NatsFailure.mayPass(NatsFailure.of(error)))

  const readDeadLetters = async (queue: string) => {
    if ((await streams.look(dead)) === undefined) return []
    const letters: Array<{ messageId: string; payload: Uint8Array; reason: string }> = []
    for (let sequence = 1; ; ) {
      const query = { seq: sequence, next_by_subj: deadRoot + queue }
      const message = await StreamReader.message(supervisor, dead.name, query)
      if (message === undefined) return letters
      sequence = message.sequence + 1
      letters.push({
        messageId: decodeHeader(message.header(idHeader) ?? ""),
        payload: new Uint8Array(message.data),
        reason: decodeHeader(message.header(reasonHeader) ?? "")
      })
    }
  }

  return {
    publish: (queue, messageId, payload) => {
      const bytes = bytesOf(payload)
      const problem = publishProblem(queue, messageId, bytes)
      if (problem !== undefined) return Effect.fail(refuse("publish", problem, false))
      // A copy: it may be tried again for longer than the caller leaves its buffer alone.
      const data = new Uint8Array(bytes)
      const { spec, subject } = placeOf(queue)
      return Effect.flatMap(
        Effect.tryPromise({
          try: async () => {
            await Retry.ask(supervisor, () => streams.ensure(spec))
            const headers = { [idHeader]: encodeHeader(messageId) }
            return publish(supervisor, { subject, data, headers, messageId: digest(`${queue}\n${messageId}`) })
          },
          catch: unavailable("publish")
        }),
        (published): Effect.Effect<"published" | "duplicate", FabricUnavailable | OutcomeUnknown> => {
          switch (published._tag) {
            case "Stored":
              return Effect.succeed(published.isDuplicate ? "duplicate" : "published")
            case "Refused":
              return Effect.fail(refuse("publish", published.reason, published.retryable))
            case "Conflict":
              return Effect.fail(refuse("publish", "the server expects another sequence", false))
            case "Unknown":
              return Effect.fail(
                new OutcomeUnknown({ port: "WorkQueue", operation: "publish", reason: published.reason })
              )
          }
        }
      )
    },
    consume: (queue, options, onDelivery) => {
      if (!Names.isFilter(queue) || !(options.ackWaitMs > 0) || !(options.maxInFlight >= 1)) {
        const reason = `cannot consume ${JSON.stringify(queue.slice(0, 40))} with ackWaitMs ${options.ackWaitMs} and maxInFlight ${options.maxInFlight}`
        return Effect.fail(refuse("consume", reason, false))
      }
      const { spec, subject, durable } = placeOf(queue)
      const start = async () => {
        await Retry.ask(supervisor, () => streams.ensure(spec))
        return QueueConsumer.open({
          supervisor,
          report,
          stream: spec.name,
          durable,
          filter: subject,
          consume: options,
          onMessage: (holding) => onDelivery(deliveryOf(holding))
        })
      }
      return Effect.asVoid(
        Effect.acquireRelease(Effect.tryPromise({ try: start, catch: unavailable("consume") }), (consumer) =>
          Effect.promise(() => consumer.close())
        )
      )
    },
    deadLetters: (queue) =>
      Names.isFilter(queue)
        ? Effect.tryPromise({
            try: () => Retry.ask(supervisor, () => readDeadLetters(queue)),
            catch: unavailable("deadLetters")
          })
        : Effect.fail(refuse("deadLetters", `${JSON.stringify(queue.slice(0, 40))} is no name of a queue`, false))
  }
}
