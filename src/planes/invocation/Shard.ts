/**
 * One shard in the process that owns it: takes calls in, and holds its parts together from its recovery to its end. It
 * decides nothing about requests: every `if` about their fate is in `Buffer.step`.
 *
 * `ShardMachine` steps the buffer machine (H1), `ShardRecords` writes what it orders (H2), `AnswerIntake` checks what
 * workers say about requests (H3), `ShardOrders` carries the orders out.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { Arrived, DurableRecord } from "../../core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../core/buffer/BufferOptions.ts"
import type { RequestHead } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { AnswerIntake } from "./AnswerIntake.ts"
import type { Body } from "./Body.ts"
import type { DeadLetters } from "./DeadLetters.ts"
import { type Caller, Entry } from "./Entry.ts"
import type { EventStream } from "./EventStream.ts"
import type { EventStreams } from "./EventStreams.ts"
import type { LogWriterOptions } from "./LogWriter.ts"
import type { PayloadCache } from "./PayloadCache.ts"
import { nowMs } from "./PlaneClock.ts"
import { shardMoving, storeFull } from "./Problem.ts"
import { ShardEntries } from "./ShardEntries.ts"
import { ShardMachine } from "./ShardMachine.ts"
import { ShardOrders } from "./ShardOrders.ts"
import { ShardRecords } from "./ShardRecords.ts"
import { ShardWorkers } from "./ShardWorkers.ts"
import type * as StoredRecord from "./StoredRecord.ts"

export interface ShardPorts {
  readonly append: LogWriterOptions["append"]
  /** One record of the log. */
  readonly readRecord: (position: number) => Promise<StoredRecord.StoredRecord>
  readonly blobs: BlobStore["Service"]
  readonly removeBlob: (id: string) => void
}

export interface ShardEvents {
  readonly demandChanged: (versionId: string, urgent: boolean) => void
  readonly ended: (entry: Entry) => void
  readonly staleMessage: (workerId: string, event: string) => void
  readonly storeFailed: (message: string) => void
  /** Said once each time that the disk has no room any more. */
  readonly storeFull: (message: string) => void
  /** A defect was caught: the process goes on, the evidence must be kept. */
  readonly defect: (error: unknown) => void
}

export interface NewCall {
  readonly requestId: string
  readonly tenant: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  readonly mode: "sync" | "async"
  readonly durability: "accepted" | "always" | "memory"
  readonly deadlineMs: number
  readonly maxAttempts: number
  readonly receivedMs: number
  readonly head: RequestHead
  readonly body: Body
  readonly sizeBytes: number
  readonly resultRetentionMs: number
  readonly redelivery: NonNullable<Arrived["redelivery"]>
  readonly idempotencyKey: string | undefined
  readonly fingerprint: string | undefined
  /** The dead letter that it replays. */
  readonly replayOf?: string
}

export class Shard {
  readonly name: string
  readonly entries: ShardEntries
  readonly workers: ShardWorkers
  readonly deadLetters: DeadLetters
  readonly eventStreams: EventStreams
  readonly #machine: ShardMachine
  readonly #records: ShardRecords
  readonly #resultRetentionMs: number
  readonly #isActing: () => boolean
  #lastSequence: number
  /** False while it is being handed over: calls that come now wait for the next owner. */
  #takesCalls = true

