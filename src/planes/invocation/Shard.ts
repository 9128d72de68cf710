/**
 * The shell of one shard: feeds the buffer machine with what happened and carries out what it orders. It decides nothing
 * about requests; every `if` about their fate is in `Buffer.step`.
 *
 * H1 events are stepped one after another, also when carrying out a command causes the next one. H2 every record that
 * the machine orders goes to the log in that order, but for the end of a dead letter, which waits
 * for the letter. H3: see `AnswerIntake`.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { Arrived, Command, DurableRecord, Event, RecordRef } from "../../core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../core/buffer/BufferOptions.ts"
import { type FromWorker, initialCreditBytes, type RequestHead } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { FabricUnavailable, OutcomeUnknown, PositionConflict } from "../fabric/FabricError.ts"
import type { AppendOptions } from "../fabric/Log.ts"
import { AnswerCache } from "./AnswerCache.ts"
import { AnswerIntake } from "./AnswerIntake.ts"
import { Attempt } from "./Attempt.ts"
import type { Body } from "./Body.ts"
import * as CallDelivery from "./CallDelivery.ts"
import type { DeadLetters } from "./DeadLetters.ts"
import { type Answer, type Caller, type End, Entry } from "./Entry.ts"
import * as EntryRecord from "./EntryRecord.ts"
import type { EventStream } from "./EventStream.ts"
import type { EventStreams } from "./EventStreams.ts"
import { Letters } from "./Letters.ts"
import { LogWriter } from "./LogWriter.ts"
import type { PayloadCache } from "./PayloadCache.ts"
import { nowMs } from "./PlaneClock.ts"
import { fromRefusal, shardMoving, storeFull } from "./Problem.ts"
import { SideLogFailed } from "./SideLog.ts"
import type * as StoredRecord from "./StoredRecord.ts"
import type { SessionIdentity, WorkerConnection } from "./WorkerSession.ts"
import { WorkerState } from "./WorkerState.ts"

export interface ShardPorts {
  readonly append: (
    expectedPosition: number,
    records: ReadonlyArray<Uint8Array>,
    options: AppendOptions
  ) => Effect.Effect<number, PositionConflict | FabricUnavailable | OutcomeUnknown>
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

/** Messages of workers that wait for the lease; what they may send is bounded by their credit, and these are small. */
const heldMax = 20_000
/** Between two looks whether the lease is back. */
const heldLookMs = 50

const forEver = () => Number.POSITIVE_INFINITY

/** Told to workers whose shard has another owner. */
export const movedReason = "the work of this version moves to another gateway"

