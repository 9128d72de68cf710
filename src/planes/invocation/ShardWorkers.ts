/**
 * The workers of one shard, over all their connections: who is there, what each of them holds, and what they say of
 * themselves. What they say about a request goes on to `AnswerIntake`.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import { type FromWorker, initialCreditBytes } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { AnswerIntake } from "./AnswerIntake.ts"
import { Attempt } from "./Attempt.ts"
import type { Entry } from "./Entry.ts"
import type { EventStreams } from "./EventStreams.ts"
import { nowMs } from "./PlaneClock.ts"
import type { ShardEntries } from "./ShardEntries.ts"
import type { ShardMachine } from "./ShardMachine.ts"
import type { SessionIdentity, WorkerConnection } from "./WorkerSession.ts"
import { WorkerState } from "./WorkerState.ts"

export interface ShardWorkersInit {
  readonly machine: ShardMachine
  readonly entries: ShardEntries
  readonly intake: AnswerIntake
  readonly eventStreams: EventStreams
  /** False: nobody can tell whose the shard is, and what workers say waits. */
  readonly isActing: () => boolean
  readonly defect: (error: unknown) => void
}

/** Messages of workers that wait for the lease; what they may send is bounded by their credit, and these are small. */
const heldMax = 20_000

/** Told to workers whose shard has another owner. */
const movedReason = "the work of this version moves to another gateway"

export class ShardWorkers {
  readonly #init: ShardWorkersInit
  readonly #byId = new Map<string, WorkerState>()
  /** The same by instance: one usually, more when it was told apart by another id after a restart. */
  readonly #byInstance = new Map<string, ReadonlyArray<WorkerState>>()
  /** Said while nobody could tell whose the shard is. */
  #held: Array<readonly [WorkerState, FromWorker]> = []

  constructor(init: ShardWorkersInit) {
    this.#init = init
  }

  get(workerId: string): WorkerState | undefined {
    return this.#byId.get(workerId)
  }

  ofInstance(instanceId: string): ReadonlyArray<WorkerState> {
    return this.#byInstance.get(instanceId) ?? []
  }

  all(): Iterable<WorkerState> {
    return this.#byId.values()
  }

  // --- connections -------------------------------------------------------------------------------------------------

  opened(identity: SessionIdentity, connection: WorkerConnection): WorkerState {
    const known = this.#byId.get(identity.workerId)
    const worker = known ?? new WorkerState(identity)
    if (known === undefined) this.#add(worker)
    else if (known.connection !== undefined) known.connection.close("the same worker opened another connection")
    worker.connection = connection
    worker.drained()
    return worker
  }

  said(worker: WorkerState, message: FromWorker): void {
    if (!this.#init.isActing()) return this.#hold(worker, message)
    if (this.#held.length > 0) this.resume()
    switch (message._tag) {
      case "Heartbeat":
        return this.#init.machine.send({
          _tag: "WorkerHeard",
          nowMs: nowMs(),
          workerId: worker.identity.workerId
        })
      case "Ready":
        return this.#ready(worker, message)
      case "Draining":
        return this.drain(worker)
      default:
        return this.#init.intake.take(worker, message)
    }
  }

  closed(worker: WorkerState, connection: WorkerConnection, clean: boolean): void {
    if (worker.connection !== connection) return
    CrashPoint.hit("invocation.worker.closed")
    worker.connection = undefined
    worker.drained()
    if (clean) return this.lost(worker)
    this.#init.machine.send({ _tag: "WorkerDisconnected", nowMs: nowMs(), workerId: worker.identity.workerId })
  }

  /** Its process is known to be gone. */
  lost(worker: WorkerState): void {
    CrashPoint.hit("invocation.worker.lost")
    this.#remove(worker)
    for (const { entry } of worker.attempts.values()) {
      entry.note(nowMs(), `attempt ${entry.attempts} was lost: instance ${worker.identity.instanceId} is gone`)
    }
    this.#init.machine.send({ _tag: "WorkerLost", nowMs: nowMs(), workerId: worker.identity.workerId })
    worker.connection?.close("the instance is gone")
  }

