/**
 * Everything around one buffer machine, simulated and small: a log that flushes and fails, workers that hold leases,
 * callers, restarts. It carries commands out the way a shard owner does and shows every step to the auditor.
 *
 * @module
 */
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Command, DurableRecord, Event, RecordRef } from "../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../src/core/buffer/BufferOptions.ts"
import * as Table from "../src/core/collections/Table.ts"
import { Auditor } from "./BufferAuditor.ts"
import { contentOf, recordOf } from "./BufferContent.ts"
import { LawBroken } from "./BufferOutcomes.ts"

/** The machine under test; the zoo puts wrong ones here. */
export interface Machine {
  readonly empty: typeof Buffer.empty
  readonly step: typeof Buffer.step
  readonly restore: typeof Buffer.restore
}

export const rightMachine: Machine = { empty: Buffer.empty, step: Buffer.step, restore: Buffer.restore }

/** Small, so that every limit is reached. */
export const tightOptions: BufferOptions = {
  pendingCountMax: 8,
  pendingBytesMax: 24,
  tenantShareMax: 0.75,
  visibilityTimeoutMs: 20,
  redeliveryDelayMs: 4,
  redeliveryDelayMaxMs: 12,
  resultRetentionMs: 60,
  rememberedCountMax: 6,
  opportunisticWaitMaxMs: 30,
  retryAfterMs: 7
}

interface Write {
  readonly record: DurableRecord
  readonly ref: RecordRef
}

export interface Lease {
  readonly sequence: number
  readonly workerId: string
  readonly token: number
}

interface Beginning {
  readonly law?: string
  readonly startMs?: number
  /** As this one is. */
  readonly from?: World
}

export class World {
  readonly machine: Machine
  readonly options: BufferOptions
  readonly auditor: Auditor
  state: Buffer.State
  nowMs: number
  epoch = 1
  nextSequence = 1
  /** What is on stable storage, in order. */
  log: Array<DurableRecord> = []
  queue: Array<Write> = []
  flushing: Array<Write> = []
  isStoreBroken = false
  saved: { readonly snapshot: Buffer.Snapshot; readonly position: number } | null = null
  /** Every lease ever given, so that stale ones can be spoken for. */
  leases: Array<Lease> = []
  /** Ids of requests that came, where each comes once. */
  arrived = new Set<string>()
  isHistoryKept = false
  /** Past steps, to be taken again from their old states. */
  readonly history: Array<{ readonly state: Buffer.State; readonly event: Event; readonly commands: string }> = []

  /** `law`: the only one that is held; without it all are. `startMs`: what the clock says at first. */
  constructor(machine: Machine, { law, startMs = 1_000, from }: Beginning = {}) {
    this.machine = machine
    this.options = tightOptions
    this.nowMs = startMs
    if (from !== undefined) {
      this.state = from.state
      this.auditor = from.auditor.fork()
      return
    }
    this.state = machine.empty(this.options)
    this.auditor = new Auditor(this.options, law)
    this.send({ _tag: "Recovered", nowMs: this.nowMs, epoch: this.epoch })
  }

  /** Another world that is as this one, and goes its own way. */
  fork(): World {
    const { nowMs, epoch, nextSequence, log, queue, flushing, isStoreBroken, saved, leases, arrived } = this
    const fork = new World(this.machine, { from: this })
    Object.assign(fork, { nowMs, epoch, nextSequence, isStoreBroken, saved, arrived: new Set(arrived) })
    Object.assign(fork, { log: [...log], queue: [...queue], flushing: [...flushing], leases: [...leases] })
    return fork
  }

  /** Everything that what can still happen depends on, but the auditor. */
  facts(): unknown {
    const { state, nowMs, epoch, nextSequence, log, queue, flushing, isStoreBroken, saved, leases, arrived } = this
    const writes = [queue, flushing].map((each) => each.map(({ record }) => recordOf(record)))
    const scalars = [nowMs, epoch, nextSequence, isStoreBroken]
    return [contentOf(state), scalars, log.map(recordOf), writes, saved, leases, [...arrived].sort()]
  }

  isConnected(workerId: string): boolean {
    const number = Table.find(this.state.workers, workerId)
    const worker = number === undefined ? undefined : Table.row(this.state.workers, number)
    return worker !== undefined && worker.status !== "away"
  }