export class Shard {
  readonly name: string
  readonly deadLetters: DeadLetters
  readonly eventStreams: EventStreams
  readonly #resultRetentionMs: number
  readonly #ports: ShardPorts
  readonly #events: ShardEvents
  readonly #entries = new Map<number, Entry>()
  readonly #byRequestId = new Map<string, Entry>()
  readonly #workers = new Map<string, WorkerState>()
  /** The same by instance: one usually, more when it was told apart by another id after a restart. */
  readonly #workersByInstance = new Map<string, ReadonlyArray<WorkerState>>()
  readonly #log: LogWriter
  #state: Buffer_.State
  #queue: Array<Event> = []
  #stepping = false
  #lastSequence: number
  #timer: NodeJS.Timeout | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  readonly #payloads: PayloadCache
  readonly #answers = new AnswerCache()
  /** The state was given away to be read: the next event leaves it as it is. */
  #isFrozen = false
  readonly #letters: Letters
  readonly #intake: AnswerIntake
  #closed = false
  readonly #actsUntilMs: () => number
  /** Said by workers while nobody could tell whose the shard is. */
  #held: Array<readonly [WorkerState, FromWorker]> = []
  /** False while it is being handed over: calls that come now wait for the next owner. */
  #takesCalls = true
  /** Messages of workers that were refused because their lease was over. */
  staleCount = 0

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
    this.name = init.name
    this.#actsUntilMs = init.actsUntilMs ?? forEver
    this.deadLetters = init.deadLetters
    this.eventStreams = init.eventStreams
    this.#intake = new AnswerIntake({
      send: (event) => this.#send(event),
      state: () => this.#state,
      blobs: init.ports.blobs,
      eventStreams: init.eventStreams,
      stale: ({ identity }, event) => {
        this.staleCount++
        init.events.staleMessage(identity.workerId, event)
      }
    })
    this.#letters = new Letters({
      deadLetters: init.deadLetters,
      retentionMs: init.deadLetterRetentionMs,
      blobs: init.ports.blobs,
      loadCall: (entry) => this.#loadCall(entry)
    })
    this.#resultRetentionMs = init.options.resultRetentionMs
    this.#ports = init.ports
    this.#events = init.events
    this.#state = init.state
    this.#payloads = init.payloads
    this.#lastSequence = init.lastSequence
    for (const entry of init.entries) this.#index(entry)
    this.#log = new LogWriter({
      position: init.position,
      append: init.ports.append,
      encode: (record, ref) => EntryRecord.encode(this.#entries.get(ref.sequence), record, ref),
      events: {
        started: (records) => this.#send({ _tag: "FlushStarted", records }),
        persisted: (records, first) => this.#onPersisted(records, first),
        full: (message) => this.#events.storeFull(message),
        failed: (records, outcome, message) => {
          if (outcome !== "refused") this.#events.storeFailed(message)
          this.#send({ _tag: "PersistFailed", nowMs: nowMs(), records, outcome })
        }
      }
    })
  }

  /** What was recovered becomes live: call it once, when everybody who is told of demand listens. */
  begin(epoch: number): void {
    const cut = this.#cutStreams()
    this.#send({ _tag: "Recovered", nowMs: nowMs(), epoch })
    for (const { entry, stream } of cut) {
      entry.note(nowMs(), "Millrace was restarted in the middle of the answer")
      const { workerId, token } = stream.facts
      this.#send({
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
      const entry = this.#byRequestId.get(requestId)
      // The answer is kept whole, frames and all.
      if (entry?.answerPosition !== undefined) this.eventStreams.drop(stream)
      else this.eventStreams.interrupt(stream)
      if (entry === undefined || entry.end !== undefined || !stream.isShown) continue
      const { sequence } = entry
      const record: DurableRecord = { _tag: "RecordLeased", sequence, attempt, token, workerId }
      if (Buffer_.lookup(this.#state, sequence)?.token !== token) this.#send({ _tag: "Replayed", record })
      entry.attempts = Math.max(entry.attempts, attempt)
      cut.push({ entry, stream })
    }
    return cut
  }

  /** Somebody is about to see the stream; resolves when that is on stable storage, or the stream is over. */
  async show(entry: Entry, stream: EventStream): Promise<void> {
    if (stream.isShown || stream.state !== "open") return stream.shown
    this.#send({ _tag: "ResponseShown", nowMs: nowMs(), sequence: entry.sequence, token: stream.facts.token })
    await this.eventStreams.show(stream)
  }

  // --- calls -------------------------------------------------------------------------------------------------------

  /**
   * Admits a call; what becomes of it is told to `caller`. One whose id is known was sent again by a gateway that could not
   * tell what became of it, and is the same request.
   */
  submit(call: NewCall, caller: Caller): Entry {
    const known = this.#byRequestId.get(call.requestId)
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
      this.#dropCall(entry)
      caller.refused(shardMoving())
      return entry
    }
    if (this.#log.isFull) {
      this.#dropCall(entry)
      caller.refused(storeFull(false))
      return entry
    }
    this.#index(entry)
    this.#send(arrived)
    return entry
  }

  callerLeft(entry: Entry, cancel: boolean): void {
    if (entry.end !== undefined) return
    entry.caller = undefined
    entry.note(nowMs(), cancel ? "the caller left and had asked to cancel then" : "the caller left; the result is kept")
    this.#send({ _tag: "CallerLeft", nowMs: nowMs(), sequence: entry.sequence, cancel })
  }

  /** The caller's wait is over; `accepted` of the caller is called when that is on disk. */
  detach(entry: Entry): void {
    this.#send({ _tag: "Detached", nowMs: nowMs(), sequence: entry.sequence })
  }

  cancel(entry: Entry): "cancelled" | "ended" {
    if (entry.end !== undefined) return "ended"
    this.#send({ _tag: "CancelRequested", nowMs: nowMs(), sequence: entry.sequence })
    return "cancelled"
  }

  callerDrained(entry: Entry): void {
    entry.attempt?.onCallerDrain()
  }

  removeVersion(versionId: string): void {
    this.#send({ _tag: "VersionRemoved", nowMs: nowMs(), version: versionId })
  }

  /** The kept answer, read back from the log where memory let it go. */
  async answerOf(entry: Entry): Promise<Answer | undefined> {
    if (entry.answer !== undefined || entry.answerPosition === undefined) return entry.answer
    const { answer } = await this.#ports.readRecord(entry.answerPosition)
    return answer === null ? undefined : answer
  }

  // --- workers -----------------------------------------------------------------------------------------------------

  workerOpened(identity: SessionIdentity, connection: WorkerConnection): WorkerState {
    const known = this.#workers.get(identity.workerId)
    const worker = known ?? new WorkerState(identity)
    if (known === undefined) this.#addWorker(worker)
    else if (known.connection !== undefined) known.connection.close("the same worker opened another connection")
    worker.connection = connection
    worker.drained()
    return worker
  }

  workerMessage(worker: WorkerState, message: FromWorker): void {
    if (!this.#isActing) return this.#hold(worker, message)
    if (this.#held.length > 0) this.resume()
    switch (message._tag) {
      case "Heartbeat":
        return this.#send({ _tag: "WorkerHeard", nowMs: nowMs(), workerId: worker.identity.workerId })
      case "Ready":
        return this.#onReady(worker, message)
      case "Draining":
        return this.drainWorker(worker)
      default:
        return this.#intake.take(worker, message)
    }
  }

  drainWorker(worker: WorkerState): void {
    worker.draining = true
    this.#send({ _tag: "WorkerDraining", nowMs: nowMs(), workerId: worker.identity.workerId })
  }

  /** What is there of this version takes nothing new from this very moment; the control plane replaces it. */
  drainVersion(versionId: string): void {
    for (const worker of this.#workers.values()) {
      if (worker.identity.versionId === versionId && !worker.draining) this.drainWorker(worker)
    }
  }

  workersOf(instanceId: string): ReadonlyArray<WorkerState> {
    return this.#workersByInstance.get(instanceId) ?? []
  }

  #addWorker(worker: WorkerState): void {
    const { workerId, instanceId } = worker.identity
    this.#workers.set(workerId, worker)
    this.#workersByInstance.set(instanceId, [...this.workersOf(instanceId), worker])
  }

  #removeWorker(worker: WorkerState): void {
    const { workerId, instanceId } = worker.identity
    this.#workers.delete(workerId)
    const siblings = this.workersOf(instanceId).filter((sibling) => sibling !== worker)
    if (siblings.length > 0) this.#workersByInstance.set(instanceId, siblings)
    else this.#workersByInstance.delete(instanceId)
  }

  workerClosed(worker: WorkerState, connection: WorkerConnection, clean: boolean): void {
    if (worker.connection !== connection) return
    CrashPoint.hit("invocation.worker.closed")
    worker.connection = undefined
    worker.drained()
    if (clean) return this.workerLost(worker)
    this.#send({ _tag: "WorkerDisconnected", nowMs: nowMs(), workerId: worker.identity.workerId })
  }

  /** Its process is known to be gone. */
  workerLost(worker: WorkerState): void {
    CrashPoint.hit("invocation.worker.lost")
    this.#removeWorker(worker)
    for (const { entry } of worker.attempts.values()) {
      entry.note(nowMs(), `attempt ${entry.attempts} was lost: instance ${worker.identity.instanceId} is gone`)
    }
    this.#send({ _tag: "WorkerLost", nowMs: nowMs(), workerId: worker.identity.workerId })
    worker.connection?.close("the instance is gone")
  }

  /**
   * Leases from the log whose worker is not connected are over at once, instead of after the visibility timeout. Only
   * for a plane that knows that no instance of an earlier process is left.
   */
  loseAbsentWorkers(): void {
    const absent = new Set<string>()
    for (const { sequence } of this.#entries.values()) {
      const workerId = Buffer_.lookup(this.#state, sequence)?.workerId
      if (workerId !== undefined && !this.#workers.has(workerId)) absent.add(workerId)
    }
    for (const workerId of absent) this.#send({ _tag: "WorkerLost", nowMs: nowMs(), workerId })
  }

  // --- queries -----------------------------------------------------------------------------------------------------

  /**
   * Until when its result is kept for certain, in Unix ms: exact once it ended, which may be long before its caller is
   * told; until then as if it ended at this moment.
   */
  keptUntilMs(entry: Entry): number {
    const found = Buffer_.lookup(this.#state, entry.sequence)?.keepUntilMs
    return found ?? entry.keepUntilMs ?? nowMs() + (entry.arrived.resultRetentionMs ?? this.#resultRetentionMs)
  }

  byRequestId(requestId: string): Entry | undefined {
    return this.#byRequestId.get(requestId)
  }

  bySequence(sequence: number): Entry | undefined {
    return this.#entries.get(sequence)
  }

  entries(): Iterable<Entry> {
    return this.#entries.values()
  }

  get state(): Buffer_.State {
    return this.#state
  }

  get logPosition(): number {
    return this.#log.position
  }

  /**
   * The state of this moment, which stays as it is, and the position that it stands at: every record before it is in the
   * state. Undefined where nobody knows any more where the log ends.
   */
  freeze(): { readonly state: Buffer_.State; readonly position: number } | undefined {
    if (this.#stepping || this.#state.storeFailed) return undefined
    this.#isFrozen = true
    return { state: this.#state, position: this.#log.position }
  }

  /** Everything ordered so far is on disk, or never will be. */
  async flushed(): Promise<void> {
    await this.#letters.settled()
    await this.#log.flushed()
    await this.deadLetters.flushed()
    await this.eventStreams.flushed()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const worker of this.#workers.values()) worker.connection?.close("the plane is shutting down")
  }

  // --- the owner changes -------------------------------------------------------------------------------------------

  get #isActing(): boolean {
    return this.#actsUntilMs === forEver || nowMs() < this.#actsUntilMs()
  }

  /** What it would show or settle may be another owner's to show. */
  #hold(worker: WorkerState, message: FromWorker): void {
    if (this.#closed) return
    if (this.#held.length < heldMax) this.#held.push([worker, message])
    // It says again what counts when it is back.
    else worker.connection?.close(movedReason)
  }

  /** The lease is back, and nobody else had it. */
  resume(): void {
    for (const [worker, message] of this.#held.splice(0)) this.workerMessage(worker, message)
    this.#arm()
  }

  get isOpen(): boolean {
    return !this.#closed && this.#isActing
  }

  /** Whether a call may be submitted; if not, nothing of it is kept here. */
  get takesCalls(): boolean {
    return this.#takesCalls && this.isOpen
  }

  set takesCalls(takes: boolean) {
    this.#takesCalls = takes
  }

  workers(): Iterable<WorkerState> {
    return this.#workers.values()
  }

  /** Their leases go on: whoever owns the shard when they are back knows them from the log. */
  dismissWorkers(reason: string): void {
    for (const worker of this.#workers.values()) {
      this.#send({ _tag: "WorkerDisconnected", nowMs: nowMs(), workerId: worker.identity.workerId })
      worker.connection?.close(reason)
    }
  }

  /** It is not this process's any more. Whoever waits here is told to wait at its owner; nothing is written. */
  depart(): void {
    if (this.#closed) return
    this.#takesCalls = false
    this.#closed = true
    this.#held = []
    clearTimeout(this.#timer)
    this.#log.stop()
    this.eventStreams.close()
    for (const worker of this.#workers.values()) {
      for (const attempt of [...worker.attempts.values()]) this.#giveUp(attempt)
      worker.connection?.close(movedReason)
      worker.drained()
    }
    for (const entry of this.#entries.values()) {
      const { caller } = entry
      entry.caller = undefined
      caller?.moved(entry)
      entry.tellMoved()
    }
  }

  #giveUp(attempt: Attempt): void {
    attempt.entry.released(attempt)
    attempt.finish()
    attempt.discard().catch((error: unknown) => this.#events.defect(error))
  }

  // --- the loop ----------------------------------------------------------------------------------------------------

  #send(event: Event): void {
    if (this.#closed) return
    if (this.#stepping) {
      this.#queue.push(event)
      return
    }
    this.#stepping = true
    try {
      let current: Event | undefined = event
      while (current !== undefined) {
        const move = this.#isFrozen ? Buffer_.step : Buffer_.advance
        const [state, commands] = move(this.#state, current)
        if (state !== this.#state) this.#isFrozen = false
        this.#state = state
        for (const command of commands) this.#attempt(command)
        current = this.#queue.shift()
      }
    } finally {
      this.#stepping = false
    }
    this.#arm()
  }

  #arm(): void {
    const dueMs = Buffer_.nextDueMs(this.#state)
    if (dueMs === undefined || dueMs >= this.#timerAtMs) return
    clearTimeout(this.#timer)
    this.#timerAtMs = dueMs
    // Node fires at once above 2^31 ms; waking early costs one tick that does nothing.
    const delayMs = Math.min(Math.max(1, Math.ceil(dueMs - nowMs())), 3_600_000)
    const tick = () => {
      if (!this.#isActing) {
        this.#timer = setTimeout(tick, heldLookMs).unref()
        return
      }
      this.#timerAtMs = Number.POSITIVE_INFINITY
      this.#send({ _tag: "Ticked", nowMs: nowMs() })
    }
    this.#timer = setTimeout(tick, delayMs)
    this.#timer.unref()
  }

  /** A defect in carrying out one order must not swallow the ones after it. */
  #attempt(command: Command): void {
    try {
      this.#carryOut(command)
    } catch (error) {
      this.#events.defect(error)
    }
  }

  #carryOut(command: Command): void {
    switch (command._tag) {
      case "Append":
        return this.#append(command)
      case "DropAppend":
        return this.#log.drop(command.sequence)
      case "Assign":
        return this.#assign(command)
      case "TellEnded":
        return this.#tellEnded(command)
      case "Forget":
        return this.#forget(command.sequence)
      case "DemandChanged":
        return this.#events.demandChanged(command.version, command.urgent)
      case "TellAccepted": {
        const entry = this.#entries.get(command.sequence)
        const caller = entry?.caller
        if (entry === undefined || caller === undefined) return
        // It waits for nothing more, and a connection would stay in memory as long as the request.
        entry.caller = undefined
        return caller.accepted(entry)
      }
      case "Refuse": {
        const entry = this.#entries.get(command.sequence)
        if (entry === undefined) return
        this.#unindex(entry)
        const isFull = command.refusal.kind === "store-failed" && this.#log.isFull
        entry.caller?.refused(isFull ? storeFull(true) : fromRefusal(command.refusal))
        // Others may have joined it before the store failed.
        if (command.refusal.kind === "store-failed") {
          entry.tellEnd({ terminal: "failed", reason: "store-failed", message: null, resultKept: false })
        }
        return
      }
      case "Join": {
        const entry = this.#entries.get(command.sequence)
        const original = this.#entries.get(command.original)
        if (entry === undefined || original === undefined) return
        this.#unindex(entry)
        this.#dropCall(entry)
        entry.caller?.joined(original)
        return
      }
      case "ReleaseResponse": {
        const entry = this.#entries.get(command.sequence)
        if (entry?.attempt?.token === command.token && entry.caller !== undefined) this.#release(entry.attempt)
        return
      }
      case "CollectResponse": {
        const entry = this.#entries.get(command.sequence)
        if (entry?.attempt?.token === command.token) entry.attempt.collect(this.#ports.blobs)
        return
      }
      case "DiscardResponse": {
        const attempt = this.#entries.get(command.sequence)?.attempt
        if (attempt?.token === command.token) this.#detachAttempt(attempt)
        return
      }
      case "CancelAttempt":
        return this.#cancelAttempt(command)
      case "RejectStale":
        this.staleCount++
        return this.#events.staleMessage(command.workerId, command.event)
    }
  }

  // --- carrying out ------------------------------------------------------------------------------------------------

  #assign(command: Extract<Command, { _tag: "Assign" }>): void {
    const entry = this.#entries.get(command.sequence)
    const worker = this.#workers.get(command.workerId)
    if (entry === undefined || worker === undefined) return
    if (entry.attempt !== undefined) this.#detachAttempt(entry.attempt)
    CrashPoint.hit("invocation.assign.before")
    const attempt = new Attempt(entry, worker, command.token, initialCreditBytes)
    entry.assigned(attempt, command.attempt, nowMs())
    worker.attempts.set(entry.requestId, attempt)
    CrashPoint.hit("invocation.assign.indexed")
    const send = (call: NonNullable<Entry["call"]>) => {
      const failed = (message: string) => this.#intake.fail(attempt, false, message)
      CallDelivery.send({ attempt, call, command, blobs: this.#ports.blobs, failed })
    }
    if (entry.call !== undefined) return send(entry.call)
    this.#loadCall(entry).then(
      (call) => {
        if (!attempt.over) send(call)
      },
      (error: unknown) => this.#intake.fail(attempt, true, `its call could not be read back: ${String(error)}`)
    )
  }

  #cancelAttempt(command: Extract<Command, { _tag: "CancelAttempt" }>): void {
    const entry = this.#entries.get(command.sequence)
    const worker = this.#workers.get(command.workerId)
    if (entry === undefined) return
    worker?.send({ _tag: "Cancel", requestId: entry.requestId, token: command.token, reason: command.reason })
    CrashPoint.hit("invocation.cancelAttempt")
    if (command.reason === "lease-expired") {
      entry.note(nowMs(), `attempt ${entry.attempts} was lost: its worker fell silent and the lease ran out`)
    }
    if (entry.attempt?.token === command.token) this.#detachAttempt(entry.attempt)
  }

  #tellEnded(command: Extract<Command, { _tag: "TellEnded" }>): void {
    const entry = this.#entries.get(command.sequence)
    if (entry === undefined) return
    const { terminal, reason, message, resultKept } = command
    CrashPoint.hit("invocation.tellEnded.before")
    entry.endedMs ??= nowMs()
    entry.keepUntilMs = Buffer_.lookup(this.#state, command.sequence)?.keepUntilMs
    const caller = entry.caller
    entry.caller = undefined
    const attempt = entry.attempt
    if (terminal === "responded" && attempt?.stream !== undefined) this.eventStreams.complete(attempt.stream)
    if (attempt !== undefined) this.#detachAttempt(attempt)
    const tell = (end: End) => {
      if (caller !== undefined) {
        if (terminal === "responded" && attempt?.released === true) caller.done()
        else if (terminal === "responded" && entry.answer !== undefined) caller.whole(entry.answer)
        else caller.ended(end)
      }
      entry.tellEnd(end)
      CrashPoint.hit("invocation.tellEnded.after")
      this.#events.ended(entry)
    }
    const end: End = { terminal, reason, message, resultKept }
    if (terminal !== "dead-lettered" || !entry.isWritten) return tell(end)
    // Whoever hears of a dead letter can rely on finding it.
    this.#letters.of(entry, end).then(
      () => tell(end),
      () => tell({ terminal: "failed", reason: "store-failed", message: null, resultKept: false })
    )
  }

  #release(attempt: Attempt): void {
    const { entry, stream } = attempt
    const { caller } = entry
    if (caller === undefined) return
    if (stream === undefined) return attempt.release(caller)
    // After a crash the log must know that this was seen, so that no other attempt is.
    this.eventStreams.show(stream).then(
      () => {
        if (!attempt.over && entry.caller === caller) attempt.release(caller)
      },
      (error: unknown) => this.#intake.fail(attempt, false, `its stream could not be stored: ${String(error)}`)
    )
  }

  #append({ record, ref, urgent }: Extract<Command, { _tag: "Append" }>): void {
    const entry = this.#entries.get(ref.sequence)
    if (record._tag !== "RecordEnded" || record.terminal !== "dead-lettered" || entry === undefined) {
      return this.#log.add(record, ref, urgent)
    }
    this.#letters.of(entry, record).then(
      () => this.#log.add(record, ref, urgent),
      (error: unknown) => {
        const outcome = error instanceof SideLogFailed ? error.outcome : "failed"
        this.#events.storeFailed(error instanceof Error ? error.message : String(error))
        this.#send({ _tag: "PersistFailed", nowMs: nowMs(), records: [ref], outcome })
      }
    )
  }

  #forget(sequence: number): void {
    const entry = this.#entries.get(sequence)
    if (entry === undefined) return
    CrashPoint.hit("invocation.forget")
    this.#unindex(entry)
    this.#dropCall(entry)
    const answerBlobId = entry.answer?.body.kind === "blob" ? entry.answer.body.id : entry.answerBlobId
    if (answerBlobId !== undefined) this.#ports.removeBlob(answerBlobId)
    this.#answers.drop(entry)
    entry.answer = undefined
  }

  #onPersisted(records: ReadonlyArray<RecordRef>, first: number): void {
    const atMs = nowMs()
    records.forEach((ref, index) => {
      const entry = this.#entries.get(ref.sequence)
      if (entry === undefined) return
      if (ref.kind === "arrived") {
        entry.callPosition = first + index
        entry.tellStored(atMs)
        this.#payloads.stored(entry)
      } else if (ref.kind === "ended" && entry.answer !== undefined) {
        entry.answerPosition = first + index
      }
    })
    CrashPoint.hit("invocation.persisted.beforeStep")
    this.#send({ _tag: "Persisted", nowMs: atMs, records })
    CrashPoint.hit("invocation.persisted.afterStep")
    for (const ref of records) {
      const entry = ref.kind === "ended" ? this.#entries.get(ref.sequence) : undefined
      if (entry === undefined) continue
      // Ended and stored: the call is not needed any more, the answer only on request.
      this.#dropCall(entry)
      this.#answers.stored(entry)
    }
  }

  async #loadCall(entry: Entry): Promise<NonNullable<Entry["call"]>> {
    if (entry.callPosition === undefined) throw new Error("it was never stored")
    const { call } = await this.#ports.readRecord(entry.callPosition)
    CrashPoint.hit("invocation.callRead")
    if (call === null) throw new Error(`the log holds no call at position ${entry.callPosition}`)
    return { head: call.head, body: call.body }
  }

  // --- what workers say --------------------------------------------------------------------------------------------

  #onReady(worker: WorkerState, message: Extract<FromWorker, { _tag: "Ready" }>): void {
    CrashPoint.hit("invocation.worker.ready")
    worker.slots = message.slots
    worker.draining = false
    worker.readyAtMs = nowMs()
    const holds: Array<{ sequence: number; token: number }> = []
    for (const { requestId, token } of message.holds) {
      const attempt = worker.attempts.get(requestId) ?? this.#adopt(worker, requestId, token)
      // Bytes that were under way when the connection broke are lost: only an attempt that had its whole call and had
      // answered nothing yet can go on.
      if (attempt?.token === token && attempt.bodySent && attempt.status === undefined) {
        holds.push({ sequence: attempt.entry.sequence, token })
      } else worker.send({ _tag: "Cancel", requestId, token, reason: "lease-expired" })
    }
    const held = new Set(holds.map((hold) => hold.sequence))
    for (const attempt of [...worker.attempts.values()]) {
      if (!held.has(attempt.entry.sequence)) this.#detachAttempt(attempt)
    }
    this.#send({
      _tag: "WorkerJoined",
      nowMs: nowMs(),
      workerId: worker.identity.workerId,
      instanceId: worker.identity.instanceId,
      version: worker.identity.versionId,
      slots: message.slots,
      holds
    })
  }

  /** Begun under another owner, whose log says that this worker has it: what it lists is whole and not answered. */
  #adopt(worker: WorkerState, requestId: string, token: number): Attempt | undefined {
    const entry = this.#byRequestId.get(requestId)
    if (entry === undefined || entry.attempt !== undefined) return undefined
    if (!Buffer_.isLive(this.#state, entry.sequence, worker.identity.workerId, token)) return undefined
    const attempt = new Attempt(entry, worker, token, initialCreditBytes)
    attempt.bodySent = true
    entry.assigned(attempt, Math.max(1, entry.attempts), nowMs())
    worker.attempts.set(requestId, attempt)
    return attempt
  }

  // --- bookkeeping -------------------------------------------------------------------------------------------------

  #detachAttempt(attempt: Attempt): void {
    const { entry, worker } = attempt
    if (worker.attempts.get(entry.requestId) === attempt) worker.attempts.delete(entry.requestId)
    entry.released(attempt)
    if (attempt.stream !== undefined) this.eventStreams.interrupt(attempt.stream)
    attempt.finish()
    attempt.discard().catch((error: unknown) => this.#events.defect(error))
  }

  #index(entry: Entry): void {
    this.#entries.set(entry.sequence, entry)
    this.#byRequestId.set(entry.requestId, entry)
  }

  #unindex(entry: Entry): void {
    this.#entries.delete(entry.sequence)
    // A log of former times may hold two of one id.
    if (this.#byRequestId.get(entry.requestId) === entry) this.#byRequestId.delete(entry.requestId)
  }

  /** The call is not needed any more; what of it lies in a blob goes, unless its dead letter has it now. */
  #dropCall(entry: Entry): void {
    const body = entry.call?.body
    const blobId = entry.callBlobId
    this.#payloads.drop(entry)
    entry.callBlobId = undefined
    if (blobId === undefined || entry.letter !== undefined || this.deadLetters.has(entry.requestId)) return
    if (body?.kind !== "spool") return this.#ports.removeBlob(blobId)
    // It may still come in: an answer can be complete before the body of its call is.
    body.spool.discard().then(
      () => this.#ports.removeBlob(blobId),
      (error: unknown) => this.#events.defect(error)
    )
  }
}
