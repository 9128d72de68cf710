/**
 * What the shell keeps beside the buffer machine for one request: its bytes, who waits for it, and the times that its
 * receipt and its story are made of. The machine decides; this remembers.
 *
 * @module
 */
import type { Arrived, Durability, Mode, Reason, Terminal } from "../../core/buffer/BufferEvent.ts"
import { isWritten } from "../../core/request/RequestState.ts"
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
  /** The request has another owner, and what becomes of it is to be heard there. The last that is told here. */
  readonly moved: (entry: Entry) => void
}

export interface Story {
  readonly atMs: number
  readonly what: string
}

/** A request's story is bounded: a poison request must not grow it. */
const storyMax = 40

// A hundred thousand may wait, so what most of those that wait do not have is in objects of its own.

/** Since its first attempt, or its end. */
interface Course {
  firstAssignedMs: number | undefined
  assignedMs: number | undefined
  headMs: number | undefined
  endedMs: number | undefined
  attempt: Attempt | undefined
  attempts: number
  lastInstanceId: string | undefined
  answer: Answer | undefined
  end: End | undefined
}

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
  hasMoved?: boolean
}

export class Entry {
  /** The machine has the same object. */
  readonly arrived: Arrived
  readonly functionId: string
  readonly functionName: string
  readonly method: string
  readonly path: string
  /** Something of it may be on disk. */
  readonly isWritten: boolean
  /** It was found in the log when the process started. */
  readonly isReadBack: boolean
  /** The head of the call was here. */
  readonly receivedMs: number
  storedMs: number | undefined
  /** Undefined once it was stored and memory was needed: it is read back from `callPosition`. */
  call: { readonly head: RequestHead; readonly body: Body } | undefined
  callPosition: number | undefined
  /** Blobs that are to be removed with it. */
  callBlobId: string | undefined
  caller: Caller | undefined
  #course: Course | undefined
  #rare: Rare | undefined

  constructor(init: {
    readonly arrived: Arrived
    readonly functionId: string
    readonly functionName: string
    readonly receivedMs: number
    readonly head: RequestHead
    readonly body: Body
    readonly caller: Caller | undefined
    readonly isReadBack?: boolean
    readonly replayOf?: string | undefined
  }) {
    this.arrived = init.arrived
    this.functionId = init.functionId
    this.functionName = init.functionName
    this.method = init.head.method
    this.path = init.head.path
    this.isWritten = init.isReadBack === true || isWritten(init.arrived)
    this.isReadBack = init.isReadBack === true
    this.receivedMs = init.receivedMs
    this.storedMs = undefined
    this.call = { head: init.head, body: init.body }
    this.callPosition = undefined
    this.callBlobId = init.body.kind === "inline" ? undefined : init.body.id
    this.caller = init.caller
    this.#course = undefined
    this.#rare = undefined
    if (init.replayOf !== undefined) this.#own.replayOf = init.replayOf
  }

  get sequence(): number {
    return this.arrived.sequence
  }

  get requestId(): string {
    return this.arrived.requestId
  }

  get tenant(): string {
    return this.arrived.tenant
  }

  get versionId(): string {
    return this.arrived.version
  }

  get mode(): Mode {
    return this.arrived.mode
  }

  get durability(): Durability {
    return this.arrived.durability
  }

  get deadlineMs(): number {
    return this.arrived.deadlineMs
  }

  get maxAttempts(): number {
    return this.arrived.maxAttempts
  }

  /** The machine was told. */
  get arrivedMs(): number {
    return this.arrived.nowMs
  }

  get #run(): Course {
    this.#course ??= {
      firstAssignedMs: undefined,
      assignedMs: undefined,
      headMs: undefined,
      endedMs: undefined,
      attempt: undefined,
      attempts: 0,
      lastInstanceId: undefined,
      answer: undefined,
      end: undefined
    }
    return this.#course
  }

  /** A worker of this instance got it. */
  assigned(attempt: Attempt, number: number, atMs: number): void {
    const run = this.#run
    run.firstAssignedMs ??= atMs
    run.assignedMs = atMs
    run.headMs = undefined
    run.attempt = attempt
    run.attempts = number
    run.lastInstanceId = attempt.worker.identity.instanceId
  }

  get firstAssignedMs(): number | undefined {
    return this.#course?.firstAssignedMs
  }

  get assignedMs(): number | undefined {
    return this.#course?.assignedMs
  }

  get headMs(): number | undefined {
    return this.#course?.headMs
  }

  set headMs(atMs: number) {
    this.#run.headMs = atMs
  }

  get endedMs(): number | undefined {
    return this.#course?.endedMs
  }

  set endedMs(atMs: number | undefined) {
    this.#run.endedMs = atMs
  }

  get attempt(): Attempt | undefined {
    return this.#course?.attempt
  }

  /** How often it was given to a worker. */
  get attempts(): number {
    return this.#course?.attempts ?? 0
  }

  set attempts(count: number) {
    if (count > 0) this.#run.attempts = count
  }

  get lastInstanceId(): string | undefined {
    return this.#course?.lastInstanceId
  }

  get answer(): Answer | undefined {
    return this.#course?.answer
  }

  set answer(answer: Answer | undefined) {
    if (answer !== undefined || this.#course !== undefined) this.#run.answer = answer
  }

  get end(): End | undefined {
    return this.#course?.end
  }

  set end(end: End) {
    this.#run.end = end
  }

  /** The attempt is over. */
  released(attempt: Attempt): void {
    if (this.#course?.attempt === attempt) this.#course.attempt = undefined
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

  /** It has another owner: nothing more is heard of it here. */
  get hasMoved(): boolean {
    return this.#rare?.hasMoved === true
  }

  tellMoved(): void {
    if (this.end !== undefined) return
    this.#own.hasMoved = true
    this.#tellWaiters()
    this.tellStream()
  }

  /**
   * Calls `listener` once the request has ended or moved to another owner (at once if it has). Answers a way to stop
   * waiting.
   */
  onEnd(listener: () => void): () => void {
    if (this.end !== undefined || this.hasMoved) {
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
    if (this.storedMs !== undefined) return listener()
    this.#own.storedWaiters ??= []
    this.#own.storedWaiters.push(listener)
  }

  tellStored(atMs: number): void {
    this.storedMs = atMs
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
    this.#tellWaiters()
  }

  #tellWaiters(): void {
    const waiters = this.#rare?.waiters
    if (this.#rare === undefined || waiters === undefined) return
    this.#rare.waiters = undefined
    for (const waiter of waiters) waiter()
  }
}
