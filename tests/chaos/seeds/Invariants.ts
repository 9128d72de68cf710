/**
 * What must hold at each step of one shard, over all its owners: seen from the events, the commands and the queries alone,
 * so that a wrong machine cannot hide it. The numbers are those of `Buffer.ts` and `Lease.ts`.
 *
 * @module
 */
import * as Buffer from "../../../src/core/buffer/Buffer.ts"
import type { Arrived, Command, DurableRecord, Event } from "../../../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../../src/core/buffer/BufferOptions.ts"
import { invariant } from "../../../src/core/collections/invariant.ts"

/** One life of an owner. */
class Life {
  /** Requests as they arrived, here or in the log. */
  readonly arrived = new Map<number, Arrived>()
  /** Records that are on stable storage, as the disk said. */
  readonly confirmed = new Set<string>()
  /** Arrivals that were handed to the log. */
  readonly flushed = new Set<number>()
  readonly accepted = new Set<number>()
  readonly told = new Set<number>()
  /** Their handler failed for good. */
  readonly failed = new Set<number>()
  /** Sequence → token whose bytes were released. */
  readonly released = new Map<number, number>()
  readonly attempts = new Map<number, number>()
  /** Sequence → token of its last lease of this life. */
  readonly tokens = new Map<number, number>()
  isStoreBroken = false
}

export interface Broken {
  readonly law: string
  readonly atMs: number
  readonly what: string
}

export class Invariants {
  readonly broken: Array<Broken> = []
  readonly #options: BufferOptions
  readonly #now: () => number
  /** The highest that any owner gave or had. */
  #lastToken = 0
  #lastEpoch = 0
  #current: Life | undefined

  constructor(options: BufferOptions, now: () => number) {
    this.#options = options
    this.#now = now
  }

