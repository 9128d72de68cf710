/**
 * Buffers gone wrong on purpose: each has one bug that a named law must kill (`BufferZoo.laws.test.ts`).
 *
 * @module
 */
import type * as Buffer from "../../src/core/buffer/Buffer.ts"
import type { Arrived, Command, Event, RecordKind } from "../../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../src/core/buffer/BufferOptions.ts"
import { lookup } from "../../src/core/buffer/BufferQueries.ts"
import * as DueMap from "../../src/core/collections/DueMap.ts"
import * as Table from "../../src/core/collections/Table.ts"
import { dueMs, isWritten, type State as RequestState } from "../../src/core/request/RequestState.ts"
import { type Machine, rightMachine } from "../BufferWorld.ts"

type State = Buffer.State

interface Step {
  readonly event: Event
  readonly before: State
  readonly after: State
  readonly commands: ReadonlyArray<Command>
}

// --- how to make a wrong one -------------------------------------------------------------------------------------

/** Understands something else than what it is told. */
const hearing = (change: (event: Event, state: State) => ReadonlyArray<Event>): Machine => ({
  ...rightMachine,
  step: (state, event) =>
    change(event, state).reduce<readonly [State, ReadonlyArray<Command>]>(
      ([current, commands], each) => {
        const [next, more] = rightMachine.step(current, each)
        return [next, [...commands, ...more]]
      },
      [state, []]
    )
})

const hearingArrivals = (change: (arrived: Arrived, state: State) => Arrived): Machine =>
  hearing((event, state) => [event._tag === "Arrived" ? change(event, state) : event])

/** Orders something else than what it decided. */
const saying = (change: (step: Step) => ReadonlyArray<Command>): Machine => ({
  ...rightMachine,
  step: (before, event) => {
    const [after, commands] = rightMachine.step(before, event)
    return [after, change({ event, before, after, commands })]
  }
})

/** Remembers something else than what happened. */
const remembering = (change: (step: Step) => State): Machine => ({
  ...rightMachine,
  step: (before, event) => {
    const [after, commands] = rightMachine.step(before, event)
    return [change({ event, before, after, commands }), commands]
  }
})

const within = (change: (options: BufferOptions) => BufferOptions): Machine => ({
  ...rightMachine,
  empty: (options) => rightMachine.empty(change(options)),
  restore: (snapshot, options) => rightMachine.restore(snapshot, change(options))
})

const requests = (state: State): ReadonlyArray<RequestState> => DueMap.values(state.requests)

const sequenceOf = (request: RequestState): number => request.arrived.sequence

const without = (state: State, lost: ReadonlyArray<RequestState>): State => ({
  ...state,
  requests: lost.reduce((left, request) => DueMap.remove(left, sequenceOf(request)), state.requests)
})

const withRequest = (state: State, request: RequestState): State => ({
  ...state,
  requests: DueMap.set(state.requests, sequenceOf(request), request, dueMs(request))
})

const isLeasedTo = (request: RequestState, workerId: string): boolean =>
  (request._tag === "Leased" || request._tag === "Responding") && request.workerId === workerId

/** Takes the order to write records of one kind for the deed. */
const believing = (kind: RecordKind): Machine => ({
  ...rightMachine,
  step: (before, event) => {
    const [after, commands] = rightMachine.step(before, event)
    const records = commands.flatMap((command) =>
      command._tag === "Append" && command.ref.kind === kind ? command.ref : []
    )
    if (records.length === 0 || !("nowMs" in event)) return [after, commands]
    const [told, more] = rightMachine.step(after, { _tag: "Persisted", nowMs: event.nowMs, records })
    return [told, [...commands, ...more]]
  }
})

// --- L1: lost ----------------------------------------------------------------------------------------------------

/** What a worker held goes with it. */
export const losesWithTheWorker = remembering(({ event, before, after }) => {
  if (event._tag !== "WorkerLost") return after
  return without(
    after,
    requests(before).filter((request) => isLeasedTo(request, event.workerId))
  )
})

/** A request that was at work when the process died is nowhere after it. */
export const recoveryForgets = remembering(({ event, after }) => {
  if (event._tag !== "Replayed" || event.record._tag !== "RecordLeased") return after
  const { sequence } = event.record
  return without(
    after,
    requests(after).filter((request) => sequenceOf(request) === sequence)
  )
})

/** A result is there for whoever comes at once. */
export const forgetsResults = within((options) => ({ ...options, resultRetentionMs: 0 }))

