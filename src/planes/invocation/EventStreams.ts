/**
 * The event streams of one shard, kept in a log of its own for a bounded time and size, so that a reader can go on after
 * the last event it saw: while the function still streams, afterwards, and after a restart.
 *
 * - Frames are written behind, some tens of milliseconds after they came: an event may be seen that is not stored. A
 *   crash ends its stream in any case, so every reader has a true beginning of it.
 * - That a stream was shown is stored before its first byte is: after a crash no other attempt is begun then, and what
 *   readers saw is never continued by another attempt.
 * - The oldest frames go first, by age, by the size of their stream and by the size of all. A stream that still runs has
 *   its first record written again, so that it is known for as long.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Packr } from "msgpackr"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type { Log } from "../fabric/Log.ts"
import { type Block, EventStream, type StreamFacts, type StreamStore } from "./EventStream.ts"
import type * as LogFence from "./LogFence.ts"
import * as SideLog from "./SideLog.ts"

export interface EventStreamOptions {
  /** How long an event can be read again. Default: 15 minutes. */
  readonly retentionMs: number
  /** Of one stream. Default: 16 MiB. */
  readonly streamBytesMax: number
  /** Of all in the log of a shard. Default: 256 MiB. */
  readonly bytesMax: number
  /** Ended streams that are known. Default: 20,000. */
  readonly countMax: number
  /** How long frames wait for others before they are written. Default: 30. */
  readonly lingerMs: number
}

export const defaults: EventStreamOptions = {
  retentionMs: 15 * 60_000,
  streamBytesMax: 16 * 1024 * 1024,
  bytesMax: 256 * 1024 * 1024,
  countMax: 20_000,
  lingerMs: 30
}

/** Frames that are stored and still in memory, for readers that follow. */
const cachedBytesMax = 32 * 1024 * 1024
/** Frames that wait for the disk; a disk that is slower than this costs the streams, not the process. */
const waitingBytesMax = 64 * 1024 * 1024
/** So many bytes of fresh frames do not wait for others. */
const blockBytesMax = 64 * 1024
/** Counted for a record beside its bytes: what it costs in memory, so that tiny frames are bounded too. */
const recordCostBytes = 512
/** So much of what is kept is let go at once when there is too much. */
const pruneToShare = 0.9

/** Grows when an older reader could misread a record. */
const formatVersion = 1
const packr = new Packr({ useRecords: false })

type End = "complete" | "failed" | "dropped"

type Stored =
  | readonly [format: number, "open", facts: StreamFacts, isShown: boolean, atMs: number]
  | readonly [format: number, "shown", requestId: string, token: number, atMs: number]
  | readonly [
      format: number,
      "frames",
      requestId: string,
      token: number,
      atMs: number,
      first: number,
      frames: Array<Uint8Array>
    ]
  | readonly [format: number, "end", requestId: string, token: number, atMs: number, end: End]

/** A record in the log, oldest first. `block`: the frames that it holds. */
interface Written {
  readonly position: number
  readonly bytes: number
  readonly atMs: number
  readonly stream: EventStream | undefined
  readonly block: Block | undefined
  readonly isEnd: boolean
}

export class EventStreams {
  readonly #options: EventStreamOptions
  readonly #nowMs: () => number
  readonly #streams = new Map<string, EventStream>()
  readonly #changed = new Set<EventStream>()
  readonly #store: StreamStore
  #log: SideLog.SideLog | undefined
  #written: Array<Written> = []
  #writtenBytes = 0
  #cached: Array<Block> = []
  #cachedBytes = 0
  #waitingBytes = 0
  #endedCount = 0
  #timer: NodeJS.Timeout | undefined

  private constructor(options: EventStreamOptions, nowMs: () => number) {
    this.#options = options
    this.#nowMs = nowMs
    this.#store = { changed: (stream) => this.#onChanged(stream), load: (block) => this.#load(block) }
  }

