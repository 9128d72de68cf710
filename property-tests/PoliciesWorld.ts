/**
 * Histories for policies, and two worlds to run them in: an open one, in which what is observed does not depend on what
 * was decided, and a closed one, in which the instances are those that were decided.
 *
 * @module
 */
import * as fc from "fast-check"
import type { Decision, Observation, Policy, PolicySpec, Reading } from "../src/core/scaling/Policy.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"

/** What is there from `atMs` on. */
export interface Step {
  readonly atMs: number
  readonly pending: Reading
  readonly leased: Reading
  /** Requests that arrived at this moment. */
  readonly arrived: number
  readonly ready: number
  readonly starting: number
}

export const spec: PolicySpec = { minInstances: 0, maxInstances: 1_000, concurrency: 2, idleWindowMs: 5_000 }

export const startMs = 1_000_000_000

/** Few values near each other; `gridMs` and `offsetMs` say at which moments things happen. */
export const steps = (options: {
  readonly gridMs: number
  readonly offsetMs?: number
  readonly gapMax: number
  readonly unknownShare: number
  readonly lengthMax: number
  readonly loadMax?: number
}): fc.Arbitrary<ReadonlyArray<Step>> => {
  const { gridMs, offsetMs = 0, gapMax, unknownShare, lengthMax, loadMax = 12 } = options
  const known = fc.oneof(fc.constant(0), fc.nat(loadMax))
  const reading: fc.Arbitrary<Reading> = fc.oneof(
    { weight: 100 - unknownShare, arbitrary: known },
    { weight: unknownShare, arbitrary: fc.constant("unknown" as const) }
  )
  return fc
    .array(
      fc.record({
        gap: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: gapMax })),
        pending: fc.oneof(fc.constant<Reading>(0), reading),
        leased: reading,
        arrived: fc.nat(3),
        ready: fc.nat(8),
        starting: fc.oneof(fc.constant(0), fc.nat(3))
      }),
      { minLength: 1, maxLength: lengthMax }
    )
    .map((gaps) => {
      let atMs = startMs + offsetMs - gridMs
      return gaps.map(({ gap, ...rest }) => {
        atMs += gap * gridMs
        return { atMs, ...rest }
      })
    })
}

/** One thing that was decided, and all that was known at that moment. */
export interface Look {
  readonly observation: Observation
  readonly decision: Decision
}

export const observationAt = (
  nowMs: number,
  step: Step,
  arrivalsTotal: Reading,
  { desired, of = spec }: { readonly desired: number; readonly of?: PolicySpec }
): Observation => ({
  nowMs,
  pending: step.pending,
  leased: step.leased,
  oldestPendingMs: step.pending === "unknown" ? "unknown" : step.pending > 0 ? nowMs - step.atMs : null,
  arrivalsTotal,
  ready: step.ready,
  starting: step.starting,
  draining: 0,
  slotsPerInstance: of.concurrency,
  desired,
  spec: of
})

/** The number of instances from `atMs` on. */
export interface Change {
  readonly atMs: number
  readonly desired: number
}

/** Looks at every step, at every wake-up that was asked for, and at `extra` moments; without the laws around it. */
export const open = <Memory>(
  policy: Policy<Memory>,
  history: ReadonlyArray<Step>,
  options: { readonly tailMs: number; readonly extra?: ReadonlyArray<number>; readonly guarded?: boolean }
): { readonly looks: ReadonlyArray<Look>; readonly changes: ReadonlyArray<Change>; readonly memory: Memory } => {
  const endMs = history.at(-1)!.atMs + options.tailMs
  const extra = [...(options.extra ?? [])].sort((one, other) => one - other)
  const looks: Array<Look> = []
  const changes: Array<Change> = []
  let memory = policy.empty
  let desired = 0
  let wakeAtMs: number | null = null
  let step: Step = history[0]!
  let arrivalsTotal = 0
  let next = 0
  for (;;) {
    const stepMs = history[next]?.atMs ?? Number.POSITIVE_INFINITY
    const nowMs = Math.min(stepMs, wakeAtMs ?? Number.POSITIVE_INFINITY, extra[0] ?? Number.POSITIVE_INFINITY)
    if (nowMs > endMs) return { looks, changes, memory }
    while (extra[0] !== undefined && extra[0] <= nowMs) extra.shift()
    if (nowMs === stepMs) {
      step = history[next]!
      arrivalsTotal += step.arrived
      next += 1
    }
    const observation = observationAt(nowMs, step, arrivalsTotal, { desired })
    const [after, answer] = policy.decide(memory, observation)
    const decision = options.guarded === true ? Scaling.lawful(answer, observation) : answer
    memory = after
    wakeAtMs = decision.wakeAtMs === null ? null : Math.max(decision.wakeAtMs, nowMs + 1)
    looks.push({ observation, decision })
    if (decision.desired !== desired) changes.push({ atMs: nowMs, desired: decision.desired })
    desired = decision.desired
  }
}

