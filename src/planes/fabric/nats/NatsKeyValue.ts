/**
 * `KeyValue` over a JetStream bucket, in the form that NATS's own clients know. Laws: see `KeyValue`.
 *
 * Every write carries a message id and what it expects of the key, so that one whose outcome is unknown can be tried again.
 * A watch hears of each change as long as it lags no more than `Streams.historyPerKey` changes of one key; behind that it
 * hears of the newest. One that was cut off for so long that marks of deletions are gone compares what it knows.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { nuid } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import type { ReportFault } from "../embedded/ReportFault.ts"
import { FabricUnavailable, OutcomeUnknown, RevisionConflict } from "../FabricError.ts"
import type { Change, Entry, KeyValue } from "../KeyValue.ts"
import { Follower } from "./Follower.ts"
import * as KeyWatch from "./KeyWatch.ts"
import * as Names from "./Names.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { NatsFailureError } from "./NatsFailureError.ts"
import { publish } from "./Publish.ts"
import type { Pulled } from "./PullRequests.ts"
import * as Retry from "./Retry.ts"
import * as StreamReader from "./StreamReader.ts"
import { keyStream, type Streams } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

export const keyBytesMax = 1024
/** One message of NATS, with room for its headers. */
const overheadBytes = 8 * 1024
const operationHeader = "KV-Operation"
/** Of writes without an expectation, which meet others. */
const writeTries = 100
const ownLooks = 10
const ownPauseMs = 50

const refuse = (operation: string, reason: string, retryable: boolean) =>
  new FabricUnavailable({ port: "KeyValue", operation, reason, retryable })

const keyProblem = (key: string): string | undefined => {
  const isKey =
    key.length > 0 && key.isWellFormed() && !key.includes("\0") && Buffer.byteLength(key, "utf8") <= keyBytesMax
  return isKey
    ? undefined
    : `a key is text of 1 to ${keyBytesMax} bytes and ${JSON.stringify(key.slice(0, 40))} is none`
}

/** `live`: not the mark of a deletion. */
interface Stored {
  readonly entry: Entry
  readonly isLive: boolean
}

type Written =
  | { readonly _tag: "Done"; readonly revision: number }
  | { readonly _tag: "Conflict"; readonly actual: number }
  | { readonly _tag: "Refused"; readonly reason: string; readonly retryable: boolean }
  | { readonly _tag: "Unknown"; readonly reason: string }