/** What nobody waits for any more needs no memory. */
export const forgetsTheDetached = saying(({ event, commands }) =>
  event._tag === "Detached" && commands.some(({ _tag }) => _tag === "TellAccepted")
    ? [...commands, { _tag: "Forget", sequence: event.sequence }]
    : commands
)

// --- L2: counted wrong -------------------------------------------------------------------------------------------

/** An arrival that needs writing is one, and the write is another. */
export const countsTwice = remembering(({ event, after, commands }) => {
  if (event._tag !== "Arrived" || !commands.some(({ _tag }) => _tag === "Append")) return after
  const number = Table.find(after.tenants, event.tenant)
  const row = number === undefined ? undefined : Table.row(after.tenants, number)
  if (number === undefined || row === undefined) return after
  return { ...after, tenants: Table.replace(after.tenants, number, { ...row, accepted: row.accepted + 1 }) }
})

/** A body is counted when it comes and when it is written. */
export const countsBodiesTwice = remembering(({ event, after, commands }) =>
  event._tag === "Arrived" && commands.some(({ _tag }) => _tag === "Append")
    ? { ...after, liveBytes: after.liveBytes + event.sizeBytes }
    : after
)

/** A failed attempt is still counted as leased. */
export const leaksLeases = remembering(({ event, before, after }) => {
  if (event._tag !== "AttemptFailed") return after
  const name = lookup(before, event.sequence)?.version
  const number = name === undefined ? undefined : Table.find(after.versions, name)
  const row = number === undefined ? undefined : Table.row(after.versions, number)
  if (number === undefined || row === undefined) return after
  return { ...after, versions: Table.replace(after.versions, number, { ...row, leasedCount: row.leasedCount + 1 }) }
})

// --- L3: told twice ----------------------------------------------------------------------------------------------

/** A deadline ends also what has ended. */
export const endsTwice = saying(({ event, after, commands }) => {
  if (event._tag !== "Ticked") return commands
  const late = requests(after).filter(
    (request) => request._tag === "Terminal" && request.told && request.arrived.deadlineMs <= event.nowMs
  )
  const of = {
    terminal: "expired",
    reason: "deadline-passed",
    message: null,
    partial: false,
    resultKept: false
  } as const
  return [...commands, ...late.map((request): Command => ({ _tag: "TellEnded", sequence: sequenceOf(request), ...of }))]
})

/** Whoever lets go hears 202, also who heard it before. */
export const acceptsTwice = saying(({ event, before, commands }) => {
  const was = event._tag === "Detached" ? lookup(before, event.sequence) : undefined
  const isKnown = was?.mode === "async" && was.stored && was.state !== "terminal"
  return isKnown ? [...commands, { _tag: "TellAccepted", sequence: was.sequence }] : commands
})

// --- L4: fenced badly --------------------------------------------------------------------------------------------

const fromWorker = (
  change: (
    event: Extract<Event, { readonly token: number; readonly workerId: string }>,
    live: { readonly token: number; readonly workerId: string }
  ) => Event
) =>
  hearing((event, state) => {
    if (event._tag !== "ResponseStarted" && event._tag !== "ResponseEnded" && event._tag !== "AttemptFailed")
      return [event]
    const { token, workerId } = lookup(state, event.sequence) ?? {}
    return [token === undefined || workerId === undefined ? event : change(event, { token, workerId })]
  })

/** An answer is an answer. */
export const acceptsStale = fromWorker((event, live) => ({ ...event, ...live }))

/** Whoever knows the token may speak. */
export const acceptsForeign = fromWorker((event, { workerId }) => ({ ...event, workerId }))

/** To be sure, two workers run it. */
export const leasesTwice: Machine = {
  ...rightMachine,
  step: (before, event) => {
    const [after, commands] = rightMachine.step(before, event)
    const again = commands.flatMap((command) => (command._tag === "Assign" ? { ...command, workerId: "worker-0" } : []))
    return [after, [...commands, ...again]]
  }
}

/** Counts its tokens on from what the log says: those that were given and not written come again. */
export const reusesTokens = hearing((event) => [event._tag === "Recovered" ? { ...event, epoch: 0 } : event])

// --- L5: goes on after the end -----------------------------------------------------------------------------------