  static readonly open = Effect.fnUntraced(function* (init: {
    readonly log: Log["Service"]
    readonly name: string
    /** Default: false. */
    readonly turn?: LogFence.Turn
    readonly options: EventStreamOptions
    readonly nowMs: () => number
  }): Effect.fn.Return<EventStreams, FabricUnavailable | OutcomeUnknown> {
    const streams = new EventStreams(init.options, init.nowMs)
    const read: Array<Read> = []
    streams.#log = yield* SideLog.open(init.log, init.name, init.turn ?? false, ({ bytes, position }) => {
      read.push(readOf(bytes, position))
    })
    streams.#restore(read)
    streams.prune()
    return streams
  })

  get(requestId: string): EventStream | undefined {
    return this.#streams.get(requestId)
  }

  /** Streams that had not ended when the process before this one did. */
  unfinished(): ReadonlyArray<EventStream> {
    return [...this.#streams.values()].filter(({ state }) => state === "open")
  }

  /** A function began to stream. `isShown`: its caller is about to see it; wait for `shown` before it does. */
  begin(facts: StreamFacts, isShown: boolean): EventStream {
    const stream = new EventStream(facts, isShown, this.#store)
    this.#streams.set(facts.requestId, stream)
    const opened = this.#add([formatVersion, "open", facts, isShown, this.#nowMs()], stream).then((position) => {
      stream.openPosition = position
    })
    stream.shown = isShown ? opened : Promise.resolve()
    opened.catch(() => stream.abandon())
    return stream
  }

  /** Resolves when it is on stable storage that somebody sees it. */
  async show(stream: EventStream): Promise<void> {
    if (!stream.isShown) {
      stream.isShown = true
      const { requestId, token } = stream.facts
      stream.shown = this.#add([formatVersion, "shown", requestId, token, this.#nowMs()], stream).then(() => {})
    }
    await stream.shown
  }

  complete(stream: EventStream): void {
    if (stream.state !== "open") return
    stream.finish()
    this.#end(stream, "complete")
  }

  /** Its attempt is over: one that was shown ends with an error, one that nobody saw never was. */
  interrupt(stream: EventStream): void {
    if (stream.state !== "open") return
    stream.fail()
    if (stream.isShown) return this.#end(stream, "failed")
    this.drop(stream)
  }

  /** It is not needed: nobody saw it, or its answer is kept elsewhere. */
  drop(stream: EventStream): void {
    const { requestId } = stream.facts
    stream.fail()
    if (this.#streams.get(requestId) === stream) this.#streams.delete(requestId)
    this.#changed.delete(stream)
    this.#end(stream, "dropped")
  }

  /** Lets go of what is older or more than is kept. */
  prune(): void {
    const { retentionMs, bytesMax, countMax } = this.#options
    const since = this.#nowMs() - retentionMs
    const targetBytes = this.#writtenBytes > bytesMax ? bytesMax * pruneToShare : bytesMax
    let count = 0
    let position = 0
    for (const written of this.#written) {
      const isOver = written.atMs < since || this.#writtenBytes > targetBytes || this.#endedCount > countMax
      if (!isOver) break
      count++
      position = written.position + 1
      this.#writtenBytes -= written.bytes
      this.#letGo(written)
    }
    if (count === 0) return
    this.#written.splice(0, count)
    // The log is freed once what must outlive it is written again behind it.
    void this.#log?.flushed().then(() => this.#log?.truncate(position))
  }

  /** Until the scope closes. */
  pruning() {
    const everyMs = Math.min(5_000, Math.max(50, this.#options.retentionMs / 4))
    return Effect.forkScoped(
      Effect.forever(
        Effect.andThen(
          Effect.sleep(everyMs),
          Effect.sync(() => this.prune())
        )
      )
    )
  }

  /** They are another owner's: readers hear that theirs broke off, and nothing is written. */
  close(): void {
    clearTimeout(this.#timer)
    for (const stream of this.unfinished()) stream.fail()
    this.#changed.clear()
  }

  async flushed(): Promise<void> {
    this.#flush()
    await this.#open.flushed()
  }

  get #open(): SideLog.SideLog {
    if (this.#log === undefined) throw new Error("invariant broken: the log of event streams is open")
    return this.#log
  }

  #onChanged(stream: EventStream): void {
    const { streamBytesMax } = this.#options
    if (stream.freshBytes >= Math.min(blockBytesMax, streamBytesMax / 4)) this.#writeFrames(stream)
    else this.#changed.add(stream)
    while (stream.keptBytes > streamBytesMax && stream.blocks.length > 0) this.#uncache(stream.dropOldest())
    this.#timer ??= setTimeout(() => this.#flush(), this.#options.lingerMs)
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const changed = [...this.#changed]
    this.#changed.clear()
    for (const stream of changed) this.#writeFrames(stream)
  }

  #writeFrames(stream: EventStream): void {
    const block = stream.takeBlock()
    if (block === undefined || block.frames === undefined) return
    if (this.#waitingBytes + block.bytes > waitingBytesMax) return stream.abandon()
    const { requestId, token } = stream.facts
    this.#waitingBytes += block.bytes
    const stored: Stored = [formatVersion, "frames", requestId, token, this.#nowMs(), block.first, [...block.frames]]
    this.#add(stored, stream, block).then(
      (position) => {
        this.#waitingBytes -= block.bytes
        block.position = position
        this.#cache(block)
      },
      () => {
        this.#waitingBytes -= block.bytes
        stream.abandon()
      }
    )
  }

  /** After all its frames. */
  #end(stream: EventStream, end: End): void {
    this.#changed.delete(stream)
    if (end !== "dropped") this.#writeFrames(stream)
    const { requestId, token } = stream.facts
    // Where it is lost, the next start finds a stream that never ended.
    this.#add([formatVersion, "end", requestId, token, this.#nowMs(), end], stream).catch(() => {})
  }

  async #add(stored: Stored, stream: EventStream, block?: Block): Promise<number> {
    const bytes = packr.pack(stored)
    const position = await this.#open.add(bytes)
    const isEnd = stored[1] === "end" && stored[5] !== "dropped"
    this.#remember({ position, bytes: bytes.length + recordCostBytes, atMs: this.#nowMs(), stream, block, isEnd })
    return position
  }

  #remember(written: Written): void {
    this.#written.push(written)
    this.#writtenBytes += written.bytes
    if (written.isEnd) this.#endedCount++
    if (this.#writtenBytes > this.#options.bytesMax) this.prune()
  }

  #letGo({ stream, block, position, isEnd }: Written): void {
    if (isEnd) this.#endedCount--
    if (stream === undefined) return
    if (block !== undefined && stream.blocks[0] === block) this.#uncache(stream.dropOldest())
    const { requestId } = stream.facts
    if (this.#streams.get(requestId) !== stream) return
    if (isEnd) this.#streams.delete(requestId)
    else if (stream.openPosition === position) this.#renew(stream)
  }

  #renew(stream: EventStream): void {
    stream.openPosition = undefined
    const again: Stored = [formatVersion, "open", stream.facts, stream.isShown, this.#nowMs()]
    this.#add(again, stream).then(
      (position) => {
        stream.openPosition = position
      },
      () => stream.abandon()
    )
  }

  async #load(block: Block): Promise<ReadonlyArray<Uint8Array>> {
    if (block.frames !== undefined) return block.frames
    if (block.position === undefined) throw new Error("invariant broken: a block is in memory or in the log")
    const stored = decode(await this.#open.read(block.position))
    if (stored[1] !== "frames") throw new Error(`the log of event streams holds no frames at ${block.position}`)
    return stored[6]
  }

  #cache(block: Block): void {
    this.#cached.push(block)
    this.#cachedBytes += block.bytes
    let count = 0
    for (const oldest of this.#cached) {
      if (this.#cachedBytes <= cachedBytesMax) break
      count++
      this.#cachedBytes -= oldest.bytes
      oldest.frames = undefined
    }
    if (count > 0) this.#cached.splice(0, count)
  }

  /** Its bytes leave the cache when it is their turn; what counts is that nobody finds them any more. */
  #uncache(block: Block | undefined): void {
    if (block?.position !== undefined) block.frames = undefined
  }

  /** The first record of a stream may stand behind its frames, written again. */
  #restore(read: ReadonlyArray<Read>): void {
    for (const { opened } of read) {
      if (opened === undefined) continue
      const { facts, isShown } = opened
      const known = this.#ofToken(facts.requestId, facts.token)
      if (known === undefined) this.#streams.set(facts.requestId, new EventStream(facts, isShown, this.#store))
      else known.isShown ||= isShown
    }
    for (const { requestId, token, position, bytes, atMs, opened, shown, block, end } of read) {
      const stream = this.#ofToken(requestId, token)
      if (stream !== undefined) {
        if (opened !== undefined) stream.openPosition = position
        if (shown) stream.isShown = true
        if (block !== undefined) stream.restore(block)
        if (end === "complete") stream.finish()
        else if (end !== undefined) stream.fail()
        if (end === "dropped") this.#streams.delete(requestId)
      }
      this.#remember({ position, bytes, atMs, stream, block, isEnd: end === "complete" || end === "failed" })
    }
  }

  #ofToken(requestId: string, token: number): EventStream | undefined {
    const stream = this.#streams.get(requestId)
    return stream?.facts.token === token ? stream : undefined
  }
}

