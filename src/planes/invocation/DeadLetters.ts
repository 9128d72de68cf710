/**
 * Dead letters of one shard: requests whose every attempt was lost, kept whole in a log of their own, so that somebody
 * can look at them and replay them. The index is in memory, heads and bodies are on disk.
 *
 * D1 a letter is on stable storage before its request's end is. D2 a letter is replayed at most once: it carries the id
 * of the request that was made of it. D3 bounded by count, bytes and time; beyond them the oldest goes first, and is
 * counted. D4 what was dropped or expired is gone after a restart too.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Packr } from "msgpackr"
import type { Durability, Mode, Reason } from "../../core/buffer/BufferEvent.ts"
import type { RequestHead } from "../../worker-sdk/protocol/WorkerMessage.ts"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type { Log } from "../fabric/Log.ts"
import type * as LogFence from "./LogFence.ts"
import * as SideLog from "./SideLog.ts"

export interface DeadLetterOptions {
  /** How long a letter is kept. Default: 7 days. */
  readonly retentionMs: number
  /** Default: 10,000. */
  readonly countMax: number
  /** Heads and bodies together. Default: 1 GiB. */
  readonly bytesMax: number
  /**
   * What is dead in the log holds its space until it is more than this and more than what lives: then letters that live
   * are written again behind it. Default: 16 MiB.
   */
  readonly garbageBytesMax: number
}

export const defaults: DeadLetterOptions = {
  retentionMs: 7 * 24 * 3_600_000,
  countMax: 10_000,
  bytesMax: 1024 * 1024 * 1024,
  garbageBytesMax: 16 * 1024 * 1024
}

export interface Replay {
  /** Of the request that was made of the letter. */
  readonly requestId: string
  readonly atMs: number
}

/** What is known of a letter without reading it. */
export interface DeadLetter {
  readonly requestId: string
  readonly tenant: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  readonly method: string
  readonly path: string
  readonly mode: Mode
  readonly durability: Durability
  readonly attempts: number
  readonly maxAttempts: number
  readonly reason: Reason
  readonly message: string | null
  readonly arrivedAtMs: number
  readonly deadAtMs: number
  readonly keepUntilMs: number
  /** From arrival to deadline; the request that a replay makes gets as much. */
  readonly timeoutMs: number
  readonly bodyBytes: number
  /** False: the body never came whole, so the letter cannot be replayed. */
  readonly bodyKept: boolean
  readonly replay: Replay | null
}

export type LetterBody =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly id: string }
  | { readonly kind: "none" }

export interface LetterContent {
  readonly head: RequestHead
  readonly body: LetterBody
  readonly history: ReadonlyArray<{ readonly atMs: number; readonly what: string }>
}

interface Kept {
  letter: DeadLetter
  /**
   * Position of its first record: which death of the request it is of. Records of an earlier death may stand behind those
   * of a later one.
   */
  readonly bornAt: number
  position: number
  /** In the log. */
  readonly recordBytes: number
  readonly blobId: string | undefined
}

/** Grows when an older reader could misread a record. */
const formatVersion = 1
const packr = new Packr({ useRecords: false })

type Stored =
  | readonly [
      format: number,
      "letter",
      DeadLetter,
      RequestHead,
      Uint8Array | string | null,
      LetterContent["history"],
      bornAt: number | null
    ]
  | readonly [format: number, "replayed", requestId: string, Replay, bornAt: number]
  | readonly [format: number, "dropped", requestId: string, bornAt: number]

const expiryCheckMs = 5_000

export class DeadLetters {
  readonly #options: DeadLetterOptions
  readonly #removeBlob: (id: string) => void
  /** In order of position. */
  readonly #kept = new Map<string, Kept>()
  /** Every record in the log, in order of position. */
  #records: Array<{ readonly position: number; readonly bytes: number }> = []
  #log: SideLog.SideLog | undefined
  #bytes = 0
  #liveRecordBytes = 0
  #logBytes = 0
  /** Marks and rewrites of letters follow one another. */
  #last: Promise<unknown> = Promise.resolve()
  #isTidying = false
  /** Letters that went before their time because there was no more room, since the start. */
  evictedCount = 0

  private constructor(options: DeadLetterOptions, removeBlob: (id: string) => void) {
    this.#options = options
    this.#removeBlob = removeBlob
  }