/** The worker that answered is told to stop, for tidiness. */
export const stopsTheDone = saying(({ event, before, commands }) => {
  if (event._tag !== "ResponseEnded" || lookup(before, event.sequence)?.token !== event.token) return commands
  const { sequence, workerId, token } = event
  return [...commands, { _tag: "CancelAttempt", sequence, workerId, token, reason: "caller-left" }]
})

/** A caller that lets go of what has ended sets it to work again. */
export const reopens = remembering(({ event, after }) => {
  const ended = event._tag === "Detached" ? DueMap.get(after.requests, event.sequence) : undefined
  if (ended?._tag !== "Terminal" || !ended.told) return after
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt } = ended
  return withRequest(after, {
    _tag: "Pending",
    arrived,
    version,
    tenant,
    agedAtMs,
    audience,
    arrivedRecord,
    attempt,
    notBeforeMs: 0,
    waitsAs: "deadline"
  })
})

// --- L6: told before written -------------------------------------------------------------------------------------

export const acceptsBeforeWritten = believing("arrived")

export const tellsEndsBeforeWritten = believing("ended")

/** `always` as everybody else. */
export const leasesBeforeWritten = hearingArrivals((arrived) =>
  arrived.durability === "always" ? { ...arrived, durability: "accepted" } : arrived
)

/** Writes what must not be written. */
export const writesMemory = hearingArrivals((arrived) =>
  arrived.durability === "memory" ? { ...arrived, durability: "accepted" } : arrived
)

/** Takes back what the log has already, and tells another end than the log. */
export const dropsWhatIsWritten = saying(({ commands }) =>
  commands.flatMap(
    (command): ReadonlyArray<Command> =>
      command._tag === "Append" && command.ref.kind === "ended" && !command.urgent
        ? [{ _tag: "DropAppend", sequence: command.ref.sequence }]
        : [command]
  )
)

// --- L7: keys ----------------------------------------------------------------------------------------------------

/** The same key is the same request, whatever is in it. */
export const ignoresTheBody = hearingArrivals((arrived) =>
  arrived.idempotencyKey === undefined ? arrived : { ...arrived, fingerprint: "any" }
)

/** A key is over with its request. */
export const forgetsKeys = hearingArrivals((arrived, state) => {
  const { idempotencyKey: _, ...unkeyed } = arrived
  const isOver = requests(state).some(
    (request) => request._tag === "Terminal" && request.arrived.idempotencyKey === arrived.idempotencyKey
  )
  return isOver ? unkeyed : arrived
})

/** Keys are kept in memory. */
export const forgetsKeysAtRestart = hearing((event) => {
  if (event._tag !== "Replayed" || event.record._tag !== "RecordArrived") return [event]
  const { idempotencyKey: _, ...unkeyed } = event.record.arrived
  return [{ ...event, record: { ...event.record, arrived: unkeyed } }]
})

// --- L8: tenants -------------------------------------------------------------------------------------------------

/** A key is a key, whoever has it. */
export const joinsAcrossTenants: Machine = {
  ...rightMachine,
  step: (before, event) => {
    if (event._tag !== "Arrived" || event.idempotencyKey === undefined) return rightMachine.step(before, event)
    const { sequence, idempotencyKey, version } = event
    const original = requests(before).find(
      ({ arrived }) => arrived.idempotencyKey === idempotencyKey && arrived.version === version
    )
    if (original === undefined) return rightMachine.step(before, event)
    const join = {
      _tag: "Join",
      sequence,
      original: sequenceOf(original),
      ended: original._tag === "Terminal"
    } as const
    return [{ ...before, lastSequence: Math.max(before.lastSequence, sequence) }, [join]]
  }
}

/** Everybody's requests are the first one's. */
export const countsForTheFirst = hearingArrivals((arrived) => ({ ...arrived, tenant: "tenant-0" }))

// --- L9: attempts ------------------------------------------------------------------------------------------------

/** Bytes that were shown do not keep another attempt from running. */
export const redeliversTheShown: Machine = {
  ...rightMachine,
  step: (before, event) => {
    const shown = requests(before).flatMap((request) =>
      request._tag === "Responding" && request.shown ? { ...request, shown: false } : []
    )
    const isOver = event._tag === "WorkerLost" || event._tag === "AttemptFailed" || event._tag === "Ticked"
    return rightMachine.step(isOver ? shown.reduce(withRequest, before) : before, event)
  }
}

