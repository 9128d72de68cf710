/**
 * One shard while a gateway owns it: feeds the production buffer machine and carries out what it orders, as the plane's
 * shard does, over a simulated disk and simulated connections. It decides nothing.
 *
 * @module
 */
import * as Buffer from "../../../src/core/buffer/Buffer.ts"
import type { Command, DurableRecord, Event, RecordRef, Refusal } from "../../../src/core/buffer/BufferEvent.ts"
import type { Answer, ClaimResult, Terminal } from "../../history/History.ts"
import type { CallFacts } from "./CallFacts.ts"
import type { Connection } from "./Connection.ts"
import type { StoredRecord } from "./SimulatedDisk.ts"
import { SimulatedLogWriter } from "./SimulatedLogWriter.ts"
import type { SimulatedWorker } from "./SimulatedWorker.ts"
import type { Shard, World } from "./World.ts"

/** How a caller hears, at the gateway's end of its connection. */
export interface Reply {
  readonly accepted: (requestId: string) => void
  readonly part: (token: number) => void
  readonly answered: (requestId: string, answer: Answer) => void
  readonly ended: (requestId: string, terminal: Terminal) => void
  readonly refused: (status: number) => void
  /** 503, and it may run. */
  readonly unsure: () => void
}

export interface Entry {
  readonly sequence: number
  readonly requestId: string
  readonly call: CallFacts
  caller: Reply | undefined
  /** Callers with the same key that wait for the end. */
  joiners: Array<Reply>
  /** The same, for the 202. */
  acceptedJoiners: Array<Reply>
  isStored: boolean
  hasRun: boolean
  /** Whose answer began. */
  headToken: number | undefined
  answer: Answer | undefined
  end: Terminal | "responded" | undefined
  records: Array<StoredRecord>
}

export interface FromWorker {
  readonly requestId: string
  readonly token: number
}

export class ServingShard {
  readonly epoch: number
  readonly plane: string
  readonly #world: World
  readonly #shard: Shard
  readonly #isActing: () => boolean
  /** Runs it when the gateway gets to it. */
  readonly #receive: (action: () => void) => void
  readonly #onStoreFailed: () => void
  readonly #entries = new Map<number, Entry>()
  readonly #byRequestId = new Map<string, Entry>()
  readonly #workers = new Map<string, { readonly worker: SimulatedWorker; connection: Connection | undefined }>()
  readonly #connections = new Set<Connection>()
  readonly #log: SimulatedLogWriter
  #state: Buffer.State
  #lastSequence = 0
  #timerAtMs = Number.POSITIVE_INFINITY
  #arriving: Answer | undefined
  isClosed = false

  constructor(
    world: World,
    shard: Shard,
    owner: {
      readonly epoch: number
      readonly isActing: () => boolean
      readonly receive: (action: () => void) => void
      readonly onStoreFailed: () => void
    }
  ) {
    this.#world = world
    this.#shard = shard
    this.epoch = owner.epoch
    this.plane = `${shard.name}:${owner.epoch}`
    this.#isActing = owner.isActing
    this.#receive = owner.receive
    this.#onStoreFailed = owner.onStoreFailed
    this.#state = this.#recover()
    this.#log = new SimulatedLogWriter(
      {
        epoch: owner.epoch,
        append: (append, answer) => shard.disk.append(append, (outcome) => this.#later(() => answer(outcome))),
        after: (delayMs, action) => world.timeline.after(delayMs, () => this.#later(action)),
        encode: (record, ref) => this.#encode(record, ref),
        started: (records) => this.#send({ _tag: "FlushStarted", records }),
        persisted: (records) => this.#onPersisted(records),
        failed: (records, outcome) => {
          this.#send({ _tag: "PersistFailed", nowMs: this.#nowMs, records, outcome })
          if (outcome !== "refused") this.#onStoreFailed()
        }
      },
      shard.disk.position
    )
    this.#send({ _tag: "Recovered", nowMs: this.#nowMs, epoch: owner.epoch })
  }

  get #nowMs(): number {
    return this.#world.timeline.nowMs
  }

  get state(): Buffer.State {
    return this.#state
  }

  /** The process is gone, or it does not own the shard any more. */
  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#world.see({ _tag: "Crashed" })
    for (const connection of this.#connections) connection.drop()
  }

