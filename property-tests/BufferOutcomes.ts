/**
 * A second look from outside at the laws of `Buffer.ts`: what becomes of each request as its caller and its tenant see
 * it, and of writes whose outcome nobody knows (L1, L8, L12, L18, L19, L20).
 *
 * @module
 */
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type {
  Arrived,
  Command,
  DurableRecord,
  Event,
  Persisted,
  PersistFailed
} from "../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../src/core/buffer/BufferOptions.ts"
import { nameOf } from "./BufferContent.ts"

export class LawBroken extends Error {
  readonly law: string
  constructor(law: string, message: string) {
    super(`${law}: ${message}`)
    this.law = law
  }
}

/** Throws when a law that is held does not hold. */
export type Expect = (law: string, holds: boolean, message: string) => void

/** `law`: the only one that is held; without it all are. */
export const expecting =
  (law: string | undefined): Expect =>
  (broken, holds, message) => {
    if (!holds && (law === undefined || law === broken)) throw new LawBroken(broken, message)
  }

interface Outcome {
  readonly arrived: Arrived
  attempts: number
  /** The end was decided. */
  endedAtMs: number | null
  told: Extract<Command, { readonly _tag: "TellEnded" }> | null
  toldAtMs: number
  /** Told as kept, so it can be claimed until then. */
  claimableUntilMs: number | null
  forgotten: boolean
  /** Its arrival is on disk. */
  isStored: boolean
  /** Bytes of an answer were shown to its caller. */
  isShown: boolean
}

export class Outcomes {
  readonly #options: BufferOptions
  readonly #expect: Expect
  readonly #all = new Map<number, Outcome>()
  /** Records whose write failed or was refused, or whose outcome nobody knows: of those `#unknown`. */
  readonly #unwritten = new Set<string>()
  readonly #unknown = new Set<string>()
  #isStoreBroken = false