/** Shows the bytes of whichever attempt was first. */
export const mixesAttempts = saying(({ after, commands }) =>
  commands.map((command) => {
    const isLater = command._tag === "ReleaseResponse" && (lookup(after, command.sequence)?.attempt ?? 0) > 1
    return isLater ? { ...command, token: command.token - 1 } : command
  })
)

/** The end of a stream that broke is told as if nothing had been shown. */
export const hidesTheBreak = saying(({ commands }) =>
  commands.map((command) => (command._tag === "CollectResponse" ? { ...command, token: command.token - 1 } : command))
)

// --- L10: bounds -------------------------------------------------------------------------------------------------

export const exceedsCount = within((options) => ({ ...options, pendingCountMax: options.pendingCountMax + 1 }))

export const exceedsBytes = within((options) => ({ ...options, pendingBytesMax: options.pendingBytesMax + 4 }))

export const remembersTooMany = within((options) => ({ ...options, rememberedCountMax: 1_000 }))

/** Refuses what there is room for. */
export const refusesTooEarly = hearingArrivals((arrived) => ({ ...arrived, sizeBytes: arrived.sizeBytes * 2 }))

// --- L25: shares -------------------------------------------------------------------------------------------------

/** One tenant may have everything. */
export const sharesNothing = within((options) => ({ ...options, tenantShareMax: 1 }))

/** Another share than was asked for. */
export const givesTooMuch = within((options) => ({ ...options, tenantShareMax: 0.9 }))

export const givesTooLittle = within((options) => ({ ...options, tenantShareMax: 0.6 }))

/** Refuses whoever comes when somebody else holds much. */
export const blamesTheOthers = saying(({ event, before, commands }) => {
  if (event._tag !== "Arrived" || !commands.some(({ _tag }) => _tag === "Append")) return commands
  const others = requests(before).filter((request) => request.arrived.tenant !== event.tenant)
  if (others.length < 4) return commands
  const { sequence } = event
  return [{ _tag: "Refuse", sequence, refusal: { kind: "tenant-full", limit: "count", retryAfterMs: 1 } }]
})

// --- L11: deadlines ----------------------------------------------------------------------------------------------

/** A little late is not late. */
export const startsLate = hearingArrivals((arrived) => ({ ...arrived, deadlineMs: arrived.deadlineMs + 5 }))

/** What runs has no deadline. */
export const overlooksTheLeased = hearing((event, state) => {
  if (event._tag !== "Ticked") return [event]
  return requests(state).some(({ _tag }) => _tag === "Leased" || _tag === "Responding") ? [] : [event]
})

// --- L12: poison -------------------------------------------------------------------------------------------------

export const neverDeadLetters = hearingArrivals((arrived) => ({ ...arrived, maxAttempts: 1_000 }))

export const deadLettersTooEarly = hearingArrivals((arrived) => ({
  ...arrived,
  maxAttempts: Math.max(1, arrived.maxAttempts - 1)
}))

/** A worker that is lost was no attempt. */
export const forgetsAttempts = remembering(({ event, after }) => {
  if (event._tag !== "WorkerLost" && event._tag !== "AttemptFailed") return after
  const lost = requests(after).flatMap((request) =>
    request._tag === "Pending" && request.notBeforeMs > 0 && request.attempt > 0
      ? { ...request, attempt: request.attempt - 1 }
      : []
  )
  return lost.reduce(withRequest, after)
})

// --- L13: clocks -------------------------------------------------------------------------------------------------

/** The leases of the process before run on. */
export const keepsOldLeases = hearing((event) => [
  event._tag === "Recovered" ? { ...event, nowMs: event.nowMs - 1 } : event
])

/** Looks at the wall: at midnight everything is over. */
export const trustsTheWall = hearing((event) => {
  const dayMs = 86_400_000
  return event._tag === "Ticked" && event.nowMs % dayMs < dayMs / 2 ? [] : [event]
})

// --- L18: everything ends ----------------------------------------------------------------------------------------

/** What was once accepted is done. */
export const deafToCancel = hearing((event) => (event._tag === "CancelRequested" ? [] : [event]))

/** What nothing serves waits for somebody to serve it. */
export const deafToRemoval = hearing((event) => (event._tag === "VersionRemoved" ? [] : [event]))

/** A worker that says nothing is busy. */
export const waitsForTheSilent = hearing((event, state) => {
  if (event._tag !== "Ticked") return [event]
  const { nowMs } = event
  const workers = new Set(requests(state).flatMap((request) => ("workerId" in request ? request.workerId : [])))
  return [...[...workers].map((workerId): Event => ({ _tag: "WorkerHeard", nowMs, workerId })), event]
})