  expect(law: string, holds: boolean, what: () => string): void {
    if (!holds) this.broken.push({ law, atMs: this.#now(), what: what() })
  }

  gained(epoch: number): void {
    this.expect("E2", epoch > this.#lastEpoch, () => `epoch ${epoch} was granted after ${this.#lastEpoch}`)
    this.#lastEpoch = Math.max(this.#lastEpoch, epoch)
  }

  /** A new owner reads the log. */
  opened(): void {
    this.#current = new Life()
  }

  replayed(record: DurableRecord, commands: ReadonlyArray<Command>): void {
    const isQuiet = commands.length === 0
    this.expect("L19", isQuiet, () => `reading ${record._tag} ordered ${commands.map(({ _tag }) => _tag)}`)
    const life = this.#life
    if (record._tag === "RecordEnded") life.confirmed.add(`ended ${record.sequence}`)
    if (record._tag !== "RecordArrived") return
    life.confirmed.add(`arrived ${record.arrived.sequence}`)
    life.arrived.set(record.arrived.sequence, record.arrived)
  }

  stepped(event: Event, state: Buffer.State, commands: ReadonlyArray<Command>): void {
    const life = this.#life
    this.#happened(life, event)
    for (const command of commands) this.#commanded(life, command, event, state)
    if (event._tag === "Arrived") this.#admitted(life, event, state, commands)
    this.#conserved(state)
    if (event._tag === "Ticked") this.#nothingIsOverdue(life, state)
  }

  get #life(): Life {
    invariant(this.#current !== undefined, "a shard steps before it is opened")
    return this.#current
  }

  #happened(life: Life, event: Event): void {
    switch (event._tag) {
      case "Arrived":
        life.arrived.set(event.sequence, event)
        return
      case "FlushStarted":
        for (const { kind, sequence } of event.records) if (kind === "arrived") life.flushed.add(sequence)
        return
      case "Persisted":
        for (const { kind, sequence } of event.records) life.confirmed.add(`${kind} ${sequence}`)
        return
      case "PersistFailed":
        if (event.outcome !== "refused") life.isStoreBroken = true
        return
      case "AttemptFailed":
        if (!event.retryable) life.failed.add(event.sequence)
        return
      default:
        return
    }
  }

  #commanded(life: Life, command: Command, event: Event, state: Buffer.State): void {
    switch (command._tag) {
      case "Append": {
        const { kind, sequence } = command.ref
        return this.expect("L20", !life.isStoreBroken, () => `${kind} of ${sequence} is written after a broken write`)
      }
      case "DropAppend": {
        const { sequence } = command
        return this.expect("L6", !life.flushed.has(sequence), () => `${sequence} is dropped though it may be written`)
      }
      case "Assign":
        return this.#assigned(life, command)
      case "CancelAttempt": {
        const { sequence } = command
        const isDone = event._tag === "ResponseEnded" && event.sequence === sequence && event.token === command.token
        return this.expect("L5", !isDone, () => `${sequence} has answered and is told to stop`)
      }
      case "CollectResponse":
      case "DiscardResponse":
        return this.#isOfLastAttempt(life, command)
      case "ReleaseResponse": {
        const { sequence, token } = command
        this.#isOfLastAttempt(life, command)
        const first = life.released.get(sequence) ?? token
        this.expect("L9", first === token, () => `bytes of tokens ${first} and ${token} of ${sequence} are shown`)
        life.released.set(sequence, token)
        return this.#isStored(life, sequence, "arrived", "shown")
      }
      case "TellAccepted":
        this.expect("L3", !life.accepted.has(command.sequence), () => `${command.sequence} is accepted twice`)
        life.accepted.add(command.sequence)
        return this.#isStored(life, command.sequence, "arrived", "accepted")
      case "TellEnded":
        return this.#ended(life, command, state)
      default:
        return
    }
  }

  #assigned(life: Life, { sequence, token, attempt }: Extract<Command, { readonly _tag: "Assign" }>): void {
    const nowMs = this.#now()
    this.expect("L4", token > this.#lastToken, () => `token ${token} of ${sequence} comes after ${this.#lastToken}`)
    this.#lastToken = Math.max(this.#lastToken, token)
    this.expect("L5", !life.told.has(sequence), () => `${sequence} is leased after its end`)
    this.expect("L9", !life.released.has(sequence), () => `${sequence} is leased again after bytes were shown`)
    const before = life.attempts.get(sequence) ?? 0
    this.expect("L12", attempt > before, () => `attempt ${attempt} of ${sequence} comes after ${before}`)
    life.attempts.set(sequence, attempt)
    life.tokens.set(sequence, token)
    const arrived = life.arrived.get(sequence)
    if (arrived === undefined) return
    const { deadlineMs, maxAttempts, durability } = arrived
    this.expect("L11", nowMs < deadlineMs, () => `${sequence} starts at ${nowMs}, its deadline is ${deadlineMs}`)
    this.expect("L12", attempt <= maxAttempts, () => `attempt ${attempt} of ${sequence}, of ${maxAttempts}`)
    if (durability === "always") this.#isStored(life, sequence, "arrived", "leased")
  }

  #ended(life: Life, command: Extract<Command, { readonly _tag: "TellEnded" }>, state: Buffer.State): void {
    const { sequence, terminal, reason, resultKept, partial } = command
    this.expect("L3", !life.told.has(sequence), () => `${sequence} is told ${terminal} after another end`)
    life.told.add(sequence)
    if (resultKept) this.#isStored(life, sequence, "ended", "told as kept")
    const isFailure = terminal === "failed" && reason === "handler-failed"
    const isFailed = !isFailure || partial || life.failed.has(sequence)
    this.expect("L20", isFailed, () => `${sequence} is told as failed and its handler never said so`)
    const { maxAttempts = 0, deadlineMs = 0 } = life.arrived.get(sequence) ?? {}
    const isLate = terminal !== "expired" || this.#now() >= deadlineMs
    this.expect("L11", isLate, () => `${sequence} expires before its deadline`)
    // Without a kept end it is gone in the same step.
    const attempt = Buffer.lookup(state, sequence)?.attempt ?? life.attempts.get(sequence) ?? maxAttempts
    const isExhausted = terminal !== "dead-lettered" || attempt >= maxAttempts
    this.expect("L12", isExhausted, () => `${sequence} is set aside after ${attempt} of ${maxAttempts} attempts`)
  }