  track(connection: Connection): void {
    this.#connections.add(connection)
  }

  /** An owner asks before each act whether it is one. */
  #later(action: () => void): void {
    this.#receive(() => {
      if (!this.isClosed && this.#isActing()) action()
    })
  }

  // --- recovery ----------------------------------------------------------------------------------------------------

  #recover(): Buffer.State {
    const { machine, options } = this.#world
    const { disk, invariants } = this.#shard
    const records = disk.open(this.epoch)
    invariants.opened()
    let state = machine.empty(options)
    if (disk.saved !== undefined) {
      state = machine.restore(disk.saved.machine, options)
      this.#lastSequence = disk.saved.machine.lastSequence
      for (const { stored } of disk.saved.entries) {
        for (const each of stored) {
          this.#remember(each)
          invariants.replayed(each.record, [])
        }
      }
    }
    for (const stored of records) {
      const record = copy(stored.record)
      const [next, commands] = machine.step(state, { _tag: "Replayed", record })
      state = next
      invariants.replayed(record, commands)
      this.#remember(stored)
    }
    if (records.length > 0 && this.#world.dice.chance(0.5)) {
      const entries = [...this.#entries.values()].map(({ sequence, records }) => ({ sequence, stored: [...records] }))
      const machineSnapshot = copy(Buffer.snapshot(state))
      disk.saved = { position: disk.position, machine: machineSnapshot, entries }
      this.#world.met.snapshots++
    }
    return state
  }

  #remember(stored: StoredRecord): void {
    const { record, call, answer } = stored
    if (record._tag === "RecordArrived") {
      const { sequence, requestId } = record.arrived
      this.#lastSequence = Math.max(this.#lastSequence, sequence)
      if (call === undefined) return
      this.#index(this.#newEntry({ sequence, requestId, call, caller: undefined, isStored: true, records: [stored] }))
      return
    }
    const entry = this.#entries.get(record.sequence)
    if (entry === undefined) return
    if (record._tag === "RecordForgotten") return this.#unindex(entry)
    if (record._tag !== "RecordEnded") return
    entry.end = record.terminal
    entry.answer = answer
    entry.records.push(stored)
  }

  #newEntry(init: Pick<Entry, "sequence" | "requestId" | "call" | "caller" | "isStored" | "records">): Entry {
    const nothing = { hasRun: false, headToken: undefined, answer: undefined, end: undefined }
    return { ...init, ...nothing, joiners: [], acceptedJoiners: [] }
  }

  // --- callers -----------------------------------------------------------------------------------------------------

  submit(call: CallFacts, reply: Reply): Entry | undefined {
    if (!this.#mayAct()) return undefined
    const sequence = ++this.#lastSequence
    const requestId = `${this.plane}-${sequence}`
    const entry = this.#newEntry({ sequence, requestId, call, caller: reply, isStored: false, records: [] })
    this.#index(entry)
    this.#send({
      _tag: "Arrived",
      nowMs: this.#nowMs,
      sequence,
      requestId,
      tenant: call.tenant,
      version: call.version,
      mode: call.mode,
      durability: call.durability,
      deadlineMs: call.deadlineMs,
      sizeBytes: call.sizeBytes,
      maxAttempts: call.maxAttempts,
      ...(call.key === undefined ? {} : { idempotencyKey: call.key, fingerprint: call.body })
    })
    if (call.mode === "sync") {
      this.#world.timeline.after(call.pollMs, () =>
        this.#later(() => {
          if (entry.caller !== undefined) this.#send({ _tag: "Detached", nowMs: this.#nowMs, sequence })
        })
      )
    }
    return entry
  }

  left(entry: Entry, reply: Reply): void {
    const leave = (replies: Array<Reply>) => replies.filter((each) => each !== reply)
    for (const each of this.#entries.values()) {
      each.joiners = leave(each.joiners)
      each.acceptedJoiners = leave(each.acceptedJoiners)
    }
    if (entry.caller !== reply || !this.#mayAct()) return
    entry.caller = undefined
    const cancel = entry.call.isCancelledWhenLeft
    this.#send({ _tag: "CallerLeft", nowMs: this.#nowMs, sequence: entry.sequence, cancel })
  }

  cancel(requestId: string): void {
    const entry = this.#byRequestId.get(requestId)
    if (entry === undefined || entry.end !== undefined || !this.#mayAct()) return
    const { sequence } = entry
    this.#send({ _tag: "CancelRequested", nowMs: this.#nowMs, sequence })
    const is = Buffer.lookup(this.#state, sequence)
    const isOver = is === undefined || is.state === "terminal"
    this.#shard.invariants.expect("L18", isOver, () => `${sequence} goes on after it was cancelled`)
  }

  claim(requestId: string): ClaimResult {
    const entry = this.#byRequestId.get(requestId)
    if (entry === undefined) return { kind: "absent" }
    if (entry.end === undefined) return { kind: "pending" }
    if (entry.end !== "responded") return { kind: "ended", terminal: entry.end }
    return entry.answer === undefined ? { kind: "absent" } : { kind: "answer", answer: entry.answer }
  }

  removeVersion(version: string): void {
    if (!this.#mayAct()) return
    this.#send({ _tag: "VersionRemoved", nowMs: this.#nowMs, version })
    const { pending, leased } = Buffer.counts(this.#state, version)
    const isOver = pending + leased === 0
    this.#shard.invariants.expect("L18", isOver, () => `${pending + leased} go on though ${version} was removed`)
  }

  // --- workers -----------------------------------------------------------------------------------------------------

  workerReady(worker: SimulatedWorker, connection: Connection, running: ReadonlyArray<FromWorker>): void {
    if (!this.#mayAct()) return
    this.#workers.set(worker.id, { worker, connection })
    const holds: Array<{ readonly sequence: number; readonly token: number }> = []
    for (const { requestId, token } of running) {
      const entry = this.#byRequestId.get(requestId)
      // Bytes that were under way are lost with the connection: what had begun to answer cannot go on.
      if (entry !== undefined && entry.headToken !== token) holds.push({ sequence: entry.sequence, token })
      else connection.toClient(() => worker.cancel(requestId, token))
    }
    this.#send({
      _tag: "WorkerJoined",
      nowMs: this.#nowMs,
      workerId: worker.id,
      instanceId: worker.id,
      version: worker.version,
      slots: worker.slots,
      holds
    })
  }

  workerHeard(workerId: string): void {
    if (this.#mayAct()) this.#send({ _tag: "WorkerHeard", nowMs: this.#nowMs, workerId })
  }

  workerDraining(workerId: string): void {
    if (this.#mayAct()) this.#send({ _tag: "WorkerDraining", nowMs: this.#nowMs, workerId })
  }

  workerDisconnected(workerId: string, connection: Connection): void {
    const known = this.#workers.get(workerId)
    if (known?.connection !== connection || !this.#mayAct()) return
    known.connection = undefined
    this.#send({ _tag: "WorkerDisconnected", nowMs: this.#nowMs, workerId })
  }

  workerLost(workerId: string): void {
    if (!this.#mayAct()) return
    this.#workers.delete(workerId)
    this.#send({ _tag: "WorkerLost", nowMs: this.#nowMs, workerId })
  }

  responseStarted(workerId: string, from: FromWorker): void {
    this.#fromWorker(from, (entry) => {
      const { sequence } = entry
      if (Buffer.isLive(this.#state, sequence, workerId, from.token)) entry.headToken = from.token
      this.#send({ _tag: "ResponseStarted", nowMs: this.#nowMs, sequence, workerId, token: from.token })
    })
  }

  responseEnded(workerId: string, from: FromWorker, answer: Answer): void {
    this.#fromWorker(from, ({ sequence }) => {
      this.#arriving = answer
      this.#send({ _tag: "ResponseEnded", nowMs: this.#nowMs, sequence, workerId, token: from.token, resultBytes: 1 })
      this.#arriving = undefined
    })
  }

  attemptFailed(workerId: string, from: FromWorker, retryable: boolean): void {
    this.#fromWorker(from, ({ sequence }) => {
      const of = { nowMs: this.#nowMs, sequence, workerId, token: from.token }
      this.#send({ _tag: "AttemptFailed", ...of, retryable, message: "it failed" })
    })
  }

  #fromWorker({ requestId }: FromWorker, act: (entry: Entry) => void): void {
    const entry = this.#byRequestId.get(requestId)
    if (entry === undefined || !this.#mayAct()) return
    // The timer of this very millisecond may be behind this message; an answer after the deadline is none.
    if (this.#nowMs >= entry.call.deadlineMs) this.#send({ _tag: "Ticked", nowMs: this.#nowMs })
    act(entry)
  }

  // --- the loop ----------------------------------------------------------------------------------------------------

  #mayAct(): boolean {
    return !this.isClosed && this.#isActing()
  }

  #send(event: Event): void {
    if (this.isClosed) return
    this.#shard.acts()
    const [state, commands] = this.#world.machine.step(this.#state, event)
    this.#state = state
    this.#shard.invariants.stepped(event, state, commands)
    for (const command of commands) this.#carryOut(command, event)
    this.#arm()
  }

  #arm(): void {
    const dueMs = Buffer.nextDueMs(this.#state)
    if (dueMs === undefined || dueMs >= this.#timerAtMs) return
    this.#timerAtMs = dueMs
    this.#world.timeline.after(Math.max(1, dueMs - this.#nowMs), () =>
      this.#later(() => {
        if (dueMs > this.#timerAtMs) return
        this.#timerAtMs = Number.POSITIVE_INFINITY
        this.#send({ _tag: "Ticked", nowMs: this.#nowMs })
      })
    )
  }

  #carryOut(command: Command, event: Event): void {
    const entry = "sequence" in command ? this.#entries.get(command.sequence) : undefined
    switch (command._tag) {
      case "Append": {
        const ended = command.record._tag === "RecordEnded" ? this.#entries.get(command.ref.sequence) : undefined
        if (ended !== undefined) this.#takeAnswer(ended, event)
        return this.#log.add(command.record, command.ref, command.urgent)
      }
      case "DropAppend":
        return this.#log.drop(command.sequence)
      case "Assign":
        return entry === undefined ? undefined : this.#assign(entry, command)
      case "CancelAttempt": {
        const { worker, connection } = this.#workers.get(command.workerId) ?? {}
        const { token } = command
        if (entry !== undefined) connection?.toClient(() => worker?.cancel(entry.requestId, token))
        return
      }
      case "TellAccepted":
        return entry?.caller?.accepted(entry.requestId)
      case "ReleaseResponse":
        return entry?.caller?.part(command.token)
      case "Refuse":
        return entry === undefined ? undefined : this.#refuse(entry, command.refusal)
      case "Join": {
        const original = this.#entries.get(command.original)
        if (entry === undefined || original === undefined) return
        this.#unindex(entry)
        return this.#join(entry, original)
      }
      case "TellEnded":
        if (entry === undefined) return
        this.#takeAnswer(entry, event)
        return this.#tellEnded(entry, command)
      case "RejectStale":
        this.#world.met.stale++
        if (entry !== undefined && command.event === "ResponseEnded") {
          this.#world.see({ _tag: "Settled", requestId: entry.requestId, token: command.token, taken: false })
        }
        return
      case "Forget":
        return entry === undefined ? undefined : this.#unindex(entry)
      default:
        return
    }
  }

  /** The answer that came with this event is the one that the machine let count. */
  #takeAnswer(entry: Entry, event: Event): void {
    if (event._tag === "ResponseEnded" && event.sequence === entry.sequence) entry.answer ??= this.#arriving
  }

  #assign(entry: Entry, command: Extract<Command, { readonly _tag: "Assign" }>): void {
    const { worker, connection } = this.#workers.get(command.workerId) ?? {}
    entry.hasRun = true
    const { token, attempt } = command
    const { requestId, call } = entry
    connection?.toClient(() => worker?.assigned({ requestId, token, attempt, call, plane: this.plane }))
  }

  #refuse(entry: Entry, refusal: Refusal): void {
    this.#unindex(entry)
    this.#world.met.refusals++
    const mayRun = refusal.kind === "store-failed" && (refusal.kept === "unknown" || entry.hasRun)
    if (mayRun) entry.caller?.unsure()
    else entry.caller?.refused(statusOf[refusal.kind])
    for (const joiner of [...entry.joiners, ...entry.acceptedJoiners]) joiner.unsure()
  }

  #join(entry: Entry, original: Entry): void {
    const reply = entry.caller
    if (reply === undefined) return
    this.#world.met.joins++
    if (original.end !== undefined) return this.#tell(reply, original, original.end)
    if (entry.call.mode === "sync") original.joiners.push(reply)
    else if (original.isStored) reply.accepted(original.requestId)
    else original.acceptedJoiners.push(reply)
  }

  #tellEnded(entry: Entry, command: Extract<Command, { readonly _tag: "TellEnded" }>): void {
    const { terminal, reason, resultKept } = command
    const replies = [...(entry.caller === undefined ? [] : [entry.caller]), ...entry.joiners, ...entry.acceptedJoiners]
    entry.caller = undefined
    entry.joiners = []
    entry.acceptedJoiners = []
    // A 503, and after a restart the log may say something else.
    if (reason === "store-failed") {
      for (const reply of replies) reply.unsure()
      return
    }
    entry.end = terminal
    if (terminal === "responded" && resultKept && entry.answer !== undefined) {
      const { token } = entry.answer
      this.#world.see({ _tag: "Settled", requestId: entry.requestId, token, taken: true })
    }
    for (const reply of replies) this.#tell(reply, entry, terminal)
  }

  #tell(reply: Reply, { requestId, answer }: Entry, end: Terminal | "responded"): void {
    if (end !== "responded") reply.ended(requestId, end)
    else if (answer !== undefined) reply.answered(requestId, answer)
    else reply.unsure()
  }

  #onPersisted(records: ReadonlyArray<RecordRef>): void {
    const stored = records.flatMap(({ kind, sequence }) =>
      kind === "arrived" ? (this.#entries.get(sequence) ?? []) : []
    )
    for (const entry of stored) entry.isStored = true
    this.#send({ _tag: "Persisted", nowMs: this.#nowMs, records })
    for (const entry of stored) {
      for (const joiner of entry.acceptedJoiners) joiner.accepted(entry.requestId)
      entry.acceptedJoiners = []
    }
    if (this.#world.dice.chance(snapshotShare)) this.#saveSnapshot()
  }

  /** Of the state that serves, as the plane makes it: ahead of the log where a record was ordered and not confirmed. */
  #saveSnapshot(): void {
    if (!this.#mayAct() || this.#state.storeFailed) return
    const machine = copy(Buffer.snapshot(this.#state))
    const entries = machine.requests.flatMap(({ arrived, records }) => {
      const entry = this.#entries.get(arrived.sequence)
      if (entry === undefined) return []
      const { sequence, call, answer } = entry
      const ended = records.filter(({ _tag }) => _tag === "RecordEnded")
      const stored: ReadonlyArray<StoredRecord> = [
        { record: { _tag: "RecordArrived", arrived }, call, answer: undefined },
        ...ended.map((record) => ({ record, call: undefined, answer }))
      ]
      return [{ sequence, stored }]
    })
    this.#shard.disk.saved = { position: this.#log.position, machine, entries }
    this.#world.met.snapshots++
  }

  #encode(record: DurableRecord, ref: RecordRef): StoredRecord {
    const entry = this.#entries.get(ref.sequence)
    const call = record._tag === "RecordArrived" ? entry?.call : undefined
    const answer = record._tag === "RecordEnded" && record.resultKept ? entry?.answer : undefined
    return { record: copy(record), call, answer }
  }

  #index(entry: Entry): void {
    this.#entries.set(entry.sequence, entry)
    this.#byRequestId.set(entry.requestId, entry)
  }

  #unindex(entry: Entry): void {
    this.#entries.delete(entry.sequence)
    this.#byRequestId.delete(entry.requestId)
  }
}

/** Of the commits that a snapshot follows. */
const snapshotShare = 0.05

const statusOf = {
  "queue-full": 429,
  "tenant-full": 429,
  "idempotency-conflict": 409,
  "deadline-passed": 504,
  "duplicate-sequence": 500,
  "store-failed": 503
} as const

/** As through a file: what is read back shares nothing with what was written. */
// The value is plain data, so its copy has its type.
const copy = <A>(value: A): A => JSON.parse(JSON.stringify(value)) as A