export const desiredAt = (changes: ReadonlyArray<Change>, atMs: number): number =>
  changes.findLast((change) => change.atMs <= atMs)?.desired ?? 0

/** Requests of which `load(atMs)` are there at a time; instances are there `startupMs` after they were asked for. */
export const closed = (
  running: Scaling.Running,
  options: {
    readonly load: (atMs: number) => number
    readonly untilMs: number
    readonly of?: PolicySpec
    readonly startupMs?: number
    /** The load changes at no other moments. */
    readonly changesMs?: ReadonlyArray<number>
  }
): ReadonlyArray<Change> => {
  const { of = spec, startupMs = 0 } = options
  const changes: Array<Change> = []
  let machine = running
  let nowMs = startMs
  let arrivalsTotal = 0
  let before = 0
  /** When each instance that was asked for is ready, oldest first. */
  let readyAtMs: Array<number> = []
  const pendingChanges = [...(options.changesMs ?? [])]
  while (nowMs <= startMs + options.untilMs) {
    const load = options.load(nowMs - startMs)
    arrivalsTotal += Math.max(0, load - before)
    before = load
    let wakeAtMs = Number.POSITIVE_INFINITY
    // Looks again while its own answer changes what there is to see.
    for (let round = 0; round < 3; round++) {
      const ready = readyAtMs.filter((atMs) => atMs <= nowMs).length
      const leased = Math.min(load, ready * of.concurrency)
      const step = {
        atMs: nowMs,
        pending: load - leased,
        leased,
        arrived: 0,
        ready,
        starting: readyAtMs.length - ready
      }
      const observation = observationAt(nowMs, step, arrivalsTotal, { desired: machine.desired, of })
      const desiredBefore = machine.desired
      const [next, commands] = machine.next(Scaling.Event.Observed({ observation }))
      machine = next
      wakeAtMs = Number.POSITIVE_INFINITY
      for (const command of commands) if (command._tag === "WakeAt") wakeAtMs = command.atMs
      if (machine.desired === desiredBefore) break
      changes.push({ atMs: nowMs - startMs, desired: machine.desired })
      // Those that start are cancelled first.
      readyAtMs = readyAtMs.slice(0, machine.desired)
      while (readyAtMs.length < machine.desired) readyAtMs.push(nowMs + startupMs)
    }
    while (pendingChanges[0] !== undefined && startMs + pendingChanges[0] <= nowMs) pendingChanges.shift()
    const soonReadyMs = Math.min(...readyAtMs.filter((atMs) => atMs > nowMs), Number.POSITIVE_INFINITY)
    const changeMs = pendingChanges[0] === undefined ? Number.POSITIVE_INFINITY : startMs + pendingChanges[0]
    nowMs = Math.min(wakeAtMs, soonReadyMs, changeMs)
  }
  return changes
}

/** The integral of a load over `[fromMs, untilMs]` straight from its steps, and how long it was known. */
export const integral = (
  history: ReadonlyArray<Step>,
  loadOf: (step: Step) => Reading,
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number }
): { readonly loadMs: number; readonly knownMs: number } => {
  let loadMs = 0
  let knownMs = 0
  history.forEach((step, index) => {
    const begins = Math.max(fromMs, step.atMs)
    const ends = Math.min(untilMs, history[index + 1]?.atMs ?? Number.POSITIVE_INFINITY)
    const load = loadOf(step)
    if (ends <= begins || load === "unknown") return
    loadMs += load * (ends - begins)
    knownMs += ends - begins
  })
  return { loadMs, knownMs }
}

/** What stood at `atMs`, what began at that very moment included or not. */
export const stepAt = (history: ReadonlyArray<Step>, atMs: number, isIncluded = true): Step | undefined =>
  history.findLast((step) => (isIncluded ? step.atMs <= atMs : step.atMs < atMs))

export const demandOf = ({ pending, leased }: Step): Reading =>
  pending === "unknown" || leased === "unknown" ? "unknown" : pending + leased
