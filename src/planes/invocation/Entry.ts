/**
 * What the shell keeps beside the buffer machine for one request: its bytes, who waits for it, and the times that its
 * receipt and its story are made of. The machine decides; this remembers.
 *
 * @module
 */
import type { Durability, Mode, Reason, Terminal } from "../../core/buffer/BufferEvent.ts"
import type { HeaderList, RequestHead } from "../../worker-sdk/protocol/WorkerMessage.ts"
import type { Attempt } from "./Attempt.ts"
import type { Body } from "./Body.ts"
import type { Problem } from "./Problem.ts"

export interface Answer {
  readonly status: number
  readonly headers: HeaderList
  readonly body: Body
}

export interface End {
  readonly terminal: Terminal
  readonly reason: Reason | null
  readonly message: string | null
  readonly resultKept: boolean
}

/** The connection that waits for this very call. Calls come in this order: accepted?, then head chunk* done, or whole, or ended. */
export interface Caller {
  /** 202 may be told. */
  readonly accepted: (entry: Entry) => void
  readonly refused: (problem: Problem) => void
  /** Another call with the same idempotency key is the request; wait for that one. */
  readonly joined: (original: Entry) => void
  readonly head: (status: number, headers: HeaderList) => void
  /** False: `onDrain` of the attempt is to be called before more. */
  readonly chunk: (bytes: Uint8Array) => boolean
  readonly done: () => void
  /** The whole answer at once. */
  readonly whole: (answer: Answer) => void
  /** No answer, or no more of it: after `head` the stream can only be broken off. */
  readonly ended: (end: End) => void
}

export interface Times {
  /** The head of the call was here. */
  readonly receivedMs: number
  /** The machine was told. */
  arrivedMs: number
  storedMs: number | undefined
  firstAssignedMs: number | undefined
  assignedMs: number | undefined
  headMs: number | undefined
  endedMs: number | undefined
}

export interface Story {
  readonly atMs: number
  readonly what: string
}

/** A request's story is bounded: a poison request must not grow it. */
const storyMax = 40

/** What most of those that wait do not have; an object of its own, because there may be a hundred thousand of them. */
interface Rare {
  replayOf?: string
  answerBlobId?: string | undefined
  letter?: Promise<void>
  answerPosition?: number
  keepUntilMs?: number | undefined
  progress?: { readonly percent: number; readonly note: string }
  waiters?: Array<() => void> | undefined
  storedWaiters?: Array<() => void> | undefined
  streamWaiters?: Set<() => void> | undefined
  story?: Array<Story>
}

export class Entry {
  readonly sequence: number
  readonly requestId: string
  readonly tenant: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  readonly method: string
  readonly path: string
  readonly mode: Mode
  readonly durability: Durability
  readonly deadlineMs: number
  readonly maxAttempts: number
  readonly resultRetentionMs: number
  /** Something of it may be on disk. */
  readonly isWritten: boolean
  readonly times: Times
  /** Undefined once it was stored and memory was needed: it is read back from `callPosition`. */
  call: { readonly head: RequestHead; readonly body: Body } | undefined
  callPosition: number | undefined
  /** Blobs that are to be removed with it. */
  callBlobId: string | undefined
  answer: Answer | undefined
  caller: Caller | undefined
  attempt: Attempt | undefined
  attempts = 0
  lastInstanceId: string | undefined
  end: End | undefined
  #rare: Rare | undefined

  constructor(init: {
    readonly sequence: number
    readonly requestId: string
    readonly tenant: string
    readonly functionId: string
    readonly functionName: string
    readonly versionId: string
    readonly mode: Mode
    readonly durability: Durability
    readonly deadlineMs: number
    readonly maxAttempts: number
    readonly receivedMs: number
    readonly arrivedMs: number
    readonly head: RequestHead
    readonly body: Body
    readonly caller: Caller | undefined
    readonly resultRetentionMs: number
    readonly isWritten: boolean
    readonly replayOf?: string | undefined
  }) {
    this.sequence = init.sequence
    this.requestId = init.requestId
    this.tenant = init.tenant
    this.functionId = init.functionId
    this.functionName = init.functionName
    this.versionId = init.versionId
    this.method = init.head.method
    this.path = init.head.path
    this.mode = init.mode
    this.durability = init.durability
    this.deadlineMs = init.deadlineMs
    this.maxAttempts = init.maxAttempts
    this.times = {
      receivedMs: init.receivedMs,
      arrivedMs: init.arrivedMs,
      storedMs: undefined,
      firstAssignedMs: undefined,
      assignedMs: undefined,
      headMs: undefined,
      endedMs: undefined
    }
    this.call = { head: init.head, body: init.body }
    this.resultRetentionMs = init.resultRetentionMs
    this.isWritten = init.isWritten
    if (init.replayOf !== undefined) this.#own.replayOf = init.replayOf
    this.callBlobId = init.body.kind === "inline" ? undefined : init.body.id
    this.caller = init.caller
  }

