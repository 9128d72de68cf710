/**
 * The laws of `Buffer.ts`, checked from outside: it sees events and commands, keeps a few facts for each request, and
 * asks the state only through its queries (and `BufferIndexes` for L2).
 *
 * @module
 */
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Arrived, Command, DurableRecord, Event } from "../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../src/core/buffer/BufferOptions.ts"
import { nameOf } from "./BufferContent.ts"
import { wrongAnswer } from "./BufferFigures.ts"
import { firstDifference } from "./BufferIndexes.ts"
import { type Expect, expecting, Outcomes } from "./BufferOutcomes.ts"
import * as Refusals from "./BufferRefusals.ts"

interface Case {
  readonly arrived: Arrived
  /** Its result is to be kept. */
  kept: boolean
  accepted: boolean
  /** The end was decided; `told`: and told, in this life of the process. */
  ended: boolean
  told: string | null
  resultKept: boolean
  forgotten: boolean
  refused: boolean
  attempts: number
  token: number
  workerId: string
  releasedToken: number | null
}

export class Auditor {
  readonly #options: BufferOptions
  readonly #law: string | undefined
  readonly #expect: Expect
  /** To compare all indexes costs more than the rest. */
  readonly #isIndexed: boolean
  readonly #outcomes: Outcomes
  readonly #cases = new Map<number, Case>()
  #lastToken = 0
  #storeFailed = false
  #lastSequence = 0
  /** How often each hard case was met, to show that the laws reach them. */
  readonly met = new Map<string, number>()