export const make = async (
  supervisor: Supervisor,
  streams: Streams,
  report: ReportFault
): Promise<KeyValue["Service"]> => {
  const spec = keyStream(supervisor.options.prefix)
  const root = `$KV.${supervisor.options.prefix}.`
  await Retry.ask(supervisor, () => streams.ensure(spec))

  const load = async (key: string): Promise<Stored | undefined> => {
    const query = { last_by_subj: root + Names.keySubject(key) }
    const message = await StreamReader.message(supervisor, spec.name, query)
    if (message === undefined) return undefined
    const entry = { key, value: new Uint8Array(message.data), revision: message.sequence }
    return { entry, isLive: message.header(operationHeader) === undefined }
  }

  /** A try of a write whose outcome is unknown may be what is there, or on its way: then its id stands on it. */
  const findOwn = async (key: string, messageId: string): Promise<Written> => {
    const query = { last_by_subj: root + Names.keySubject(key) }
    for (let look = 0; look < ownLooks; look++) {
      const there = await Retry.ask(supervisor, () => StreamReader.message(supervisor, spec.name, query))
      if (there?.header("Nats-Msg-Id") === messageId) return { _tag: "Done", revision: there.sequence }
      await sleep(ownPauseMs)
    }
    return { _tag: "Unknown", reason: "another write came before it could be confirmed" }
  }

  /** `removing`: nothing to write where there is nothing. */
  const write = async (
    key: string,
    value: Uint8Array,
    expected: number | undefined,
    removing: boolean
  ): Promise<Written> => {
    const messageId = nuid.next()
    const headers: Record<string, string> = removing ? { [operationHeader]: "DEL" } : {}
    for (let round = 0; round < writeTries; round++) {
      const stored = expected === undefined && !removing ? undefined : await Retry.ask(supervisor, () => load(key))
      const actual = stored?.isLive === true ? stored.entry.revision : 0
      if (expected !== undefined && actual !== expected) return { _tag: "Conflict", actual }
      if (removing && actual === 0) return { _tag: "Done", revision: 0 }
      const published = await publish(supervisor, {
        subject: root + Names.keySubject(key),
        data: value,
        headers,
        messageId,
        expectedLastOfSubject: expected === undefined && !removing ? undefined : (stored?.entry.revision ?? 0)
      })
      if (published._tag === "Stored") return { _tag: "Done", revision: published.sequence }
      if (published._tag !== "Conflict") return published
      if (published.wasTried) return await findOwn(key, messageId)
    }
    return { _tag: "Refused", reason: `${key} is written too often by others`, retryable: true }
  }

  const asking = <A>(operation: string, question: () => Promise<A>): Effect.Effect<A, FabricUnavailable> =>
    Effect.tryPromise({
      try: () => Retry.ask(supervisor, question),
      catch: (error) => refuse(operation, NatsFailure.reasonOf(error), NatsFailure.mayPass(NatsFailure.of(error)))
    })

  const writing = (
    operation: string,
    key: string,
    expected: number | undefined,
    body: () => Promise<Written>
  ): Effect.Effect<number, RevisionConflict | FabricUnavailable | OutcomeUnknown> =>
    Effect.flatMap(
      Effect.tryPromise({
        try: () => supervisor.track(body()),
        catch: (error) => refuse(operation, NatsFailure.reasonOf(error), NatsFailure.mayPass(NatsFailure.of(error)))
      }),
      (written): Effect.Effect<number, RevisionConflict | FabricUnavailable | OutcomeUnknown> => {
        switch (written._tag) {
          case "Done":
            return Effect.succeed(written.revision)
          case "Conflict":
            return Effect.fail(new RevisionConflict({ key, expected: expected ?? 0, actual: written.actual }))
          case "Refused":
            return Effect.fail(refuse(operation, written.reason, written.retryable))
          case "Unknown":
            return Effect.fail(new OutcomeUnknown({ port: "KeyValue", operation, reason: written.reason }))
        }
      }
    )

  const changeOf = (message: Pulled): Change => {
    const key = Names.keyOf(message.subject.slice(root.length))
    const revision = message.sequence
    // Marks of a deletion are empty: the headers of the others need not be read.
    return message.data.length > 0 || message.header(operationHeader) === undefined
      ? { _tag: "Put", entry: { key, value: message.data, revision } }
      : { _tag: "Deleted", key, revision }
  }

  const keyIn = (change: Change): string => {
    if (change._tag === "CaughtUp") return ""
    return change._tag === "Put" ? change.entry.key : change.key
  }

  const makeFollower = (prefix: string, { onChange, onMessage, ...more }: KeyWatch.KeyFollowing): Follower =>
    new Follower(supervisor, {
      stream: spec.name,
      filter: root + Names.keyFilter(prefix),
      onMessage: (message) => {
        onMessage?.(message)
        const change = changeOf(message)
        const key = keyIn(change)
        if (key.startsWith(prefix)) onChange(change)
      },
      onCaughtUp: () => onChange({ _tag: "CaughtUp" }),
      report,
      ...more
    })

  /** In order of key. */
  const list = (prefix: string, headersOnly = false): Promise<ReadonlyArray<Entry>> =>
    new Promise((resolve, reject) => {
      const entries = new Map<string, Entry>()
      const limit = setTimeout(() => {
        follower.stop()
        reject(new NatsFailureError({ _tag: "Unknown", reason: `the keys under ${prefix} did not come` }))
      }, supervisor.options.unknownLimitMs)
      const take = (change: Change) => {
        if (change._tag === "Put") entries.set(change.entry.key, change.entry)
        else if (change._tag === "Deleted") entries.delete(change.key)
        else {
          clearTimeout(limit)
          queueMicrotask(() => follower.stop())
          resolve([...entries.values()].sort((left, right) => (left.key < right.key ? -1 : 1)))
        }
      }
      const follower = makeFollower(prefix, { onChange: take, headersOnly })
      follower.started.catch((error: unknown) => {
        clearTimeout(limit)
        reject(error)
      })
    })

  return {
    get: (key) =>
      asking("get", async () => {
        const stored = await load(key)
        return stored?.isLive === true ? stored.entry : undefined
      }),
    list: (prefix) => asking("list", () => list(prefix)),
    put: (key, value, expectedRevision) => {
      const bytesMax = supervisor.maxPayloadBytes - overheadBytes
      const problem =
        value.byteLength > bytesMax
          ? `a value has at most ${bytesMax} bytes (max_payload of the server) and this one has ${value.byteLength}`
          : keyProblem(key)
      if (problem !== undefined) return Effect.fail(refuse("put", problem, false))
      return Effect.suspend(() => {
        // A copy: the caller may go on with its buffer while this waits.
        const stored = new Uint8Array(value)
        return writing("put", key, expectedRevision, () => write(key, stored, expectedRevision, false))
      })
    },
    remove: (key, expectedRevision) => {
      const problem = keyProblem(key)
      if (problem !== undefined) return Effect.fail(refuse("remove", problem, false))
      const body = () => write(key, new Uint8Array(), expectedRevision, true)
      return Effect.asVoid(writing("remove", key, expectedRevision, body))
    },
    watch: (prefix, onChange, watchOptions = {}) => {
      const reading: KeyWatch.Reading = {
        supervisor,
        makeFollower: (options) => makeFollower(prefix, options),
        keys: async () => (await list(prefix, true)).map(({ key }) => key),
        report
      }
      return Effect.gen(function* () {
        const beginning = yield* asking("watch", () => KeyWatch.begin(supervisor, prefix, watchOptions))
        if (beginning.mark !== undefined) watchOptions.goOn?.onGoingOn()
        const watch = yield* Effect.acquireRelease(
          asking("watch", async () => {
            const made = new KeyWatch.KeyWatch(reading, { prefix, onChange, known: watchOptions.known, beginning })
            await made.started
            return made
          }),
          (made) => Effect.sync(() => made.stop())
        )
        return { position: () => watch.position() }
      })
    }
  }
}