  send(event: Event): ReadonlyArray<Command> {
    const before = freeze(this.state)
    const [after, commands] = this.#step(before, event)
    this.state = after
    for (const command of commands) this.#carryOut(command)
    this.auditor.observe(event, before, after, commands, this.log)
    if (this.isHistoryKept) this.history.push({ state: before, event, commands: JSON.stringify(commands) })
    return commands
  }

  #step(state: Buffer.State, event: Event): readonly [Buffer.State, ReadonlyArray<Command>] {
    try {
      return this.machine.step(state, freeze(event))
    } catch (error) {
      // A frozen state was written to, or the machine is not total.
      throw new LawBroken("purity", `${JSON.stringify(event)} made it throw: ${String(error)}`)
    }
  }

  /** Old states still answer as they did. */
  checkHistory(): void {
    for (const { state, event, commands } of this.history) {
      const again = JSON.stringify(this.#step(state, event)[1])
      if (again !== commands) throw new LawBroken("purity", `${event._tag} gave ${commands} and later ${again}`)
    }
  }

  #carryOut(command: Command): void {
    switch (command._tag) {
      case "Append": {
        const { record, ref } = command
        const isKnown = ref.kind === "arrived" && this.queue.some((write) => isSame(write.ref, ref))
        if (!isKnown) this.queue.push({ record, ref })
        return
      }
      case "DropAppend": {
        // A log that has broken holds nothing any more that could be dropped.
        if (
          !this.isStoreBroken &&
          !this.queue.some(({ ref }) => ref.kind === "arrived" && ref.sequence === command.sequence)
        ) {
          throw new LawBroken("L6", `DropAppend of ${command.sequence}, whose arrival is not waiting to be written`)
        }
        this.queue = this.queue.filter(({ ref }) => ref.sequence !== command.sequence)
        return
      }
      case "Assign": {
        const { sequence, workerId, token } = command
        this.leases.push({ sequence, workerId, token })
        return
      }
      default:
        return
    }
  }

  // --- the log -----------------------------------------------------------------------------------------------------

  flushStart(countMax: number): void {
    if (this.flushing.length > 0 || this.queue.length === 0 || this.isStoreBroken) return
    this.flushing = this.queue.splice(0, countMax)
    this.send({ _tag: "FlushStarted", records: this.flushing.map(({ ref }) => ref) })
  }

  persist(): void {
    if (this.flushing.length === 0) return
    const batch = this.flushing
    this.flushing = []
    for (const { record } of batch) this.log.push(record)
    this.send({ _tag: "Persisted", nowMs: this.nowMs, records: batch.map(({ ref }) => ref) })
  }

  /**
   * From here on the log takes nothing until a restart. `isWritten`: it did happen, and nobody can tell. `isUnknown`:
   * nobody can tell in any case.
   */
  breakStore(isWritten: boolean, isUnknown: boolean): void {
    this.flushStart(1_000)
    // Only a write can fail.
    if (this.isStoreBroken || this.flushing.length === 0) return
    this.isStoreBroken = true
    const batch = this.flushing
    const left = this.queue
    this.flushing = []
    this.queue = []
    if (isWritten) for (const { record } of batch) this.log.push(record)
    const outcome = isWritten || isUnknown ? "unknown" : "failed"
    this.send({ _tag: "PersistFailed", nowMs: this.nowMs, records: batch.map(({ ref }) => ref), outcome })
    if (left.length === 0) return
    this.send({ _tag: "PersistFailed", nowMs: this.nowMs, records: left.map(({ ref }) => ref), outcome: "failed" })
  }

  /**
   * The disk has no room for the batch under way and takes others: its arrivals are given up, with all that was to be
   * written of them, and the other records stay under way.
   */
  refuseWrite(): void {
    const refs = this.flushing.map(({ ref }) => ref).filter(({ kind }) => kind === "arrived")
    if (refs.length === 0) return
    const given = new Set(refs.map(({ sequence }) => sequence))
    this.flushing = this.flushing.filter(({ ref }) => !given.has(ref.sequence))
    this.send({ _tag: "PersistFailed", nowMs: this.nowMs, records: refs, outcome: "refused" })
    this.queue = this.queue.filter(({ ref }) => !given.has(ref.sequence))
  }

  flushAll(): void {
    this.persist()
    while (this.queue.length > 0 && !this.isStoreBroken) {
      this.flushStart(1_000)
      this.persist()
    }
  }

  /** Not after a failure: where the log ends is not known then. */
  save(): void {
    if (this.isStoreBroken) return
    this.saved = { snapshot: roundTrip(Buffer.snapshot(this.state)), position: this.log.length }
  }

  /**
   * The process dies and another one reads the log. `flushedCount`: how much of the batch under way was written.
   * Without `fromSnapshot` the snapshot was never finished, so nobody can read it later either.
   */
  restart(flushedCount: number, fromSnapshot: boolean): void {
    for (const { record } of this.flushing.slice(0, flushedCount)) this.log.push(record)
    this.flushing = []
    this.queue = []
    this.isStoreBroken = false
    if (!fromSnapshot) this.saved = null
    this.state = this.replay(this.log, this.saved)
    this.epoch += 1
    this.auditor.restarted(this.state, this.log, this.epoch)
    this.send({ _tag: "Recovered", nowMs: this.nowMs, epoch: this.epoch })
    this.auditor.recovered(this.state, this.nowMs)
  }

  replay(log: ReadonlyArray<DurableRecord>, saved: World["saved"]): Buffer.State {
    let state = saved === null ? this.machine.empty(this.options) : this.machine.restore(saved.snapshot, this.options)
    for (const record of log.slice(saved?.position ?? 0)) {
      const [next, commands] = this.#step(freeze(state), { _tag: "Replayed", record: roundTrip(record) })
      this.auditor.replayed(record, commands)
      state = next
    }
    return state
  }

  // --- towards the end ---------------------------------------------------------------------------------------------

  /** Faults stop, workers come, time goes on: L18 says that everything ends. `isPoison`: no attempt of it succeeds. */
  settle(isPoison: (sequence: number) => boolean): void {
    if (this.isStoreBroken) this.restart(0, false)
    const { nowMs: startMs } = this
    const versions = new Set(Buffer.versions(this.state))
    for (let round = 0; round < 400; round++) {
      this.flushAll()
      for (const version of versions) this.#join(`good-${version}`, version)
      // An answer makes room for another lease, which must not wait until the worker counts as silent.
      const answer = (sequence: number) => this.#answer(sequence, isPoison(sequence))
      while (Buffer.liveSequences(this.state).filter(answer).length > 0);
      this.flushAll()
      const dueMs = Buffer.nextDueMs(this.state)
      if (dueMs === undefined) break
      this.nowMs = Math.max(this.nowMs, dueMs)
      this.send({ _tag: "Ticked", nowMs: this.nowMs })
    }
    this.auditor.settled(this.state, startMs)
  }

  #join(workerId: string, version: string): void {
    const { nowMs } = this
    const holds = this.leases.filter(
      (lease) => lease.workerId === workerId && Buffer.isLive(this.state, lease.sequence, workerId, lease.token)
    )
    this.send({ _tag: "WorkerJoined", nowMs, workerId, instanceId: workerId, version, slots: 3, holds })
  }

  /** False: no good worker has it. */
  #answer(sequence: number, isPoison: boolean): boolean {
    const { token, workerId } = Buffer.lookup(this.state, sequence) ?? {}
    if (token === undefined || workerId?.startsWith("good-") !== true) return false
    const of = { nowMs: this.nowMs, sequence, workerId, token }
    if (isPoison) this.send({ _tag: "AttemptFailed", ...of, retryable: true, message: "poison" })
    else this.send({ _tag: "ResponseEnded", ...of, resultBytes: 1 })
    return !Buffer.isLive(this.state, sequence, workerId, token)
  }
}

const isSame = (one: RecordRef, other: RecordRef): boolean => one.kind === other.kind && one.sequence === other.sequence

/** Through JSON, as a log and a snapshot file do. */
// The value is JSON by contract, so its copy has its type.
export const roundTrip = <A>(value: A): A => JSON.parse(JSON.stringify(value)) as A

/** Deep, but each part only once: what is frozen already is not looked at again. */
const freeze = <A>(value: A): A => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value
  const prototype = Object.getPrototypeOf(value)
  // Effect's HashMap keeps caches inside; it is persistent by its own contract.
  if (prototype !== Object.prototype && prototype !== Array.prototype) return value
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
  return value
}