  get #own(): Rare {
    this.#rare ??= {}
    return this.#rare
  }

  /** The dead letter that it replays. */
  get replayOf(): string | undefined {
    return this.#rare?.replayOf
  }

  get answerBlobId(): string | undefined {
    return this.#rare?.answerBlobId
  }

  set answerBlobId(id: string | undefined) {
    if (id !== undefined || this.#rare !== undefined) this.#own.answerBlobId = id
  }

  /** Its dead letter is being written, or was. */
  get letter(): Promise<void> | undefined {
    return this.#rare?.letter
  }

  set letter(letter: Promise<void>) {
    this.#own.letter = letter
  }

  get answerPosition(): number | undefined {
    return this.#rare?.answerPosition
  }

  set answerPosition(position: number) {
    this.#own.answerPosition = position
  }

  /** Of an ended one that is remembered for a claim. */
  get keepUntilMs(): number | undefined {
    return this.#rare?.keepUntilMs
  }

  set keepUntilMs(untilMs: number | undefined) {
    if (untilMs !== undefined || this.#rare !== undefined) this.#own.keepUntilMs = untilMs
  }

  get progress(): { readonly percent: number; readonly note: string } | undefined {
    return this.#rare?.progress
  }

  set progress(progress: { readonly percent: number; readonly note: string }) {
    this.#own.progress = progress
  }

  get story(): ReadonlyArray<Story> {
    return this.#rare?.story ?? []
  }

  note(atMs: number, what: string): void {
    this.#own.story ??= []
    if (this.#own.story.length < storyMax) this.#own.story.push({ atMs, what })
  }

  /** Calls `listener` once the request has ended (at once if it has). Answers a way to stop waiting. */
  onEnd(listener: () => void): () => void {
    if (this.end !== undefined) {
      listener()
      return () => {}
    }
    this.#own.waiters ??= []
    this.#own.waiters.push(listener)
    return () => {
      const at = this.#rare?.waiters?.indexOf(listener) ?? -1
      if (at >= 0) this.#rare?.waiters?.splice(at, 1)
    }
  }

  /** Calls `listener` once the request is on stable storage (at once if it is). */
  onStored(listener: () => void): void {
    if (this.times.storedMs !== undefined) return listener()
    this.#own.storedWaiters ??= []
    this.#own.storedWaiters.push(listener)
  }

  tellStored(atMs: number): void {
    this.times.storedMs = atMs
    const waiters = this.#rare?.storedWaiters
    if (this.#rare === undefined || waiters === undefined) return
    this.#rare.storedWaiters = undefined
    for (const waiter of waiters) waiter()
  }

  /** Calls `listener` when an attempt begins to answer with an event stream. Answers a way to stop waiting. */
  onStream(listener: () => void): () => void {
    this.#own.streamWaiters ??= new Set()
    this.#own.streamWaiters.add(listener)
    return () => this.#rare?.streamWaiters?.delete(listener)
  }

  tellStream(): void {
    const waiters = this.#rare?.streamWaiters
    if (this.#rare === undefined || waiters === undefined) return
    this.#rare.streamWaiters = undefined
    for (const waiter of waiters) waiter()
  }

  tellEnd(end: End): void {
    this.end = end
    const waiters = this.#rare?.waiters
    if (this.#rare === undefined || waiters === undefined) return
    this.#rare.waiters = undefined
    for (const waiter of waiters) waiter()
  }
}
