/**
 * Which message of the work queues goes to which consumer, and when again. All messages are in memory, which is why
 * their number and bytes are limited; the store only makes them survive.
 *
 * Laws: Q1 to Q6 of `WorkQueue`, and: E1 a message that was settled before it was sent to the store is never written.
 * E2 an ack of a holder whose time was over counts, since the work is done; its `nak` and `extend` do not. E3 ids are
 * remembered while their message lives and then for `rememberMs`, at most `rememberedMax` per queue.
 *
 * @module
 */
import { RecentMap } from "../../../core/collections/RecentMap.ts"
import * as CrashPoint from "../../CrashPoint.ts"
import type { Payload } from "../Message.ts"
import * as Subject from "../Subject.ts"
import type { ConsumeOptions, Delivery } from "../WorkQueue.ts"
import * as GivenDelivery from "./GivenDelivery.ts"
import { type Consumer, type PublishOutcome, payloadOf, type QueuedMessage } from "./QueuedMessage.ts"
import type { ReportFault } from "./ReportFault.ts"
import type { StoredMessage } from "./StoreMessage.ts"

export const rememberMs = 120_000
export const rememberedMax = 10_000
/** Over all queues. Orders are few and small: whoever gets here has a consumer that is gone. */
export const messagesMax = 100_000
export const payloadBytesMax = 64 * 1024 * 1024
/** Of one message. */
export const messageBytesMax = 1024 * 1024

/** Why it cannot be published; undefined: it can. */
export const sizeProblem = ({ byteLength }: Uint8Array): string | undefined =>
  byteLength > messageBytesMax
    ? `a message has at most ${messageBytesMax} bytes and this one has ${byteLength}`
    : undefined

/** A longer timer would fire at once. */
const timerMsMax = 2_147_483_647

/** What the store is told. Answers are wanted for publishing only. */
export interface QueueStore {
  /** False: it would refuse what it was given now. */
  readonly isTaking: () => boolean
  /** `isWanted` is asked when the message is sent: false withdraws it. */
  readonly publish: (
    message: QueuedMessage,
    isWanted: () => boolean,
    onOutcome: (outcome: PublishOutcome) => void
  ) => void
  readonly countDelivery: (message: QueuedMessage) => void
  readonly settle: (message: QueuedMessage, settledAtMs: number) => void
  readonly deadLetter: (message: QueuedMessage, reason: string, settledAtMs: number) => void
  readonly forget: (sequences: ReadonlyArray<number>) => void
}

export interface Options {
  readonly store: QueueStore
  readonly messages: ReadonlyArray<StoredMessage>
  readonly nextSequence: number
  /** Wall clock, milliseconds: it must mean something after a restart. */
  readonly nowMs: () => number
  readonly report: ReportFault
}

/** When it was settled; with its sequence where the store knows it too. Most orders are never stored. */
type Remembered = number | { readonly sequence: number; readonly settledAtMs: number }

interface Queue {
  readonly name: string
  /** Of its name. */
  readonly tokens: ReadonlyArray<string>
  /** Every message that is not settled, by id, but for `handed`. */
  readonly live: Map<string, QueuedMessage>
  /** In the hands of a consumer in the turn in which it came: a map that fills and empties costs more than the rest. */
  handed: QueuedMessage | undefined
  /** Settled, oldest first. */
  readonly remembered: RecentMap<string, Remembered>
  /** Not yet delivered, in order of publishing. Sets keep the order and give up any member cheaply. */
  readonly fresh: Set<QueuedMessage>
  /** To be delivered again; goes before `fresh`. */
  readonly again: Set<QueuedMessage>
}

const none: ReadonlyArray<Queue> = []
const kept: PublishOutcome = { _tag: "Kept" }

export type PublishAnswer = { readonly answer: "published" | "duplicate"; readonly outcome: PublishOutcome }