  constructor(init: {
    readonly name: string
    readonly options: BufferOptions
    readonly ports: ShardPorts
    readonly events: ShardEvents
    /** What recovery found. */
    readonly state: Buffer_.State
    readonly entries: Iterable<Entry>
    readonly payloads: PayloadCache
    readonly position: number
    readonly lastSequence: number
    readonly deadLetters: DeadLetters
    readonly deadLetterRetentionMs: number
    readonly eventStreams: EventStreams
    /** Until when this process owns it, where another one may: asked before each act. */
    readonly actsUntilMs?: () => number
  }) {
    const { ports, events, deadLetters, eventStreams, actsUntilMs } = init
    const { blobs } = ports
    const { defect } = events
    const isActing = actsUntilMs === undefined ? () => true : () => nowMs() < actsUntilMs()
    this.name = init.name
    this.deadLetters = deadLetters
    this.eventStreams = eventStreams
    this.#isActing = isActing
    this.#resultRetentionMs = init.options.resultRetentionMs
    this.#lastSequence = init.lastSequence
    const carryOut: ShardOrders["carryOut"] = (command) => orders.carryOut(command)
    const machine = new ShardMachine({ state: init.state, carryOut, isActing, defect })
    this.#machine = machine
    const entries = new ShardEntries({
      entries: init.entries,
      payloads: init.payloads,
      readRecord: ports.readRecord,
      removeBlob: ports.removeBlob,
      hasLetter: (requestId) => deadLetters.has(requestId),
      defect
    })
    this.entries = entries
    const intake = new AnswerIntake({ machine, blobs, eventStreams, stale: events.staleMessage })
    const workers = new ShardWorkers({ machine, entries, intake, eventStreams, isActing, defect })
    this.workers = workers
    const records = new ShardRecords({
      machine,
      entries,
      position: init.position,
      append: ports.append,
      deadLetters,
      deadLetterRetentionMs: init.deadLetterRetentionMs,
      blobs,
      storeFailed: events.storeFailed,
      storeFull: events.storeFull
    })
    this.#records = records
    const { demandChanged, ended } = events
    const to = { machine, entries, workers, records, intake, eventStreams, blobs }
    const orders = new ShardOrders({ ...to, demandChanged, ended, stale: events.staleMessage })
  }