  constructor(options: BufferOptions, expect: Expect, from?: Outcomes) {
    this.#options = options
    this.#expect = expect
    if (from === undefined) return
    for (const [sequence, found] of from.#all) this.#all.set(sequence, { ...found })
    for (const each of from.#unwritten) this.#unwritten.add(each)
    for (const each of from.#unknown) this.#unknown.add(each)
    this.#isStoreBroken = from.#isStoreBroken
  }

  fork(): Outcomes {
    return new Outcomes(this.#options, this.#expect, this)
  }

  /** Everything that its checks depend on. */
  facts(): unknown {
    const all = [...this.#all.values()].map((found) => ({ ...found, arrived: nameOf(found.arrived) }))
    return [all, [...this.#unwritten], [...this.#unknown], this.#isStoreBroken]
  }

  observe(event: Event, before: Buffer.State, after: Buffer.State, commands: ReadonlyArray<Command>): void {
    if (event._tag === "Recovered") {
      this.#isStoreBroken = false
      this.#unwritten.clear()
      this.#unknown.clear()
    }
    if (event._tag === "Persisted") this.#onPersisted(event)
    if (event._tag === "PersistFailed") this.#onUnwritten(event)
    if (event._tag === "Arrived") this.#onArrived(event, commands)
    const nowMs = "nowMs" in event ? event.nowMs : 0
    for (const command of commands) this.#onCommand(command, nowMs)
    if (event._tag === "WorkerLost" || event._tag === "WorkerDisconnected") this.#isUndecided(event, before, after)
    if (event._tag === "CancelRequested") this.#isOver(before, after, event.sequence, "cancelled")
    if (event._tag === "VersionRemoved") this.#isRemoved(before, after, event.version)
    this.#tenants(after)
  }

  #onUnwritten({ records, outcome }: PersistFailed): void {
    // A store without room for some takes others.
    if (outcome !== "refused") this.#isStoreBroken = true
    for (const { kind, sequence } of records) {
      this.#unwritten.add(`${kind} ${sequence}`)
      if (outcome === "unknown") this.#unknown.add(`${kind} ${sequence}`)
    }
  }

  #onPersisted({ records }: Persisted): void {
    for (const { kind, sequence } of records) {
      const found = kind === "arrived" ? this.#all.get(sequence) : undefined
      if (found !== undefined) found.isStored = true
    }
  }

  #onArrived(arrived: Arrived, commands: ReadonlyArray<Command>): void {
    const { sequence, tenant, version } = arrived
    for (const command of commands) {
      const isRefusal = command._tag === "Refuse" && command.refusal.kind === "idempotency-conflict"
      const known =
        command._tag === "Join"
          ? command.original
          : isRefusal && "sequence" in command.refusal
            ? command.refusal.sequence
            : null
      const original = known === null ? undefined : this.#all.get(known)?.arrived
      const isMine = original === undefined || (original.tenant === tenant && original.version === version)
      this.#expect("L8", isMine, `${sequence} of ${tenant} was answered with ${known} of ${original?.tenant}`)
    }
    const refused = commands.find(({ _tag }) => _tag === "Refuse" || _tag === "Join")
    const isBroken = refused?._tag === "Refuse" && refused.refusal.kind === "store-failed"
    const isOld = refused?._tag === "Refuse" && refused.refusal.kind === "duplicate-sequence"
    this.#expect("L20", !this.#isStoreBroken || isBroken || isOld, `${sequence} is taken though no write is certain`)
    if (refused !== undefined || this.#all.has(sequence)) return
    this.#all.set(sequence, {
      arrived,
      attempts: 0,
      endedAtMs: null,
      told: null,
      toldAtMs: 0,
      claimableUntilMs: null,
      forgotten: false,
      isStored: false,
      isShown: false
    })
  }

  #onCommand(command: Command, nowMs: number): void {
    if (!("sequence" in command) && command._tag !== "Append") return
    const sequence = command._tag === "Append" ? command.ref.sequence : command.sequence
    const found = this.#all.get(sequence)
    if (found === undefined) return
    const isUnwritten = (kind: string) => this.#unwritten.has(`${kind} ${sequence}`)
    switch (command._tag) {
      case "Assign":
        found.attempts = command.attempt
        return this.#expect("L20", !isUnwritten("arrived"), `${sequence} runs though nobody knows of its arrival`)
      case "Append": {
        if (command.ref.kind === "ended") found.endedAtMs ??= nowMs
        this.#expect("L20", !this.#isStoreBroken, `${command.ref.kind} of ${sequence} is written after a broken write`)
        return this.#expect("L20", !isUnwritten("arrived"), `${command.ref.kind} of ${sequence} without its arrival`)
      }
      case "TellAccepted":
        return this.#expect("L20", !isUnwritten("arrived"), `${sequence} is accepted though nobody knows of its write`)
      case "ReleaseResponse":
        found.isShown = true
        return this.#expect("L20", !isUnwritten("arrived"), `${sequence} is shown though nobody knows of its write`)
      case "TellEnded": {
        const isCertain = command.reason === "store-failed" || !(isUnwritten("ended") || isUnwritten("arrived"))
        this.#expect("L20", isCertain, `${sequence} is told ${command.terminal} though nobody knows of its write`)
        const { maxAttempts } = found.arrived
        const isExhausted = command.terminal !== "dead-lettered" || found.attempts === maxAttempts
        this.#expect("L12", isExhausted, `${sequence} is set aside after ${found.attempts} of ${maxAttempts} attempts`)
        found.endedAtMs ??= nowMs
        found.told = command
        found.toldAtMs = nowMs
        const { resultRetentionMs } = this.#options
        if (command.resultKept) found.claimableUntilMs = found.endedAtMs + resultRetentionMs
        return
      }
      case "Refuse": {
        const { refusal } = command
        if (refusal.kind !== "store-failed") return
        const isUnsure = refusal.kept === "unknown"
        // A request that is on disk lives again after a restart.
        const mayLive = this.#unknown.has(`arrived ${sequence}`) || found.isStored
        return this.#expect("L20", isUnsure === mayLive, `${sequence} may live after a restart: ${mayLive}`)
      }
      case "Forget": {
        found.forgotten = true
        this.#expect("L1", found.endedAtMs !== null || this.#isStoreBroken, `${sequence} is forgotten before its end`)
        const { claimableUntilMs } = found
        const isOver = claimableUntilMs === null || claimableUntilMs <= nowMs
        return this.#expect("L1", isOver, `the result of ${sequence} is forgotten at ${nowMs}, not ${claimableUntilMs}`)
      }
      default:
        return
    }
  }

  /**
   * Nobody knows how far a worker came that is gone: its attempts count, and nothing is told of them while another may
   * follow. A broken connection decides nothing at all.
   */
  #isUndecided(
    { _tag, workerId }: Extract<Event, { readonly _tag: "WorkerLost" | "WorkerDisconnected" }>,
    before: Buffer.State,
    after: Buffer.State
  ): void {
    for (const sequence of Buffer.liveSequences(before)) {
      const was = Buffer.lookup(before, sequence)
      if (was?.workerId !== workerId) continue
      const is = Buffer.lookup(after, sequence)
      const isSame = is?.token === was.token && is?.state === was.state
      if (_tag === "WorkerDisconnected") this.#expect("L20", isSame, `${sequence} changed when a connection broke`)
      const isLast = was.attempt >= was.maxAttempts || this.#all.get(sequence)?.isShown === true
      const isOpen = is?.terminal === undefined && (is?.attempt ?? 0) >= was.attempt
      this.#expect("L20", isOpen || isLast, `${sequence} is ${is?.terminal} though nobody knows what its worker did`)
    }
  }

  /** Whoever asks for an end gets it at once. */
  #isOver(before: Buffer.State, after: Buffer.State, sequence: number, terminal: string): void {
    const was = Buffer.lookup(before, sequence)
    if (was === undefined || was.state === "terminal") return
    const is = Buffer.lookup(after, sequence)
    const isEnded = is === undefined || is.terminal === terminal
    this.#expect("L18", isEnded, `${sequence} should be ${terminal} and is ${is?.state}`)
  }