  #isOfLastAttempt(life: Life, { sequence, token }: { readonly sequence: number; readonly token: number }): void {
    const last = life.tokens.get(sequence) ?? token
    this.expect("L9", last === token, () => `bytes of token ${token} of ${sequence} are meant, and ${last} has it`)
  }

  #isStored(life: Life, sequence: number, kind: "arrived" | "ended", told: string): void {
    const arrived = life.arrived.get(sequence)
    const isNeverWritten = arrived?.durability === "memory" && arrived.idempotencyKey === undefined
    const isStored = isNeverWritten || life.confirmed.has(`${kind} ${sequence}`)
    this.expect("L6", isStored, () => `${sequence} is ${told} before its ${kind} record is confirmed`)
  }

  #admitted(life: Life, arrived: Arrived, state: Buffer.State, commands: ReadonlyArray<Command>): void {
    const { sequence, tenant, version, sizeBytes } = arrived
    const verdict = commands.find(({ _tag }) => _tag === "Refuse" || _tag === "Join")
    const { pendingCountMax, pendingBytesMax } = this.#options
    const live = Buffer.liveSequences(state).filter((each) => Buffer.lookup(state, each)?.state !== "terminal")
    const bytes = live.reduce((sum, each) => sum + (life.arrived.get(each)?.sizeBytes ?? 0), 0)
    const figures = () => `${live.length} of ${pendingCountMax}, ${bytes} of ${pendingBytesMax} bytes`
    if (verdict === undefined) {
      const found = Buffer.lookup(state, sequence)
      const isOwn = found === undefined || (found.tenant === tenant && found.version === version)
      this.expect("L8", isOwn, () => `${sequence} of ${tenant} is counted for ${found?.tenant}`)
      const isWithin = live.length <= pendingCountMax && bytes <= pendingBytesMax
      return this.expect("L10", isWithin, () => `${sequence} is taken beyond the bound: ${figures()}`)
    }
    if (verdict._tag !== "Refuse") return
    if (verdict.refusal.kind === "tenant-full") {
      const held = live.some((each) => Buffer.lookup(state, each)?.tenant === tenant)
      return this.expect("L25", held, () => `${sequence} is refused for the share of ${tenant}, which holds nothing`)
    }
    if (verdict.refusal.kind !== "queue-full") return
    const isFull = live.length >= pendingCountMax || bytes + sizeBytes > pendingBytesMax
    this.expect("L10", isFull, () => `${sequence} (${sizeBytes} bytes) is refused with room: ${figures()}`)
  }

  /** L2, by tenant and by version. */
  #conserved(state: Buffer.State): void {
    let [pendingSum, leasedSum] = [0, 0]
    for (const [tenant, { accepted, pending, leased, ended }] of Buffer.totals(state)) {
      const { responded, failed, expired, cancelled, "dead-lettered": deadLettered } = ended
      const sum = pending + leased + responded + failed + expired + cancelled + deadLettered
      this.expect("L2", accepted === sum, () => `${tenant}: ${accepted} accepted, ${sum} waiting, running or ended`)
      pendingSum += pending
      leasedSum += leased
    }
    for (const version of Buffer.versions(state)) {
      const { pending, leased } = Buffer.counts(state, version)
      pendingSum -= pending
      leasedSum -= leased
    }
    const isSame = pendingSum === 0 && leasedSum === 0
    this.expect(
      "L2",
      isSame,
      () => `tenants have ${pendingSum} more waiting and ${leasedSum} more running than versions`
    )
  }

  #nothingIsOverdue(life: Life, state: Buffer.State): void {
    const nowMs = this.#now()
    for (const sequence of Buffer.liveSequences(state)) {
      const found = Buffer.lookup(state, sequence)
      const deadlineMs = life.arrived.get(sequence)?.deadlineMs ?? nowMs + 1
      const isOverdue = found !== undefined && found.state !== "terminal" && deadlineMs <= nowMs
      this.expect("L11", !isOverdue, () => `${sequence} is ${found?.state} after its deadline was looked at`)
    }
  }
}
