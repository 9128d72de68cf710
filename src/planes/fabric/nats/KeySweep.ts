/**
 * Removes what is left of keys that were removed long ago: the mark of the deletion, and the history under it.
 *
 * Laws: X1 a key that was put again keeps everything: only what is not behind the mark goes. X2 a mark stays for as long as
 * a watcher may lag; how far was swept is told before anything goes, so that one which lagged for longer finds out. X3 of
 * many processes one sweeps. X4 what was swept among other keys is nothing to a watcher: it is told by the keys' first part.
 *
 * @module
 */
import { nuid } from "@nats-io/transport-node"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Follower } from "./Follower.ts"
import * as Names from "./Names.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { NatsFailureError } from "./NatsFailureError.ts"
import { publish } from "./Publish.ts"
import * as StreamReader from "./StreamReader.ts"
import { keyStream } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

/** How long a mark stays, and how often they are looked for. */
export const keptMs = 3_600_000

/**
 * Under this key: what the last sweep did. `through`: behind this sequence no mark was ever swept, by area. `atMs`: Unix
 * time. An area is a key's first part, and the empty text that of all keys which have no parts.
 */
export const key = "key-sweep"
const Swept = Schema.fromJsonString(
  Schema.Struct({ through: Schema.Record(Schema.String, Schema.Int), atMs: Schema.Number })
)
const decode = Schema.decodeUnknownResult(Swept)
const encode = Schema.encodeSync(Swept)

const areaOf = (key: string): string => (key.includes("/") ? key.slice(0, key.indexOf("/")) : "")

interface Mark {
  readonly subject: string
  readonly sequence: number
}

const subjectOf = (supervisor: Supervisor) => `$KV.${supervisor.options.prefix}.${Names.keySubject(key)}`

const look = async (supervisor: Supervisor) => {
  const stream = keyStream(supervisor.options.prefix).name
  const message = await StreamReader.message(supervisor, stream, { last_by_subj: subjectOf(supervisor) })
  const found = decode(Buffer.from(message?.data ?? []).toString("utf8"))
  const swept = Result.isSuccess(found) ? found.success : { through: {}, atMs: 0 }
  return { ...swept, revision: message?.sequence ?? 0 }
}

/** False: another process was faster. */
const tell = async (supervisor: Supervisor, swept: typeof Swept.Type, expected: number): Promise<boolean> => {
  const data = Buffer.from(encode(swept))
  const subject = subjectOf(supervisor)
  const messageId = `${key} ${nuid.next()}`
  const told = await publish(supervisor, { subject, data, headers: {}, messageId, expectedLastOfSubject: expected })
  if (told._tag === "Conflict") return false
  if (told._tag === "Stored") return true
  throw new NatsFailureError({ _tag: "Unknown", reason: told.reason })
}

/** Whoever has heard of everything up to this sequence has heard of every removal under the prefix that was swept. */
export const sweptThrough = async (supervisor: Supervisor, prefix: string): Promise<number> => {
  const isOf = (area: string) =>
    prefix.includes("/") ? area === areaOf(prefix) : area === "" || area.startsWith(prefix)
  const { through } = await look(supervisor)
  return Math.max(0, ...Object.keys(through).map((area) => (isOf(area) ? (through[area] ?? 0) : 0)))
}

/** Of removed keys, the last message each; stored at least `ageMs` ago. */
const marks = (supervisor: Supervisor, ageMs: number): Promise<ReadonlyArray<Mark>> =>
  new Promise((resolve, reject) => {
    const { prefix, unknownLimitMs } = supervisor.options
    // The age is by two clocks; that of the server stamps, and an hour more or less harms nothing.
    const newestMs = Date.now() - ageMs
    const found = new Map<string, Mark>()
    const end = (act: () => void) => {
      clearTimeout(limit)
      queueMicrotask(() => follower.stop())
      act()
    }
    const limit = setTimeout(
      () => end(() => reject(new NatsFailureError({ _tag: "Unknown", reason: "the keys did not come" }))),
      unknownLimitMs
    )
    const follower = new Follower(supervisor, {
      stream: keyStream(prefix).name,
      filter: `$KV.${prefix}.>`,
      headersOnly: true,
      onMessage: ({ subject, sequence, storedAtMs, header }) => {
        if (header("KV-Operation") === undefined || storedAtMs > newestMs) found.delete(subject)
        else found.set(subject, { subject, sequence })
      },
      onCaughtUp: () => end(() => resolve([...found.values()])),
      report: () => undefined
    })
    follower.started.catch((error: unknown) => end(() => reject(error)))
  })

/** Sweeps marks of this age. Answers how many keys were swept. */
export const run = async (supervisor: Supervisor, ageMs: number): Promise<number> => {
  const old = await marks(supervisor, ageMs)
  if (old.length === 0) return 0
  const { through: before, revision } = await look(supervisor)
  const root = `$KV.${supervisor.options.prefix}.`
  const through: Record<string, number> = { ...before }
  for (const { subject, sequence } of old) {
    const area = areaOf(Names.keyOf(subject.slice(root.length)))
    through[area] = Math.max(sequence, through[area] ?? 0)
  }
  if (!(await tell(supervisor, { through, atMs: Date.now() }, revision))) return 0
  let swept = 0
  for (const { subject, sequence } of old) {
    if (supervisor.isClosed) break
    try {
      // X1: up to the mark and not behind it.
      const filter = { filter: subject, seq: sequence + 1 }
      await supervisor.link.manager.streams.purge(keyStream(supervisor.options.prefix).name, filter)
      swept += 1
    } catch (error) {
      if (!NatsFailure.mayPass(NatsFailure.of(error))) throw error
      // The next sweep finds it.
      break
    }
  }
  return swept
}

/** Does nothing where another process sweeps, or did lately: all keys are read for it. */
export const runInTurn = async (supervisor: Supervisor): Promise<number> => {
  const { through, atMs, revision } = await look(supervisor)
  const nowMs = Date.now()
  // A clock that was set back must not stop the sweeping.
  if (Math.abs(nowMs - atMs) < keptMs / 2) return 0
  return (await tell(supervisor, { through, atMs: nowMs }, revision)) ? run(supervisor, keptMs) : 0
}