  /** `law`: the only one that is held; without it all are. */
  constructor(options: BufferOptions, law?: string, from?: Auditor) {
    this.#options = options
    this.#law = law
    this.#expect = expecting(law)
    this.#isIndexed = law === undefined || law === "L2"
    this.#outcomes = from === undefined ? new Outcomes(options, this.#expect) : from.#outcomes.fork()
    if (from === undefined) return
    for (const [sequence, found] of from.#cases) this.#cases.set(sequence, { ...found })
    this.#lastToken = from.#lastToken
    this.#storeFailed = from.#storeFailed
    this.#lastSequence = from.#lastSequence
  }

  fork(): Auditor {
    return new Auditor(this.#options, this.#law, this)
  }

  /** Everything that its checks depend on. */
  facts(): unknown {
    const cases = [...this.#cases.values()].map((found) => ({ ...found, arrived: nameOf(found.arrived) }))
    return [cases, this.#lastToken, this.#storeFailed, this.#lastSequence, this.#outcomes.facts()]
  }

  observe(
    event: Event,
    before: Buffer.State,
    after: Buffer.State,
    commands: ReadonlyArray<Command>,
    log: ReadonlyArray<DurableRecord>
  ): void {
    this.#meet(event._tag)
    if (event._tag === "PersistFailed" && event.outcome !== "refused") this.#storeFailed = true
    if (event._tag === "PersistFailed") this.#meet(`write ${event.outcome}`)
    if (event._tag === "Recovered") this.#storeFailed = false
    if (event._tag === "Arrived") this.#onArrived(event, before, commands)
    if (event._tag === "CallerLeft" || event._tag === "Detached") this.#onDetached(event)
    if (event._tag === "ResponseStarted" || event._tag === "ResponseEnded" || event._tag === "AttemptFailed") {
      this.#onWorkerMessage(event, before, after, commands)
    }
    for (const command of commands) this.#onCommand(command, event, log)
    this.#onDemand(event, commands, before, after)
    this.#onState(event, after)
    this.#outcomes.observe(event, before, after, commands)
  }

  /** A record was read back. */
  replayed(record: DurableRecord, commands: ReadonlyArray<Command>): void {
    this.#outcomes.replayed(record, commands)
  }

  #onArrived(event: Arrived, before: Buffer.State, commands: ReadonlyArray<Command>): void {
    const { sequence, idempotencyKey } = event
    const verdict = commands.find(({ _tag }) => _tag === "Refuse" || _tag === "Join")
    const isNew = sequence > this.#lastSequence
    this.#lastSequence = Math.max(this.#lastSequence, sequence)
    const refusal = verdict?._tag === "Refuse" ? verdict.refusal : null
    if (refusal !== null) this.#meet(`refused ${refusal.kind}`)
    const named = refusal === null ? null : Refusals.nameOf(refusal)
    const isRefused = (wanted: string | null): void => {
      const laws = new Set([wanted, named].flatMap((name) => (name === null ? [] : [Refusals.lawOf(name)])))
      for (const law of laws) this.#expect(law, wanted === named, `${sequence} is refused: ${wanted}, not ${named}`)
    }
    if (!isNew) return isRefused("duplicate-sequence")
    const all = figures(before)
    const known = all.map(({ sequence: its, tenant, state }) => ({
      tenant,
      isLive: state !== "terminal",
      sizeBytes: this.#case(its)?.arrived.sizeBytes ?? 0
    }))
    const situation = { options: this.#options, known, isStoreFailed: this.#storeFailed }
    const wanted = Refusals.atOnce(situation, event)
    if (wanted !== null) return isRefused(wanted)
    const original = idempotencyKey === undefined ? undefined : this.#originalOf(event)
    if (original !== undefined) {
      const [originalSequence, { arrived, told }] = original
      const isSame = arrived.fingerprint === event.fingerprint
      this.#meet(isSame ? "joined" : "conflict")
      const wanted: Command = isSame
        ? { _tag: "Join", sequence, original: originalSequence, ended: told !== null }
        : { _tag: "Refuse", sequence, refusal: { kind: "idempotency-conflict", sequence: originalSequence } }
      return this.#expect("L7", JSON.stringify(commands) === JSON.stringify([wanted]), `${JSON.stringify(commands)}`)
    }
    this.#expect("L7", verdict?._tag !== "Join", `${sequence} joined nothing that is known`)
    isRefused(Refusals.forRoom(situation, event))
    const held = known.filter(({ tenant, isLive }) => isLive && tenant === event.tenant).length
    const { pendingCountMax, tenantShareMax = 1 } = this.#options
    const isWithin = verdict !== undefined || held + 1 <= tenantShareMax * pendingCountMax + 1
    this.#expect("L25", isWithin, `${event.tenant} holds ${held} and one more`)
    if (verdict !== undefined) return
    this.#meet(`${event.mode} ${event.durability}${idempotencyKey === undefined ? "" : " keyed"}`)
    this.#cases.set(sequence, {
      arrived: event,
      kept: event.mode === "async" || idempotencyKey !== undefined,
      accepted: false,
      ended: false,
      told: null,
      resultKept: false,
      forgotten: false,
      refused: false,
      attempts: 0,
      token: 0,
      workerId: "",
      releasedToken: null
    })
  }

  #originalOf({ tenant, version, idempotencyKey }: Arrived): readonly [number, Case] | undefined {
    return [...this.#cases].findLast(
      ([, { arrived, forgotten, refused }]) =>
        !forgotten &&
        !refused &&
        arrived.tenant === tenant &&
        arrived.version === version &&
        arrived.idempotencyKey === idempotencyKey
    )
  }

  #onDetached(event: Extract<Event, { readonly _tag: "CallerLeft" | "Detached" }>): void {
    const found = this.#case(event.sequence)
    if (found === undefined || found.ended || (event._tag === "CallerLeft" && event.cancel)) return
    if (!found.kept) this.#meet("detached")
    found.kept = true
  }