export const make = ({ store, messages, nextSequence, nowMs, report }: Options) => {
  const queues = new Map<string, Queue>()
  /** Those with something to deliver. */
  const backlogged = new Set<Queue>()
  /** Those to look at in the running `pump`. */
  const toServe = new Set<Queue>()
  let consumers: ReadonlyArray<Consumer> = []
  let sequence = nextSequence
  let messageCount = 0
  let payloadBytes = 0
  let isPumping = false
  let isClosed = false

  const queueOf = (name: string): Queue => {
    const known = queues.get(name)
    if (known !== undefined) return known
    const queue: Queue = {
      name,
      tokens: name.split("."),
      live: new Map(),
      handed: undefined,
      remembered: new RecentMap(),
      fresh: new Set(),
      again: new Set()
    }
    queues.set(name, queue)
    return queue
  }

  const keep = (queue: Queue, message: QueuedMessage) => {
    message.isKept = true
    queue.live.set(message.messageId, message)
    messageCount += 1
    payloadBytes += message.payloadBytes
  }

  const lineUp = (queue: Queue, message: QueuedMessage) => {
    queue.fresh.add(message)
    backlogged.add(queue)
  }

  /** Takes the message out of everything but the memory of ids. */
  const drop = (queue: Queue, message: QueuedMessage) => {
    clearTimeout(message.timer)
    message.holder?.held.delete(message)
    message.holder = undefined
    message.stage = "Settled"
    queue.live.delete(message.messageId)
    queue.fresh.delete(message)
    queue.again.delete(message)
    if (!message.isKept) return
    messageCount -= 1
    payloadBytes -= message.payloadBytes
  }

  /** E3. */
  const forgetOld = (queue: Queue) => {
    const oldestMs = nowMs() - rememberMs
    const { remembered } = queue
    let forgotten: Array<number> | undefined
    for (let oldest = remembered.oldest(); oldest !== undefined; oldest = remembered.oldest()) {
      const [messageId, known] = oldest
      const settledAtMs = typeof known === "number" ? known : known.settledAtMs
      if (settledAtMs > oldestMs && remembered.size <= rememberedMax) break
      remembered.delete(messageId)
      if (typeof known === "number") continue
      forgotten ??= []
      forgotten.push(known.sequence)
    }
    if (forgotten !== undefined) store.forget(forgotten)
    if (queue.remembered.size === 0 && queue.live.size === 0 && queue.handed === undefined) {
      queues.delete(queue.name)
      backlogged.delete(queue)
    }
  }

  const settle = (message: QueuedMessage, deadLetterReason: string | undefined) => {
    if (message.stage === "Settled" || isClosed) return
    const queue = queueOf(message.queue)
    const settledAtMs = nowMs()
    const { holder } = message
    drop(queue, message)
    message.isDeadLetter = deadLetterReason !== undefined
    CrashPoint.hit("queue.settle.before")
    const isStored = message.storage !== "Unsent" || message.isDeadLetter
    queue.remembered.set(message.messageId, isStored ? { sequence: message.sequence, settledAtMs } : settledAtMs)
    if (deadLetterReason !== undefined) {
      submit(message)
      store.deadLetter(message, deadLetterReason, settledAtMs)
    } else if (isStored) store.settle(message, settledAtMs)
    CrashPoint.hit("queue.settle.after")
    forgetOld(queue)
    if (holder !== undefined) pump(servable(holder))
  }

  /** What a consumer with a free place may get. */
  const servable = (consumer: Consumer): ReadonlyArray<Queue> =>
    backlogged.size === 0 ? none : [...backlogged].filter((queue) => Subject.matches(consumer.tokens, queue.tokens))

  const release = (message: QueuedMessage): Consumer | undefined => {
    const { holder } = message
    clearTimeout(message.timer)
    holder?.held.delete(message)
    message.holder = undefined
    return holder
  }

  const makeReady = (message: QueuedMessage): Queue => {
    message.stage = "Ready"
    const queue = queueOf(message.queue)
    queue.again.add(message)
    backlogged.add(queue)
    return queue
  }

  const rest = (message: QueuedMessage, delayMs: number) => {
    const holder = release(message)
    message.stage = "Resting"
    message.timer = setTimeout(() => pump([makeReady(message)]), Math.min(Math.max(delayMs, 0), timerMsMax))
    if (holder !== undefined) pump(servable(holder))
  }

  const startDeadline = (message: QueuedMessage, ackWaitMs: number) => {
    clearTimeout(message.timer)
    const expire = () => {
      const holder = release(message)
      makeReady(message)
      if (holder !== undefined) pump(servable(holder))
    }
    message.timer = setTimeout(expire, Math.min(ackWaitMs, timerMsMax))
  }

  /** What a consumer says of what it has. */
  const answers: GivenDelivery.Answers = {
    settle,
    nak: (message, delayMs) => rest(message, delayMs),
    extend: (message, ackWaitMs) => startDeadline(message, ackWaitMs),
    isOpen: () => !isClosed
  }

  const deliver = (message: QueuedMessage, consumer: Consumer) => {
    message.deliveryCount += 1
    message.stage = "Out"
    message.holder = consumer
    CrashPoint.hit("queue.deliver")
    if (message.storage !== "Unsent") store.countDelivery(message)
    message.timer = undefined
    try {
      consumer.onDelivery(new GivenDelivery.GivenDelivery(message, consumer, answers))
    } catch (error) {
      report(`a consumer of ${consumer.queue} threw on ${message.messageId}, which comes again`, error)
    }
    // Most are settled by now: they need no timer, and nobody holds them.
    if (message.stage !== "Out" || message.holder !== consumer) return
    if (!consumer.isOpen) {
      release(message)
      toServe.add(makeReady(message))
      return
    }
    consumer.held.add(message)
    if (message.timer === undefined) startDeadline(message, consumer.ackWaitMs)
  }

  const takeConsumer = (queue: Queue): Consumer | undefined => {
    const found = consumers.find(
      (consumer) => consumer.held.size < consumer.maxInFlight && Subject.matches(consumer.tokens, queue.tokens)
    )
    // Last served is last asked, so that consumers of one queue share its messages.
    if (found !== undefined && consumers.at(-1) !== found) {
      consumers = [...consumers.filter((one) => one !== found), found]
    }
    return found
  }

  /** Serves these queues. Called again from inside `onDelivery`, it leaves the work to the outer call. */
  const pump = (candidates: Iterable<Queue>) => {
    for (const queue of candidates) toServe.add(queue)
    if (isPumping || isClosed) return
    isPumping = true
    try {
      // One message of each in turn, so that a long queue does not hold up a short one.
      while (toServe.size > 0) for (const queue of toServe) if (!serveOne(queue)) toServe.delete(queue)
    } finally {
      isPumping = false
    }
  }

  /** Before the store knows of it. False: nobody could have it, or the store would refuse it. */
  const handOver = (queue: Queue, message: QueuedMessage): boolean => {
    const before = queue.handed
    queue.handed = message
    const isDelivered = store.isTaking() && deliverAtOnce(queue, message)
    queue.handed = before
    if (message.stage !== "Settled") keep(queue, message)
    return isDelivered
  }

  /** The store may have refused it already; where others wait, it waits behind them. */
  const deliverAtOnce = (queue: Queue, message: QueuedMessage): boolean => {
    if (message.stage !== "Ready" || isPumping || isClosed || backlogged.size > 0) return message.stage === "Settled"
    const consumer = takeConsumer(queue)
    if (consumer === undefined) return false
    isPumping = true
    try {
      deliver(message, consumer)
    } finally {
      isPumping = false
    }
    // What was published or given back meanwhile.
    if (toServe.size > 0) pump([])
    return true
  }

  const serveOne = (queue: Queue): boolean => {
    const line = queue.again.size > 0 ? queue.again : queue.fresh
    const [message] = line
    if (message === undefined) {
      backlogged.delete(queue)
      return false
    }
    const consumer = takeConsumer(queue)
    if (consumer === undefined) return false
    line.delete(message)
    deliver(message, consumer)
    return true
  }

  const overflow = (size: number): string | undefined => {
    if (messageCount >= messagesMax) return `${messageCount} messages wait for their consumers, which is the limit`
    if (payloadBytes + size > payloadBytesMax) {
      return `messages of ${payloadBytes} bytes wait for their consumers, and ${payloadBytesMax} is the limit`
    }
    return undefined
  }

  const onStored = (message: QueuedMessage, outcome: PublishOutcome) => {
    let final = outcome
    if (message.stage === "Settled") final = kept
    else if (outcome._tag === "Kept") message.storage = "Stored"
    else {
      // A consumer that has it may have acted on it, so "it did not happen" would be a lie.
      if (message.deliveryCount > 0) final = { ...outcome, isKnown: false }
      const { holder } = message
      drop(queueOf(message.queue), message)
      if (holder !== undefined) pump(servable(holder))
    }
    for (const told of message.whenStored.splice(0)) told(final)
  }

  const publish = (name: string, messageId: string, content: Payload, onAnswer: (answer: PublishAnswer) => void) => {
    const queue = queueOf(name)
    forgetOld(queue)
    const twin = queue.handed?.messageId === messageId ? queue.handed : queue.live.get(messageId)
    if (twin !== undefined && twin.storage !== "Stored") {
      // The first one is not on the disk yet, so this one may not say that it is.
      twin.whenStored.push((outcome) => onAnswer({ answer: "duplicate", outcome }))
      return
    }
    if (twin !== undefined || queue.remembered.has(messageId)) {
      return onAnswer({ answer: "duplicate", outcome: { _tag: "Kept" } })
    }
    const size = content instanceof Uint8Array ? content.byteLength : 0
    const reason = overflow(size)
    if (reason !== undefined) {
      return onAnswer({ answer: "published", outcome: { _tag: "Lost", reason, isKnown: true, retryable: true } })
    }
    const message: QueuedMessage = {
      sequence: sequence++,
      queue: name,
      messageId,
      content,
      payloadBytes: size,
      deliveryCount: 0,
      stage: "Ready",
      storage: "Unsent",
      isDeadLetter: false,
      isKept: false,
      isSubmitted: false,
      holder: undefined,
      timer: undefined,
      whenStored: [(outcome) => onAnswer({ answer: "published", outcome })]
    }
    queues.set(name, queue)
    const isDelivered = handOver(queue, message)
    // E1, and the store need not even hear of it: nearly all orders of a storm of starts end here.
    if (isDelivered && message.stage === "Settled" && !message.isSubmitted) return onStored(message, kept)
    submit(message)
    if (!isDelivered && !deliverAtOnce(queue, message)) {
      lineUp(queue, message)
      pump([queue])
    }
    weigh(message)
  }

  /** Once, and before anything else is told of it. */
  const submit = (message: QueuedMessage) => {
    if (message.isSubmitted) return
    message.isSubmitted = true
    const isWanted = () => message.stage !== "Settled" || message.isDeadLetter
    store.publish(message, isWanted, (outcome) => onStored(message, outcome))
  }

  /** What was not settled in the turn in which it came lasts, and is bytes from now on. */
  const weigh = (message: QueuedMessage) => {
    if (message.stage === "Settled" || message.content instanceof Uint8Array) return
    const payload = payloadOf(message)
    message.payloadBytes = payload.byteLength
    payloadBytes += payload.byteLength
    const reason = sizeProblem(payload)
    if (reason !== undefined) onStored(message, { _tag: "Lost", reason, isKnown: true, retryable: false })
  }

  const addConsumer = (
    queue: string,
    { ackWaitMs, maxInFlight }: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void
  ): Consumer => {
    const tokens = queue.split(".")
    const consumer: Consumer = { queue, tokens, ackWaitMs, maxInFlight, onDelivery, held: new Set(), isOpen: true }
    consumers = [...consumers, consumer]
    // Not at once: whoever consumes has not got its own things in order before this call returns.
    queueMicrotask(() => pump(servable(consumer)))
    return consumer
  }

  const removeConsumer = (consumer: Consumer) => {
    consumer.isOpen = false
    consumers = consumers.filter((other) => other !== consumer)
    if (isClosed) return
    const held = [...consumer.held].sort((left, right) => left.sequence - right.sequence)
    for (const message of held) release(message)
    pump(held.map(makeReady))
  }

  const bySettling = messages.toSorted((left, right) => (left.settledAtMs ?? 0) - (right.settledAtMs ?? 0))
  for (const { settledAtMs, payload, ...stored } of bySettling) {
    const queue = queueOf(stored.queue)
    if (settledAtMs !== undefined) {
      queue.remembered.set(stored.messageId, { sequence: stored.sequence, settledAtMs })
    } else {
      const message: QueuedMessage = {
        ...stored,
        content: payload,
        payloadBytes: payload.byteLength,
        stage: "Ready",
        storage: "Stored",
        isDeadLetter: false,
        isKept: false,
        isSubmitted: true,
        holder: undefined,
        timer: undefined,
        whenStored: []
      }
      keep(queue, message)
      lineUp(queue, message)
    }
  }
  const forgetAllOld = () => {
    for (const queue of queues.values()) forgetOld(queue)
  }
  forgetAllOld()
  const housekeeping = setInterval(forgetAllOld, rememberMs / 4)

  return {
    publish,
    addConsumer,
    removeConsumer,
    close: () => {
      isClosed = true
      clearInterval(housekeeping)
      for (const queue of queues.values()) for (const message of queue.live.values()) clearTimeout(message.timer)
    }
  }
}

export type QueueGroup = ReturnType<typeof make>