  #isRemoved(before: Buffer.State, after: Buffer.State, version: string): void {
    for (const sequence of Buffer.liveSequences(before)) {
      const was = Buffer.lookup(before, sequence)
      const isSame = JSON.stringify(Buffer.lookup(after, sequence)) === JSON.stringify(was)
      this.#expect("L18", was?.version === version || isSame, `${sequence} changed as ${version} was removed`)
    }
    for (const sequence of Buffer.liveSequences(after)) {
      const found = Buffer.lookup(after, sequence)
      const isOver = found?.version !== version || found.state === "terminal"
      this.#expect("L18", isOver, `${sequence} goes on though ${version} was removed`)
    }
  }

  #tenants(after: Buffer.State): void {
    for (const sequence of Buffer.liveSequences(after)) {
      const [found, arrived] = [Buffer.lookup(after, sequence), this.#all.get(sequence)?.arrived]
      if (found === undefined || arrived === undefined) continue
      const isItself =
        found.tenant === arrived.tenant && found.version === arrived.version && found.requestId === arrived.requestId
      this.#expect("L8", isItself, `${sequence} of ${arrived.tenant} is counted for ${found.tenant}, ${found.version}`)
    }
  }

  /** While the log is read back nothing is ordered: it was, when the record was written. */
  replayed(record: DurableRecord, commands: ReadonlyArray<Command>): void {
    this.#expect("L19", commands.length === 0, `reading ${record._tag} ordered ${JSON.stringify(commands)}`)
  }

  restarted(state: Buffer.State, log: ReadonlyArray<DurableRecord>): void {
    for (const [sequence, found] of this.#all) {
      const figures = Buffer.lookup(state, sequence)
      found.told = null
      found.isShown = false
      found.isStored = figures !== undefined
      found.attempts = figures?.attempt ?? 0
      const ended = log.find((record) => record._tag === "RecordEnded" && record.sequence === sequence)
      found.endedAtMs = ended?._tag === "RecordEnded" ? ended.endedAtMs : null
      found.claimableUntilMs = ended?._tag === "RecordEnded" && ended.resultKept ? ended.keepUntilMs : null
      // Without a second life it needs no second end.
      if (figures === undefined) found.endedAtMs ??= 0
    }
  }

  /** Workers were there and answered, so nothing that was patient had to be ended by its deadline. */
  settled(startMs: number): void {
    for (const [sequence, { arrived, told, toldAtMs }] of this.#all) {
      const isPatient = arrived.deadlineMs > startMs + patienceMs
      const hadToWait = told?.terminal === "expired" && toldAtMs > startMs + patienceMs
      this.#expect("L18", !(isPatient && hadToWait), `${sequence} waited for its deadline though workers were there`)
    }
  }
}

/** Far longer than everything that is waited for in these worlds, but deadlines. */
const patienceMs = 10_000
