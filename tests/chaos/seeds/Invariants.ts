/**
 * What must hold at each step of one shard, over all its owners: seen from the events and the commands alone, so that a
 * wrong machine cannot hide it.
 *
 * @module
 */
import * as Buffer from "../../../src/core/buffer/Buffer.ts"
import type { Command, DurableRecord, Event } from "../../../src/core/buffer/BufferEvent.ts"
import { invariant } from "../../../src/core/collections/invariant.ts"

/** One life of an owner. */
interface Life {
  readonly epoch: number
  readonly confirmed: Set<string>
  readonly told: Set<number>
  readonly accepted: Set<number>
  /** Sequence → token whose bytes were released. */
  readonly released: Map<number, number>
  /** Sequence → the lease of this life that is not known to be over. */
  readonly attempts: Map<number, number>
  isStoreBroken: boolean
}

export interface Broken {
  readonly law: string
  readonly atMs: number
  readonly what: string
}

export class Invariants {
  readonly broken: Array<Broken> = []
  /** The highest token that any owner gave. */
  #lastToken = 0
  #lastEpoch = 0
  #life: Life | undefined
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  expect(law: string, holds: boolean, what: () => string): void {
    if (!holds) this.broken.push({ law, atMs: this.#nowMs(), what: what() })
  }

  gained(epoch: number): void {
    this.expect("E2", epoch > this.#lastEpoch, () => `epoch ${epoch} was granted after ${this.#lastEpoch}`)
    this.#lastEpoch = Math.max(this.#lastEpoch, epoch)
  }

  /** A new owner reads the log. */
  opened(epoch: number): void {
    this.#life = {
      epoch,
      confirmed: new Set(),
      told: new Set(),
      accepted: new Set(),
      released: new Map(),
      attempts: new Map(),
      isStoreBroken: false
    }
  }

  replayed(record: DurableRecord, commands: ReadonlyArray<Command>): void {
    const isQuiet = commands.length === 0
    this.expect("L19", isQuiet, () => `reading ${record._tag} ordered ${commands.map(({ _tag }) => _tag)}`)
    const life = this.#current()
    if (record._tag === "RecordArrived") life.confirmed.add(`arrived ${record.arrived.sequence}`)
    if (record._tag === "RecordEnded") life.confirmed.add(`ended ${record.sequence}`)
  }

  stepped(event: Event, state: Buffer.State, commands: ReadonlyArray<Command>): void {
    const life = this.#current()
    if (event._tag === "Persisted") {
      for (const { kind, sequence } of event.records) life.confirmed.add(`${kind} ${sequence}`)
    }
    if (event._tag === "PersistFailed" && event.outcome !== "refused") life.isStoreBroken = true
    for (const command of commands) this.#commanded(life, command, state)
    this.#conserved(state)
    if (event._tag === "Ticked") this.#nothingIsOverdue(state)
  }

  #current(): Life {
    invariant(this.#life !== undefined, "a shard steps before it is opened")
    return this.#life
  }

  #commanded(life: Life, command: Command, state: Buffer.State): void {
    switch (command._tag) {
      case "Append":
        return this.expect("L20", !life.isStoreBroken, () => `${name(command.ref)} is written after a broken write`)
      case "Assign":
        return this.#assigned(life, command, state)
      case "ReleaseResponse": {
        const { sequence, token } = command
        const first = life.released.get(sequence) ?? token
        this.expect("L9", first === token, () => `bytes of tokens ${first} and ${token} of ${sequence} are shown`)
        life.released.set(sequence, token)
        return this.#isStored(life, sequence, "arrived", state, "shown")
      }
      case "TellAccepted": {
        this.expect("L3", !life.accepted.has(command.sequence), () => `${command.sequence} is accepted twice`)
        life.accepted.add(command.sequence)
        return this.#isStored(life, command.sequence, "arrived", state, "accepted")
      }
      case "TellEnded": {
        const { sequence, terminal, resultKept } = command
        this.expect("L3", !life.told.has(sequence), () => `${sequence} is told ${terminal} after another end`)
        life.told.add(sequence)
        if (resultKept) this.#isStored(life, sequence, "ended", state, "told as kept")
        return
      }
      default:
        return
    }
  }

  #assigned(life: Life, command: Extract<Command, { readonly _tag: "Assign" }>, state: Buffer.State): void {
    const { sequence, token, attempt, deadlineMs } = command
    const nowMs = this.#nowMs()
    this.expect("L4", token > this.#lastToken, () => `token ${token} of ${sequence} comes after ${this.#lastToken}`)
    this.#lastToken = Math.max(this.#lastToken, token)
    this.expect("L5", !life.told.has(sequence), () => `${sequence} is leased after its end`)
    this.expect("L9", !life.released.has(sequence), () => `${sequence} is leased again after bytes were shown`)
    this.expect("L11", nowMs < deadlineMs, () => `${sequence} starts at ${nowMs}, its deadline is ${deadlineMs}`)
    const attemptsBefore = life.attempts.get(sequence) ?? 0
    this.expect(
      "L12",
      attempt > attemptsBefore,
      () => `attempt ${attempt} of ${sequence} comes after ${attemptsBefore}`
    )
    life.attempts.set(sequence, attempt)
    const found = Buffer.lookup(state, sequence)
    if (found === undefined) return
    const isWithin = attempt <= found.maxAttempts
    this.expect("L12", isWithin, () => `attempt ${attempt} of ${sequence}, of ${found.maxAttempts}`)
  }

  #isStored(life: Life, sequence: number, kind: "arrived" | "ended", state: Buffer.State, told: string): void {
    const isMemory = this.#isMemory(state, sequence)
    const isStored = isMemory || life.confirmed.has(`${kind} ${sequence}`)
    this.expect("L6", isStored, () => `${sequence} is ${told} before its ${kind} record is confirmed`)
  }

  readonly #memory = new Set<string>()

  /** What is never written. */
  declareMemory(epoch: number, sequence: number): void {
    this.#memory.add(`${epoch} ${sequence}`)
  }

  #isMemory(state: Buffer.State, sequence: number): boolean {
    return this.#memory.has(`${state.epoch} ${sequence}`)
  }

  /** L2, by tenant. */
  #conserved(state: Buffer.State): void {
    for (const [tenant, { accepted, pending, leased, ended }] of Buffer.totals(state)) {
      const sum =
        pending + leased + ended.responded + ended.failed + ended.expired + ended.cancelled + ended["dead-lettered"]
      this.expect("L2", accepted === sum, () => `${tenant}: ${accepted} accepted, ${sum} waiting, running or ended`)
    }
  }

  #nothingIsOverdue(state: Buffer.State): void {
    const nowMs = this.#nowMs()
    for (const sequence of Buffer.liveSequences(state)) {
      const found = Buffer.lookup(state, sequence)
      const isOverdue = found !== undefined && found.state !== "terminal" && found.deadlineMs <= nowMs
      this.expect("L11", !isOverdue, () => `${sequence} is ${found?.state} after its deadline was looked at`)
    }
  }
}

const name = ({ kind, sequence }: { readonly kind: string; readonly sequence: number }): string =>
  `${kind} of ${sequence}`