  static readonly open = Effect.fnUntraced(function* (init: {
    readonly log: Log["Service"]
    readonly name: string
    /** Default: false. */
    readonly turn?: LogFence.Turn
    readonly options: DeadLetterOptions
    readonly removeBlob: (id: string) => void
    readonly nowMs: number
  }): Effect.fn.Return<DeadLetters, FabricUnavailable | OutcomeUnknown> {
    const letters = new DeadLetters(init.options, init.removeBlob)
    letters.#log = yield* SideLog.open(init.log, init.name, init.turn ?? false, ({ bytes, position }) =>
      letters.#read(bytes, position)
    )
    letters.expire(init.nowMs)
    letters.#makeRoom()
    return letters
  })

  get count(): number {
    return this.#kept.size
  }

  has(requestId: string): boolean {
    return this.#kept.has(requestId)
  }

  get(requestId: string): DeadLetter | undefined {
    return this.#kept.get(requestId)?.letter
  }

  all(): ReadonlyArray<DeadLetter> {
    return [...this.#kept.values()].map(({ letter }) => letter)
  }

  /** On stable storage when it resolves. A letter of the same request is replaced: its end was not stored yet. */
  async keep(letter: DeadLetter, { head, body, history }: LetterContent): Promise<void> {
    const stored = body.kind === "inline" ? body.bytes : body.kind === "blob" ? body.id : null
    const [position, recordBytes] = await this.#add([formatVersion, "letter", letter, head, stored, history, null])
    const blobId = body.kind === "blob" ? body.id : undefined
    this.#put({ letter, bornAt: position, position, recordBytes, blobId })
    this.#makeRoom()
  }

  async load(requestId: string): Promise<LetterContent | undefined> {
    const kept = this.#kept.get(requestId)
    if (kept === undefined) return undefined
    const stored = decode(await this.#open.read(kept.position))
    if (stored[1] !== "letter") throw new Error(`the log of dead letters holds no letter at ${kept.position}`)
    return { head: stored[3], body: bodyOf(stored[4]), history: stored[5] }
  }

  /** On stable storage when it resolves. The first replay of a letter counts. */
  markReplayed(requestId: string, replay: Replay): Promise<void> {
    return this.#next(async () => {
      const kept = this.#kept.get(requestId)
      if (kept === undefined || kept.letter.replay !== null) return
      await this.#add([formatVersion, "replayed", requestId, replay, kept.bornAt])
      kept.letter = { ...kept.letter, replay }
    })
  }

  /** On stable storage when it resolves; false: there was none. */
  drop(requestId: string): Promise<boolean> {
    return this.#next(async () => {
      const kept = this.#kept.get(requestId)
      if (kept === undefined) return false
      await this.#add([formatVersion, "dropped", requestId, kept.bornAt])
      this.#remove(kept)
      this.#tidy()
      return true
    })
  }

  /** Time passed: what is older than the retention goes. Needs no record, because the next start sees it too. */
  expire(nowMs: number): void {
    for (const kept of this.#kept.values()) if (kept.letter.keepUntilMs <= nowMs) this.#remove(kept)
    this.#tidy()
  }

  /** Until the scope closes. */
  expiring(nowMs: () => number) {
    const check = Effect.sync(() => this.expire(nowMs()))
    const everyMs = Math.min(expiryCheckMs, Math.max(100, this.#options.retentionMs / 4))
    return Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(everyMs), check)))
  }

  async flushed(): Promise<void> {
    await this.#last
    await this.#open.flushed()
  }

  get #open(): SideLog.SideLog {
    if (this.#log === undefined) throw new Error("invariant broken: the log of dead letters is open")
    return this.#log
  }

  #read(bytes: Uint8Array, position: number): void {
    const stored = decode(bytes)
    this.#written(position, bytes.length)
    switch (stored[1]) {
      case "letter": {
        const [, , letter, , body, , before] = stored
        const bornAt = before ?? position
        // One that was written again while the request died anew.
        if ((this.#kept.get(letter.requestId)?.bornAt ?? bornAt) > bornAt) return
        const blobId = typeof body === "string" ? body : undefined
        return this.#put({ letter, bornAt, position, recordBytes: bytes.length, blobId })
      }
      case "replayed": {
        const [, , requestId, replay, bornAt] = stored
        const kept = this.#kept.get(requestId)
        if (kept?.bornAt === bornAt) kept.letter = { ...kept.letter, replay }
        return
      }
      case "dropped": {
        const [, , requestId, bornAt] = stored
        const kept = this.#kept.get(requestId)
        if (kept !== undefined && kept.bornAt <= bornAt) this.#remove(kept)
      }
    }
  }

  async #add(stored: Stored): Promise<readonly [position: number, bytes: number]> {
    const bytes = packr.pack(stored)
    const position = await this.#open.add(bytes)
    this.#written(position, bytes.length)
    return [position, bytes.length]
  }

  #written(position: number, bytes: number): void {
    this.#records.push({ position, bytes })
    this.#logBytes += bytes
  }

  #next<A>(work: () => Promise<A>): Promise<A> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }

  #put(kept: Kept): void {
    const before = this.#kept.get(kept.letter.requestId)
    if (before !== undefined) this.#forget(before)
    this.#kept.set(kept.letter.requestId, kept)
    this.#bytes += sizeOf(kept)
    this.#liveRecordBytes += kept.recordBytes
  }

  #forget(kept: Kept): void {
    if (!this.#kept.delete(kept.letter.requestId)) return
    this.#bytes -= sizeOf(kept)
    this.#liveRecordBytes -= kept.recordBytes
  }

  #remove(kept: Kept): void {
    this.#forget(kept)
    if (kept.blobId !== undefined) this.#removeBlob(kept.blobId)
  }

  #makeRoom(): void {
    const { countMax, bytesMax } = this.#options
    while (this.#kept.size > countMax || this.#bytes > bytesMax) {
      let oldest: Kept | undefined
      for (const kept of this.#kept.values()) {
        if (oldest === undefined || kept.letter.deadAtMs < oldest.letter.deadAtMs) oldest = kept
      }
      if (oldest === undefined) return
      this.#remove(oldest)
      this.evictedCount++
      const { bornAt } = oldest
      const { requestId } = oldest.letter
      // Where this is lost with a crash, the next start finds too much again and makes room again.
      this.#next(() => this.#add([formatVersion, "dropped", requestId, bornAt])).catch(() => {})
    }
    this.#tidy()
  }

  #tidy(): void {
    if (this.#isTidying || this.#log === undefined) return
    this.#isTidying = true
    this.#next(() => this.#compact())
      // Disk space is at stake, not a letter: the next change tries again.
      .catch(() => {})
      .finally(() => {
        this.#isTidying = false
      })
  }

  async #compact(): Promise<void> {
    await this.#freeBefore()
    const { garbageBytesMax } = this.#options
    while (this.#logBytes - this.#liveRecordBytes > Math.max(garbageBytesMax, this.#liveRecordBytes)) {
      const [oldest] = this.#kept.values()
      if (oldest === undefined) return
      const stored = decode(await this.#open.read(oldest.position))
      if (stored[1] !== "letter") throw new Error(`the log of dead letters holds no letter at ${oldest.position}`)
      const [format, kind, , head, body, history] = stored
      const again = [format, kind, oldest.letter, head, body, history, oldest.bornAt] as const
      const [position, recordBytes] = await this.#add(again)
      if (this.#kept.get(oldest.letter.requestId) !== oldest) {
        await this.#add([formatVersion, "dropped", oldest.letter.requestId, oldest.bornAt])
        continue
      }
      this.#forget(oldest)
      this.#put({ ...oldest, position, recordBytes })
      await this.#freeBefore()
    }
  }

  /** Truncates the log to the first letter that lives. */
  async #freeBefore(): Promise<void> {
    const [first] = this.#kept.values()
    const position = first?.position ?? (this.#records.at(-1)?.position ?? -1) + 1
    if (this.#records[0] === undefined || this.#records[0].position >= position) return
    await this.#open.truncate(position)
    let count = 0
    for (const record of this.#records) {
      if (record.position >= position) break
      this.#logBytes -= record.bytes
      count++
    }
    this.#records.splice(0, count)
  }
}

const sizeOf = ({ letter, recordBytes, blobId }: Kept): number =>
  blobId === undefined ? recordBytes : recordBytes + letter.bodyBytes

const bodyOf = (stored: Uint8Array | string | null): LetterBody =>
  stored === null
    ? { kind: "none" }
    : typeof stored === "string"
      ? { kind: "blob", id: stored }
      : { kind: "inline", bytes: stored }

const decode = (bytes: Uint8Array): Stored => {
  const value: unknown = packr.unpack(bytes)
  if (!Array.isArray(value) || typeof value[0] !== "number" || value[0] > formatVersion) {
    throw new Error("a dead letter is not readable by this Millrace: start the newer version that wrote it")
  }
  // Written by this file and read back under SQLite's own checks: the shape is ours.
  return value as unknown as Stored
}