  #onWorkerMessage(
    event: Extract<Event, { readonly _tag: "ResponseStarted" | "ResponseEnded" | "AttemptFailed" }>,
    before: Buffer.State,
    after: Buffer.State,
    commands: ReadonlyArray<Command>
  ): void {
    const { sequence, workerId, token } = event
    const found = this.#case(sequence)
    const isNewest = found?.token === token && found.workerId === workerId && !found.ended
    const isLive = Buffer.isLive(before, sequence, workerId, token)
    this.#expect("L4", !isLive || isNewest, `${token} of ${sequence} is live but is not the newest lease`)
    if (isLive) return
    this.#meet("stale")
    const isRejected = commands.length === 1 && commands[0]?._tag === "RejectStale"
    this.#expect("L4", isRejected, `a stale ${event._tag} of ${sequence} caused ${JSON.stringify(commands)}`)
    const isSame = JSON.stringify(figures(before)) === JSON.stringify(figures(after))
    this.#expect("L4", isSame, `a stale ${event._tag} of ${sequence} changed something`)
  }

  #onCommand(command: Command, event: Event, log: ReadonlyArray<DurableRecord>): void {
    if (command._tag === "DemandChanged" || command._tag === "RejectStale" || command._tag === "Join") return
    const sequence = command._tag === "Append" ? command.ref.sequence : command.sequence
    const found = this.#case(sequence)
    // A worker came back with a lease that is over.
    if (command._tag === "CancelAttempt" && event._tag === "WorkerJoined") return
    if (command._tag === "Refuse" && (found === undefined || event._tag === "Arrived")) return
    this.#expect("L5", found !== undefined && !found.forgotten, `${command._tag} of ${sequence}, which is not known`)
    if (found === undefined) return
    this.#checkOrder(command, found)
    const isOnDisk = (tag: DurableRecord["_tag"]) =>
      log.some((record) => record._tag === tag && sequenceOf(record) === sequence)
    const { arrived } = found
    const isWritten = arrived.durability !== "memory" || arrived.idempotencyKey !== undefined
    switch (command._tag) {
      case "TellAccepted":
        this.#expect("L6", !isWritten || isOnDisk("RecordArrived"), `${sequence} accepted before it is on disk`)
        this.#expect("L3", !found.accepted, `${sequence} accepted twice`)
        found.accepted = true
        return
      case "ReleaseResponse":
        this.#meet("released")
        this.#expect("L6", !isWritten || isOnDisk("RecordArrived"), `${sequence} shown before it is on disk`)
        this.#expect("L6", !found.kept, `${sequence} is kept and must not be shown`)
        this.#expect("L9", found.releasedToken === null, `${sequence} shown twice`)
        this.#expect("L9", found.token === command.token, `${sequence} shows bytes of a lease that is over`)
        found.releasedToken = command.token
        return
      case "CollectResponse":
        this.#meet("collected")
        return this.#expect("L9", found.token === command.token, `${sequence} collects bytes of a lease that is over`)
      case "Assign":
        return this.#onAssign(command, found, event, !isWritten || isOnDisk("RecordArrived"))
      case "Append":
        this.#expect("L6", isWritten, `${sequence} must never be written`)
        if (command.ref.kind === "ended") found.ended = true
        return
      case "TellEnded": {
        this.#meet(`told ${command.terminal}${command.partial ? " partial" : ""}`)
        const isStoreFailed = command.reason === "store-failed"
        const isStored = !isWritten || !found.kept || isStoreFailed || isOnDisk("RecordEnded")
        this.#expect("L6", isStored, `the end of ${sequence} is told before it is on disk`)
        this.#expect("L3", found.told === null, `the end of ${sequence} is told twice`)
        this.#expect(
          "L9",
          !command.partial || found.releasedToken !== null,
          `${sequence} is partial but showed nothing`
        )
        found.ended = true
        found.told = command.terminal
        found.resultKept = command.resultKept
        return
      }
      case "Refuse":
        this.#meet("refused after admission")
        this.#expect("L3", found.told === null && !found.refused, `${sequence} refused after its end was told`)
        found.ended = true
        found.refused = true
        return
      case "Forget":
        found.forgotten = true
        return
    }
  }

  /** L5: after the end only its telling and forgetting. */
  #checkOrder(command: Command, found: Case): void {
    const { sequence } = found.arrived
    const isAfterTold = found.told !== null || found.refused
    const isForgetting = command._tag === "Forget" || (command._tag === "Append" && command.ref.kind === "forgotten")
    this.#expect("L5", !isAfterTold || isForgetting || command._tag === "TellEnded", `${command._tag} of ${sequence}`)
    const isTelling =
      command._tag === "TellAccepted" ||
      command._tag === "TellEnded" ||
      command._tag === "Refuse" ||
      command._tag === "Append"
    this.#expect("L5", !found.ended || isForgetting || isTelling, `${command._tag} of ${sequence} after its end`)
  }

  #onAssign(
    command: Extract<Command, { readonly _tag: "Assign" }>,
    found: Case,
    event: Event,
    isStored: boolean
  ): void {
    const { sequence, token, workerId, attempt } = command
    const { arrived } = found
    const nowMs = "nowMs" in event ? event.nowMs : 0
    this.#expect("L4", token > this.#lastToken, `token ${token} of ${sequence} after ${this.#lastToken}`)
    this.#expect("L9", found.releasedToken === null, `${sequence} leased again after bytes were shown`)
    this.#expect("L11", nowMs < arrived.deadlineMs, `${sequence} leased at ${nowMs}, due at ${arrived.deadlineMs}`)
    this.#expect("L12", attempt === found.attempts + 1, `attempt ${attempt} of ${sequence} after ${found.attempts}`)
    this.#expect("L12", attempt <= arrived.maxAttempts, `attempt ${attempt} of ${sequence} is one too many`)
    this.#expect("L6", arrived.durability !== "always" || isStored, `${sequence} leased before it is on disk`)
    if (attempt > 1) this.#meet("redelivered")
    this.#lastToken = token
    found.token = token
    found.workerId = workerId
    found.attempts = attempt
  }

  #onDemand(event: Event, commands: ReadonlyArray<Command>, before: Buffer.State, after: Buffer.State): void {
    const told = commands.filter((command) => command._tag === "DemandChanged")
    const versions = new Set([...Buffer.versions(before), ...Buffer.versions(after)])
    for (const version of versions) {
      const [was, is] = [Buffer.demand(before, version), Buffer.demand(after, version)]
      const found = told.filter((command) => command.version === version)
      const isChanged = was.pending !== is.pending || was.leased !== is.leased || was.freeSlots !== is.freeSlots
      // Whoever lives again says all figures for the first time.
      const wanted = isChanged || event._tag === "Recovered" ? 1 : 0
      this.#expect("P4", found.length === wanted, `demand of ${version} is told ${found.length} times, not ${wanted}`)
      const isUrgent = is.pending > 0 && is.freeSlots === 0
      this.#expect(
        "P4",
        found.every(({ urgent }) => urgent === isUrgent),
        `demand of ${version} is urgent: ${isUrgent}`
      )
    }
  }

  #onState(event: Event, after: Buffer.State): void {
    const difference = this.#isIndexed ? firstDifference(after) : null
    this.#expect("L2", difference === null, difference ?? "")
    const wrong = wrongAnswer(after)
    this.#expect(wrong?.law ?? "L2", wrong === null, wrong?.what ?? "")
    const all = figures(after)
    for (const [tenant, { accepted, pending, leased, ended }] of Buffer.totals(after)) {
      const sum = pending + leased + Object.values(ended).reduce((one, other) => one + other, 0)
      this.#expect("L2", accepted === sum, `${tenant} has ${accepted} accepted and ${sum} accounted for`)
      const mine = all.filter((request) => request.tenant === tenant)
      const isPending = mine.filter(({ state }) => state === "pending").length === pending
      const isLeased = mine.filter(({ state }) => state === "leased" || state === "responding").length === leased
      this.#expect("L2", isPending && isLeased, `${tenant} has ${pending} pending and ${leased} leased`)
    }
    for (const { sequence, token, state, workerId } of all) {
      const found = this.#case(sequence)
      // A caller that was let go leaves an end behind that nobody may be told before a restart.
      const isKnown = found !== undefined && !found.forgotten && (!found.refused || state === "terminal")
      this.#expect("L1", isKnown, `${sequence} came from nowhere`)
      const isNewest = token === undefined || (token === found?.token && workerId === found.workerId)
      this.#expect("L4", isNewest, `${sequence} is leased with ${token}, the newest token is ${found?.token}`)
      this.#expect("L5", state === "terminal" || found?.told === null, `${sequence} is ${state} after its end`)
    }
    for (const [sequence, { forgotten, refused, accepted, told }] of this.#cases) {
      const isKnown = forgotten || refused || Buffer.lookup(after, sequence) !== undefined
      this.#expect("L1", isKnown, `${sequence} is lost (accepted: ${accepted}, told: ${told})`)
    }
    const { pendingCountMax, rememberedCountMax } = this.#options
    this.#expect("L10", all.length <= pendingCountMax + (rememberedCountMax ?? 0), `${all.length} requests are known`)
    if (event._tag === "Ticked") {
      const dueMs = Buffer.nextDueMs(after)
      this.#expect("L11", dueMs === undefined || dueMs > event.nowMs, `after a tick at ${event.nowMs}, ${dueMs} is due`)
      const late = all.find(({ state, deadlineMs }) => state !== "terminal" && deadlineMs <= event.nowMs)
      this.#expect("L11", late === undefined, `${late?.sequence} lives after its deadline`)
    }
  }

  /** The state was read back; nothing was told to anybody yet. */
  restarted(state: Buffer.State, log: ReadonlyArray<DurableRecord>, epoch: number): void {
    this.#meet("restart")
    this.#outcomes.restarted(state, log)
    this.#storeFailed = false
    this.#lastToken = Math.max(this.#lastToken, epoch * 2 ** 32)
    this.#lastSequence = state.lastSequence
    for (const [sequence, found] of this.#cases) {
      const figures = Buffer.lookup(state, sequence)
      const isOnDisk = (tag: DurableRecord["_tag"]) =>
        log.some((record) => record._tag === tag && sequenceOf(record) === sequence)
      const { durability, idempotencyKey } = found.arrived
      const isWritten = durability !== "memory" || idempotencyKey !== undefined
      if (figures === undefined) {
        const isShown = found.releasedToken !== null && found.told === null
        const isClaimable = found.told !== null && found.resultKept
        const isPromised = (found.accepted || isShown || isClaimable) && !found.forgotten && !found.refused
        this.#expect("L1", !(isWritten && isPromised), `${sequence} is lost by a restart`)
        found.forgotten = true
        continue
      }
      this.#expect("L19", isOnDisk("RecordArrived"), `${sequence} was read back but never written`)
      const isEnded = figures.state === "terminal"
      if (found.told !== null && found.resultKept) {
        this.#expect("L19", isEnded && figures.terminal === found.told, `${sequence} was told ${found.told}`)
      }
      this.#expect("L19", isEnded === figures.told, `${sequence} was read back ended but untold`)
      if (figures.token !== undefined) this.#meet("lease recovered")
      found.kept = true
      found.accepted = true
      found.forgotten = false
      found.refused = false
      found.ended = isEnded
      found.told = isEnded ? (figures.terminal ?? null) : null
      found.resultKept = figures.resultKept
      found.releasedToken = null
      found.attempts = figures.attempt
      found.token = figures.token ?? 0
      found.workerId = figures.workerId ?? ""
    }
  }

  recovered(state: Buffer.State, nowMs: number): void {
    for (const { sequence, leaseDeadlineMs } of figures(state)) {
      const isFresh = leaseDeadlineMs === undefined || leaseDeadlineMs === nowMs + this.#options.visibilityTimeoutMs
      this.#expect("L13", isFresh, `the lease of ${sequence} runs out at ${leaseDeadlineMs}, it is ${nowMs}`)
    }
  }

  /** Everything had its chance: all ends are told and nothing is left behind. */
  settled(state: Buffer.State, startMs: number): void {
    this.#outcomes.settled(startMs)
    for (const [sequence, { told, refused, forgotten }] of this.#cases) {
      const isOver = told !== null || refused || forgotten
      this.#expect("L18", isOver, `${sequence} never ended: ${JSON.stringify(Buffer.lookup(state, sequence))}`)
    }
    this.#expect("L18", Buffer.liveSequences(state).length === 0, `${Buffer.liveSequences(state)} are still there`)
    this.#expect("L10", Buffer.nextDueMs(state) === undefined, "something is due though nothing is left")
  }

  /** How it ended, as far as that was told. */
  toldOf(sequence: number): string | null {
    return this.#case(sequence)?.told ?? null
  }

  #case(sequence: number): Case | undefined {
    return this.#cases.get(sequence)
  }

  #meet(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1)
  }
}

const figures = (state: Buffer.State): ReadonlyArray<Buffer.RequestFigures> =>
  Buffer.liveSequences(state).flatMap((sequence) => Buffer.lookup(state, sequence) ?? [])

const sequenceOf = (record: DurableRecord): number =>
  record._tag === "RecordArrived" ? record.arrived.sequence : record.sequence