  /** What was recovered becomes live: call it once, when everybody who is told of demand listens. */
  begin(epoch: number): void {
    const cut = this.#cutStreams()
    this.#machine.send({ _tag: "Recovered", nowMs: nowMs(), epoch })
    for (const { entry, stream } of cut) {
      entry.note(nowMs(), "Millrace was restarted in the middle of the answer")
      const { workerId, token } = stream.facts
      this.#machine.send({
        _tag: "AttemptFailed",
        nowMs: nowMs(),
        sequence: entry.sequence,
        workerId,
        token,
        retryable: false,
        message: "Millrace was restarted in the middle of this stream, of which a part had been seen."
      })
    }
  }

  /**
   * Streams that the end of the last process cut off. Of those that somebody saw the request may not run again; its
   * lease is made known where the record of it was lost.
   */
  #cutStreams(): ReadonlyArray<{ readonly entry: Entry; readonly stream: EventStream }> {
    const cut: Array<{ readonly entry: Entry; readonly stream: EventStream }> = []
    for (const stream of this.eventStreams.unfinished()) {
      const { requestId, attempt, token, workerId } = stream.facts
      const entry = this.entries.ofRequest(requestId)
      // The answer is kept whole, frames and all.
      if (entry?.answerPosition !== undefined) this.eventStreams.drop(stream)
      else this.eventStreams.interrupt(stream)
      if (entry === undefined || entry.end !== undefined || !stream.isShown) continue
      const { sequence } = entry
      const record: DurableRecord = { _tag: "RecordLeased", sequence, attempt, token, workerId }
      if (Buffer_.lookup(this.#machine.state, sequence)?.token !== token)
        this.#machine.send({ _tag: "Replayed", record })
      entry.attempts = Math.max(entry.attempts, attempt)
      cut.push({ entry, stream })
    }
    return cut
  }

  /** Somebody is about to see the stream; resolves when that is on stable storage, or the stream is over. */
  async show(entry: Entry, stream: EventStream): Promise<void> {
    if (stream.isShown || stream.state !== "open") return stream.shown
    this.#machine.send({ _tag: "ResponseShown", nowMs: nowMs(), sequence: entry.sequence, token: stream.facts.token })
    await this.eventStreams.show(stream)
  }

  // --- calls -------------------------------------------------------------------------------------------------------

  /**
   * Admits a call; what becomes of it is told to `caller`. One whose id is known was sent again by a gateway that could not
   * tell what became of it, and is the same request.
   */
  submit(call: NewCall, caller: Caller): Entry {
    const known = this.entries.ofRequest(call.requestId)
    if (known !== undefined) {
      caller.joined(known)
      return known
    }
    const arrived: Arrived = {
      _tag: "Arrived",
      nowMs: nowMs(),
      sequence: ++this.#lastSequence,
      requestId: call.requestId,
      tenant: call.tenant,
      version: call.versionId,
      mode: call.mode,
      durability: call.durability,
      deadlineMs: call.deadlineMs,
      sizeBytes: call.sizeBytes,
      maxAttempts: call.maxAttempts,
      resultRetentionMs: call.resultRetentionMs,
      redelivery: call.redelivery,
      ...(call.idempotencyKey === undefined ? {} : { idempotencyKey: call.idempotencyKey }),
      ...(call.fingerprint === undefined ? {} : { fingerprint: call.fingerprint })
    }
    const { functionId, functionName, receivedMs, head, body, replayOf } = call
    const entry = new Entry({ arrived, functionId, functionName, receivedMs, head, body, caller, replayOf })
    CrashPoint.hit("invocation.submit.beforeStep")
    if (!this.takesCalls) {
      this.entries.dropCall(entry)
      caller.refused(shardMoving())
      return entry
    }
    if (this.#records.isFull) {
      this.entries.dropCall(entry)
      caller.refused(storeFull(false))
      return entry
    }
    this.entries.add(entry)
    this.#machine.send(arrived)
    return entry
  }

  callerLeft(entry: Entry, cancel: boolean): void {
    if (entry.end !== undefined) return
    entry.caller = undefined
    entry.note(nowMs(), cancel ? "the caller left and had asked to cancel then" : "the caller left; the result is kept")
    this.#machine.send({ _tag: "CallerLeft", nowMs: nowMs(), sequence: entry.sequence, cancel })
  }

  /** The caller's wait is over; `accepted` of the caller is called when that is on disk. */
  detach(entry: Entry): void {
    this.#machine.send({ _tag: "Detached", nowMs: nowMs(), sequence: entry.sequence })
  }

  cancel(entry: Entry): "cancelled" | "ended" {
    if (entry.end !== undefined) return "ended"
    this.#machine.send({ _tag: "CancelRequested", nowMs: nowMs(), sequence: entry.sequence })
    return "cancelled"
  }

  callerDrained(entry: Entry): void {
    entry.attempt?.onCallerDrain()
  }

  removeVersion(versionId: string): void {
    this.#machine.send({ _tag: "VersionRemoved", nowMs: nowMs(), version: versionId })
  }

  // --- queries -----------------------------------------------------------------------------------------------------

  /**
   * Until when its result is kept for certain, in Unix ms: exact once it ended, which may be long before its caller is
   * told; until then as if it ended at this moment.
   */
  keptUntilMs(entry: Entry): number {
    const found = Buffer_.lookup(this.#machine.state, entry.sequence)?.keepUntilMs
    return found ?? entry.keepUntilMs ?? nowMs() + (entry.arrived.resultRetentionMs ?? this.#resultRetentionMs)
  }

  get state(): Buffer_.State {
    return this.#machine.state
  }

  get logPosition(): number {
    return this.#records.position
  }

  /**
   * The state of this moment, which stays as it is, and the position that it stands at: every record before it is in the
   * state. Undefined where nobody knows any more where the log ends.
   */
  freeze(): { readonly state: Buffer_.State; readonly position: number } | undefined {
    const state = this.#machine.freeze()
    return state === undefined ? undefined : { state, position: this.#records.position }
  }

  get isOpen(): boolean {
    return !this.#machine.isStopped && this.#isActing()
  }

  /** Whether a call may be submitted; if not, nothing of it is kept here. */
  get takesCalls(): boolean {
    return this.#takesCalls && this.isOpen
  }

  set takesCalls(takes: boolean) {
    this.#takesCalls = takes
  }

  // --- its end -----------------------------------------------------------------------------------------------------

  /** The lease is back, and nobody else had it. */
  resume(): void {
    this.workers.resume()
  }

  /** Everything ordered so far is on disk, or never will be. */
  async flushed(): Promise<void> {
    await this.#records.flushed()
    await this.deadLetters.flushed()
    await this.eventStreams.flushed()
  }

  close(): void {
    this.#machine.stop()
    this.workers.close()
  }

  /** It is not this process's any more. Whoever waits here is told to wait at its owner; nothing is written. */
  depart(): void {
    if (this.#machine.isStopped) return
    this.#takesCalls = false
    this.#machine.stop()
    this.#records.stop()
    this.eventStreams.close()
    this.workers.giveUp()
    for (const entry of this.entries.all()) {
      const { caller } = entry
      entry.caller = undefined
      caller?.moved(entry)
      entry.tellMoved()
    }
  }
}