  /**
   * Leases from the log whose worker is not connected are over at once, instead of after the visibility timeout. Only
   * for a plane that knows that no instance of an earlier process is left.
   */
  loseAbsent(): void {
    const { machine, entries } = this.#init
    const absent = new Set<string>()
    for (const { sequence } of entries.all()) {
      const workerId = Buffer_.lookup(machine.state, sequence)?.workerId
      if (workerId !== undefined && !this.#byId.has(workerId)) absent.add(workerId)
    }
    for (const workerId of absent) machine.send({ _tag: "WorkerLost", nowMs: nowMs(), workerId })
  }

  drain(worker: WorkerState): void {
    worker.draining = true
    this.#init.machine.send({ _tag: "WorkerDraining", nowMs: nowMs(), workerId: worker.identity.workerId })
  }

  /** What is there of this version takes nothing new from this very moment; the control plane replaces it. */
  drainVersion(versionId: string): void {
    for (const worker of this.#byId.values()) {
      if (worker.identity.versionId === versionId && !worker.draining) this.drain(worker)
    }
  }

  // --- what they hold ----------------------------------------------------------------------------------------------

  /** It is given the request. `number`: how often somebody was. */
  begin(worker: WorkerState, entry: Entry, token: number, number: number): Attempt {
    const attempt = new Attempt(entry, worker, token, initialCreditBytes)
    entry.assigned(attempt, number, nowMs())
    worker.attempts.set(entry.requestId, attempt)
    return attempt
  }

  /** It has nothing to do with the request any more, nor what it answered so far. */
  detach(attempt: Attempt): void {
    const { entry, worker } = attempt
    if (worker.attempts.get(entry.requestId) === attempt) worker.attempts.delete(entry.requestId)
    entry.released(attempt)
    if (attempt.stream !== undefined) this.#init.eventStreams.interrupt(attempt.stream)
    this.#finish(attempt)
  }

  #finish(attempt: Attempt): void {
    attempt.finish()
    attempt.discard().catch((error: unknown) => this.#init.defect(error))
  }

  #ready(worker: WorkerState, message: Extract<FromWorker, { _tag: "Ready" }>): void {
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
      if (!held.has(attempt.entry.sequence)) this.detach(attempt)
    }
    this.#init.machine.send({
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
    const { machine, entries } = this.#init
    const entry = entries.ofRequest(requestId)
    if (entry === undefined || entry.attempt !== undefined) return undefined
    if (!Buffer_.isLive(machine.state, entry.sequence, worker.identity.workerId, token)) return undefined
    const attempt = this.begin(worker, entry, token, Math.max(1, entry.attempts))
    attempt.bodySent = true
    return attempt
  }

  // --- the owner changes -------------------------------------------------------------------------------------------

  /** What it would show or settle may be another owner's to show. */
  #hold(worker: WorkerState, message: FromWorker): void {
    if (this.#init.machine.isStopped) return
    if (this.#held.length < heldMax) this.#held.push([worker, message])
    // It says again what counts when it is back.
    else worker.connection?.close(movedReason)
  }

  /** The lease is back, and nobody else had it. */
  resume(): void {
    for (const [worker, message] of this.#held.splice(0)) this.said(worker, message)
    this.#init.machine.arm()
  }

  /** Their leases go on: whoever owns the shard when they are back knows them from the log. */
  dismiss(): void {
    for (const worker of this.#byId.values()) {
      this.#init.machine.send({ _tag: "WorkerDisconnected", nowMs: nowMs(), workerId: worker.identity.workerId })
      worker.connection?.close(movedReason)
    }
  }

  /** Their shard is not this process's any more, and nothing is written of what they hold. */
  giveUp(): void {
    this.#held = []
    for (const worker of this.#byId.values()) {
      for (const attempt of worker.attempts.values()) {
        attempt.entry.released(attempt)
        this.#finish(attempt)
      }
      worker.connection?.close(movedReason)
      worker.drained()
    }
  }

  /** The process ends. */
  close(): void {
    for (const worker of this.#byId.values()) worker.connection?.close("the plane is shutting down")
  }

  // --- the two maps ------------------------------------------------------------------------------------------------

  #add(worker: WorkerState): void {
    const { workerId, instanceId } = worker.identity
    this.#byId.set(workerId, worker)
    this.#byInstance.set(instanceId, [...this.ofInstance(instanceId), worker])
  }

  #remove(worker: WorkerState): void {
    const { workerId, instanceId } = worker.identity
    this.#byId.delete(workerId)
    const siblings = this.ofInstance(instanceId).filter((sibling) => sibling !== worker)
    if (siblings.length > 0) this.#byInstance.set(instanceId, siblings)
    else this.#byInstance.delete(instanceId)
  }
}