/** What failed is retried when there is time, and there never is. */
export const forgetsToRetry = within((options) => ({
  ...options,
  redeliveryDelayMs: 1e6,
  redeliveryDelayMaxMs: 1e9
}))

// --- L19: recovery -----------------------------------------------------------------------------------------------

/** Carries out again what the log tells of. */
export const ordersWhileReading = saying(({ event, commands }) =>
  event._tag === "Replayed" && event.record._tag === "RecordArrived"
    ? [...commands, { _tag: "TellAccepted", sequence: event.record.arrived.sequence }]
    : commands
)

const overlooking = (tag: "RecordEnded" | "RecordAttemptFailed" | "RecordForgotten"): Machine =>
  hearing((event) => (event._tag === "Replayed" && event.record._tag === tag ? [] : [event]))

/** Runs again what had ended. */
export const forgetsEnds = overlooking("RecordEnded")

/** A lost attempt is still leased after a restart. */
export const forgetsFailures = overlooking("RecordAttemptFailed")

/** A snapshot that counts what is not written as written. */
export const snapshotsTooEarly: Machine = {
  ...rightMachine,
  restore: (snapshot, options) =>
    rightMachine.restore(
      { ...snapshot, requests: snapshot.requests.map((each) => ({ ...each, records: [] })) },
      options
    )
}

// --- L20: the unknown --------------------------------------------------------------------------------------------

/** Nobody said no. */
export const takesUnknownForDone = hearing((event) =>
  event._tag === "PersistFailed" && event.outcome === "unknown"
    ? [{ _tag: "Persisted", nowMs: event.nowMs, records: event.records }]
    : [event]
)

/** Nobody said yes, so there was no room, and it goes on. */
export const takesUnknownForRefused = hearing((event) => [
  event._tag === "PersistFailed" && event.outcome === "unknown" ? { ...event, outcome: "refused" as const } : event
])

/** Writes it again, to be sure. */
export const writesAgain = saying(({ event, before, commands }) => {
  if (event._tag !== "PersistFailed" || event.outcome !== "unknown") return commands
  const again = event.records.flatMap((ref): ReadonlyArray<Command> => {
    const request = DueMap.get(before.requests, ref.sequence)
    if (ref.kind !== "arrived" || request === undefined || !isWritten(request.arrived)) return []
    const record = { _tag: "RecordArrived", arrived: request.arrived } as const
    return [{ _tag: "Append", record, ref, urgent: true }]
  })
  return [...commands, ...again]
})

/** Says "nothing was kept" of what may be on disk. */
export const takesUnknownForNothing = saying(({ commands }) =>
  commands.map((command): Command => {
    const isRefusal = command._tag === "Refuse" && command.refusal.kind === "store-failed"
    return isRefusal ? { ...command, refusal: { kind: "store-failed", kept: "nothing" } } : command
  })
)

/** No room is as good as done. */
export const takesRefusedForDone = hearing((event) =>
  event._tag === "PersistFailed" && event.outcome === "refused"
    ? [{ _tag: "Persisted", nowMs: event.nowMs, records: event.records }]
    : [event]
)

/** No room for one is room for nobody. */
export const takesRefusedForBroken = hearing((event) => [
  event._tag === "PersistFailed" && event.outcome === "refused" ? { ...event, outcome: "failed" as const } : event
])

/** Goes on as if the write were still under way. */
export const deafToRefusedWrites = hearing((event) =>
  event._tag === "PersistFailed" && event.outcome === "refused" ? [] : [event]
)

/** A worker that is gone has failed. */
export const endsWithTheWorker: Machine = hearing((event, state) => {
  if (event._tag !== "WorkerLost") return [event]
  const { nowMs, workerId } = event
  const ends = requests(state).flatMap((request): ReadonlyArray<Event> => {
    if (request._tag !== "Leased" && request._tag !== "Responding") return []
    if (request.workerId !== workerId) return []
    const of = { nowMs, sequence: sequenceOf(request), workerId, token: request.token }
    return [{ _tag: "AttemptFailed", ...of, retryable: false, message: "its worker is gone" }]
  })
  return [...ends, event]
})

/** A connection that broke is a worker that died. */
export const takesSilenceForLoss = hearing((event) =>
  event._tag === "WorkerDisconnected" ? [{ ...event, _tag: "WorkerLost" }] : [event]
)
