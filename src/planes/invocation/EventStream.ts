/**
 * The frames of one attempt's event stream: those that are kept, where they are, and whoever follows them.
 *
 * V1 a reader gets the frames after the one it named, each once and in order, or an error: never a gap. V2 it hears that
 * the stream is complete only when it is. V3 a stream belongs to one attempt; nothing is ever added from another.
 *
 * @module
 */
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as EventFrames from "./EventFrames.ts"
import { ownId, Splitter } from "./EventFrames.ts"

/** Frames that were written together. */
export interface Block {
  /** Index of its first frame. */
  readonly first: number
  readonly count: number
  readonly bytes: number
  /** In the log; undefined while it is being written. */
  position: number | undefined
  /** Undefined: not in memory any more. */
  frames: ReadonlyArray<Uint8Array> | undefined
}

export interface StreamFacts {
  readonly requestId: string
  readonly tenant: string
  readonly token: number
  readonly attempt: number
  readonly workerId: string
  readonly status: number
  readonly headers: HeaderList
}

export interface Frame {
  /** From 1. */
  readonly index: number
  readonly bytes: Uint8Array
}

/** Frames that a reader asked for are not kept any more, or never were. */
export class EventsGone extends Error {
  constructor() {
    super("the events that follow are not kept any more")
  }
}

export interface StreamStore {
  /** Frames were added. */
  readonly changed: (stream: EventStream) => void
  readonly load: (block: Block) => Promise<ReadonlyArray<Uint8Array>>
}

export class EventStream {
  readonly facts: StreamFacts
  state: "open" | "complete" | "failed" = "open"
  /** Somebody may have seen a part of it: there must be no other attempt. Durable when `shown` has resolved. */
  isShown: boolean
  shown: Promise<void> = Promise.resolve()
  /** Its first record in the log, for the store. */
  openPosition: number | undefined
  /** Oldest first, without gaps. */
  blocks: Array<Block> = []
  /** Frames that are not in a block yet. */
  fresh: Array<Uint8Array> = []
  freshBytes = 0
  keptBytes = 0
  /** Frames before it are gone. */
  #firstKept = 1
  #next = 1
  readonly #store: StreamStore
  readonly #splitter = new Splitter()
  #isAbandoned = false
  #waiters: Array<() => void> = []

  constructor(facts: StreamFacts, isShown: boolean, store: StreamStore) {
    this.facts = facts
    this.isShown = isShown
    this.#store = store
  }

  /** Frames so far, also those that are gone. */
  get count(): number {
    return this.#next - 1
  }

  get firstKept(): number {
    return this.#firstKept
  }

  /** Bytes of the function. */
  push(bytes: Uint8Array): void {
    if (this.state !== "open" || this.#isAbandoned) return
    const frames = this.#splitter.push(bytes)
    if (this.#splitter.isRaw) return this.abandon()
    for (const frame of frames) this.#add(frame)
    if (frames.length > 0) this.#store.changed(this)
  }

  /** The function ended it. */
  finish(): void {
    if (this.state !== "open") return
    const rest = this.#isAbandoned ? undefined : this.#splitter.end()
    if (rest !== undefined) this.#add(rest)
    this.state = "complete"
    this.#wake()
  }

  fail(): void {
    if (this.state !== "open") return
    this.state = "failed"
    this.#wake()
  }

  /** It can be kept no longer: readers get an error, its caller goes on. */
  abandon(): void {
    if (this.#isAbandoned) return
    this.#isAbandoned = true
    this.blocks = []
    this.fresh = []
    this.freshBytes = 0
    this.keptBytes = 0
    this.#next++
    this.#firstKept = this.#next
    this.#wake()
  }

  /** What was read back at the start. */
  restore(block: Block): void {
    if (this.blocks.length === 0) this.#firstKept = block.first
    this.blocks.push(block)
    this.keptBytes += block.bytes
    this.#next = block.first + block.count
  }

  /** The fresh frames as a block, for the store to write. */
  takeBlock(): Block | undefined {
    const frames = this.fresh
    if (frames.length === 0) return undefined
    const block: Block = {
      first: this.#next - frames.length,
      count: frames.length,
      bytes: this.freshBytes,
      position: undefined,
      frames
    }
    this.fresh = []
    this.freshBytes = 0
    this.blocks.push(block)
    return block
  }

  dropOldest(): Block | undefined {
    const block = this.blocks.shift()
    if (block === undefined) return undefined
    this.keptBytes -= block.bytes
    this.#firstKept = block.first + block.count
    return block
  }

  /** Index of the frame that carries this id; undefined: none that is kept does. */
  async find(id: string): Promise<number | undefined> {
    const index = EventFrames.indexOf(this.facts.requestId, id)
    if (index !== undefined) return index <= this.count ? index : undefined
    let found: number | undefined
    for (const block of [...this.blocks]) {
      const frames = block.frames ?? (await this.#store.load(block))
      frames.forEach((frame, at) => {
        if (found === undefined && ownId(frame) === id) found = block.first + at
      })
      if (found !== undefined) return found
    }
    const at = this.fresh.findIndex((frame) => ownId(frame) === id)
    return at < 0 ? undefined : this.#next - this.fresh.length + at
  }

  /** Frames after `after`, and those that come, until the stream ends (look at `state`). Throws `EventsGone`. */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<Frame> {
    let index = after + 1
    while (!signal.aborted) {
      if (index < this.#firstKept) throw new EventsGone()
      if (index < this.#next) {
        for (const bytes of await this.#from(index)) yield { index: index++, bytes }
        continue
      }
      if (this.state !== "open") return
      await this.#change(signal)
    }
  }

  async #from(index: number): Promise<ReadonlyArray<Uint8Array>> {
    const firstFresh = this.#next - this.fresh.length
    if (index >= firstFresh) return this.fresh.slice(index - firstFresh)
    const block = this.#blockOf(index)
    if (block === undefined) throw new EventsGone()
    const frames = block.frames ?? (await this.#store.load(block))
    return frames.slice(index - block.first)
  }

  #blockOf(index: number): Block | undefined {
    let low = 0
    let high = this.blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const block = this.blocks[middle]
      if (block !== undefined && block.first + block.count <= index) low = middle + 1
      else high = middle
    }
    return this.blocks[low]
  }

  #add(frame: Uint8Array): void {
    // A copy: a piece of a message would keep the whole message in memory.
    this.fresh.push(new Uint8Array(frame))
    this.freshBytes += frame.length
    this.keptBytes += frame.length
    this.#next++
    this.#wake()
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done)
        resolve()
      }
      signal.addEventListener("abort", done)
      this.#waiters.push(done)
    })
  }

  #wake(): void {
    if (this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter()
  }
}