/** What a start keeps of a record: not its frames. */
interface Read {
  readonly requestId: string
  readonly token: number
  readonly position: number
  readonly bytes: number
  readonly atMs: number
  readonly opened?: { readonly facts: StreamFacts; readonly isShown: boolean }
  readonly shown?: boolean
  readonly block?: Block
  readonly end?: End
}

const readOf = (bytes: Uint8Array, position: number): Read => {
  const stored = decode(bytes)
  const size = { position, bytes: bytes.length + recordCostBytes }
  if (stored[1] === "open") {
    const [, , facts, isShown, atMs] = stored
    return { ...size, requestId: facts.requestId, token: facts.token, atMs, opened: { facts, isShown } }
  }
  const about = { ...size, requestId: stored[2], token: stored[3], atMs: stored[4] }
  switch (stored[1]) {
    case "shown":
      return { ...about, shown: true }
    case "end":
      return { ...about, end: stored[5] }
    case "frames": {
      const [, , , , , first, frames] = stored
      const frameBytes = frames.reduce((sum, frame) => sum + frame.length, 0)
      return { ...about, block: { first, count: frames.length, bytes: frameBytes, position, frames: undefined } }
    }
  }
}

const decode = (bytes: Uint8Array): Stored => {
  const value: unknown = packr.unpack(bytes)
  if (!Array.isArray(value) || typeof value[0] !== "number" || value[0] > formatVersion) {
    throw new Error("a record of event streams is not readable by this Millrace: start the newer version that wrote it")
  }
  // Written by this file and read back under SQLite's own checks: the shape is ours.
  return value as unknown as Stored
}
