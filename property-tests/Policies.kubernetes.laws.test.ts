/**
 * The autoscalers of Kubernetes and KEDA against oracles written from their documentation, which keep everything that
 * ever happened, look at every beat and never sleep.
 *
 * H1: hpa recommends and sets what the documentation says. H2: so does keda, with polls and cooldown on top.
 *
 * Generators: as for knative; steps and beats coincide in one of four; a seventh unknown.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as HpaPolicy from "../src/core/scaling/HpaPolicy.ts"
import * as HpaRules from "../src/core/scaling/HpaRules.ts"
import * as KedaPolicy from "../src/core/scaling/KedaPolicy.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Policy } from "../src/core/scaling/Policy.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

const slots = World.spec.concurrency
const { maxInstances } = World.spec

interface Past {
  readonly atMs: number
  readonly value: number
}

/** Everything a controller has seen and done. */
interface Book {
  readonly recommended: Array<Past>
  readonly changed: Array<Past>
}

/** Ten significant places: the noise of the last bits is not what is compared. */
const ceil = (value: number) => Math.ceil(Number(value.toPrecision(10)))
const isClose = (ratio: number, tolerance: number) => Number(Math.abs(ratio - 1).toPrecision(10)) <= tolerance

/**
 * "The highest recommendation of the last five minutes"; "up by the greater of 100 % and 4 pods in 15 seconds": counted
 * from what there was when the 15 seconds began.
 */
const apply = (book: Book, atMs: number, current: number, wish: number, behaviour: HpaRules.Behaviour): number => {
  book.recommended.push({ atMs, value: wish })
  const since = (ms: number) =>
    book.recommended
      .filter((past) => past.atMs > atMs - ms)
      .concat({ atMs, value: wish })
      .map(({ value }) => value)
  let target = current
  if (wish > current) target = Math.max(current, Math.min(...since(behaviour.stabilizationUpMs)))
  // The highest of the window may be above what there is, though the newest is below.
  if (wish <= current) target = Math.min(current, Math.max(...since(behaviour.stabilizationDownMs)))
  const startOf = (periodMs: number) =>
    current - book.changed.filter((past) => past.atMs > atMs - periodMs).reduce((sum, { value }) => sum + value, 0)
  const { scaleUp, scaleDown } = behaviour
  if (target > current) {
    const start = startOf(scaleUp.periodMs)
    const most = [
      scaleUp.percent === null ? start : ceil(start * (1 + scaleUp.percent / 100)),
      scaleUp.pods === null ? start : start + scaleUp.pods
    ]
    const isFree = scaleUp.percent === null && scaleUp.pods === null
    target = isFree ? target : Math.min(target, Math.max(current, ...most))
  }
  if (target < current) {
    const start = startOf(scaleDown.periodMs)
    const least = [
      scaleDown.percent === null ? start : Math.trunc(start * (1 - scaleDown.percent / 100)),
      scaleDown.pods === null ? start : start - scaleDown.pods
    ]
    const isFree = scaleDown.percent === null && scaleDown.pods === null
    target = isFree ? target : Math.max(target, Math.min(current, ...least))
  }
  const set = Math.min(Math.max(target, 1), maxInstances)
  if (set !== current) book.changed.push({ atMs, value: set - current })
  return set
}

/** Pods that are not ready count as idle on the way up, and are left out on the way down. */
const hpaWish = (step: World.Step, current: number, options: HpaPolicy.HpaOptions): number | null => {
  if (step.leased === "unknown" || step.ready === 0) return null
  const target = slots * options.targetUtilization
  const ratio = step.leased / (step.ready * target)
  if (ratio <= 1 || step.starting === 0) {
    return isClose(ratio, options.tolerance) ? current : ceil(step.leased / target)
  }
  const all = step.leased / ((step.ready + step.starting) * target)
  return all < 1 || isClose(all, options.tolerance) ? current : ceil(step.leased / target)
}

const beats = (history: ReadonlyArray<World.Step>, tailMs: number, intervalMs: number) => {
  const all: Array<number> = []
  const endMs = history.at(-1)!.atMs + tailMs
  for (let atMs = Math.floor(history[0]!.atMs / intervalMs + 1) * intervalMs; atMs <= endMs; atMs += intervalMs) {
    all.push(atMs)
  }
  return all
}

const hpaOracle = (history: ReadonlyArray<World.Step>, tailMs: number, options: HpaPolicy.HpaOptions) => {
  const first = history[0]!
  let replicas = Math.max(1, first.ready + first.starting)
  const changes: Array<World.Change> = [{ atMs: first.atMs, desired: replicas }]
  const book: Book = { recommended: [{ atMs: first.atMs, value: replicas }], changed: [] }
  for (const atMs of beats(history, tailMs, options.syncIntervalMs)) {
    const wish = hpaWish(World.stepAt(history, atMs)!, replicas, options)
    if (wish === null) continue
    const set = apply(book, atMs, replicas, wish, options)
    if (set !== replicas) changes.push({ atMs, desired: set })
    replicas = set
  }
  return changes
}

/**
 * Zero to one when a poll sees activity; to zero when the last poll with activity is more than a cooldown ago; the
 * autoscaler underneath in between, and it begins anew with each activation.
 */
const kedaOracle = (history: ReadonlyArray<World.Step>, tailMs: number, options: KedaPolicy.KedaOptions) => {
  const first = history[0]!
  const changes: Array<World.Change> = []
  let replicas = first.ready + first.starting
  if (replicas > 0) changes.push({ atMs: first.atMs, desired: replicas })
  let activeAtMs = replicas > 0 ? first.atMs : null
  let book: Book = { recommended: [{ atMs: first.atMs, value: replicas }], changed: [] }
  const syncs = new Set(beats(history, tailMs, options.syncIntervalMs))
  const polls = new Set(beats(history, tailMs, options.pollingIntervalMs))
  for (const atMs of [...new Set([...syncs, ...polls])].sort((one, other) => one - other)) {
    const step = World.stepAt(history, atMs)!
    const load = World.demandOf(step)
    if (load === "unknown") continue
    let next = replicas
    if (syncs.has(atMs) && next > 0) {
      const threshold = options.threshold ?? slots
      const existing = step.ready + step.starting
      const isEnough = existing > 0 && isClose(load / (threshold * existing), options.tolerance)
      next = apply(book, atMs, next, isEnough ? existing : ceil(load / threshold), options)
    }
    if (polls.has(atMs)) {
      if (load > options.activationThreshold) {
        activeAtMs = atMs
        if (next === 0) {
          next = 1
          book = { recommended: [{ atMs, value: 1 }], changed: [] }
        }
      } else if (next > 0 && (activeAtMs === null || atMs - activeAtMs > options.cooldownMs)) next = 0
    }
    if (next !== replicas) changes.push({ atMs, desired: next })
    replicas = next
  }
  return changes
}

const limit = (periodMs: fc.Arbitrary<number>): fc.Arbitrary<HpaRules.RateLimit> =>
  fc.record({
    percent: fc.constantFrom(null, 10, 50, 100),
    pods: fc.constantFrom(null, 1, 4),
    periodMs
  })
const behaviour = {
  tolerance: fc.constantFrom(0, 0.1, 0.5),
  stabilizationDownMs: fc.constantFrom(0, 3_000, 10_000),
  stabilizationUpMs: fc.constantFrom(0, 2_000),
  scaleUp: limit(fc.constantFrom(1_000, 5_000)),
  scaleDown: limit(fc.constantFrom(1_000, 5_000)),
  syncIntervalMs: fc.constantFrom(1_000, 2_000)
}
const hpaOptions: fc.Arbitrary<HpaPolicy.HpaOptions> = fc.oneof(
  fc.constant(HpaPolicy.defaults),
  fc.record({ ...behaviour, targetUtilization: fc.constantFrom(0.5, 0.8, 1) })
)
const kedaOptions: fc.Arbitrary<KedaPolicy.KedaOptions> = fc.oneof(
  fc.constant(KedaPolicy.defaults),
  fc.record({
    ...behaviour,
    pollingIntervalMs: fc.constantFrom(1_000, 3_000, 5_000),
    cooldownMs: fc.constantFrom(0, 4_000, 10_000),
    threshold: fc.constantFrom(null, 1, 3),
    activationThreshold: fc.constantFrom(0, 2)
  })
)
const histories = World.steps({ gridMs: 250, gapMax: 120, unknownShare: 14, lengthMax: 25, loadMax: 24 })
const tailMs = 60_000

const hpaLikeTheOracle = (policyOf: (options: HpaPolicy.HpaOptions) => Policy<HpaPolicy.Memory>) =>
  fc.property(hpaOptions, histories, (options, history) => {
    const { changes } = World.open(policyOf(options), history, { tailMs })
    assert.deepStrictEqual(changes, hpaOracle(history, tailMs, options))
  })

const kedaLikeTheOracle = (policyOf: (options: KedaPolicy.KedaOptions) => Policy<KedaPolicy.Memory>) =>
  fc.property(kedaOptions, histories, (options, history) => {
    const { changes } = World.open(policyOf(options), history, { tailMs })
    assert.deepStrictEqual(changes, kedaOracle(history, tailMs, options))
  })

const holds = <Inputs>(property: fc.IProperty<Inputs>) =>
  !fc.check(property, { numRuns: 500, endOnFailure: true }).failed

describe("hpa", () => {
  it("H1: it sets what the documentation says, at the sync at which it says", () => {
    upholds(hpaLikeTheOracle(HpaPolicy.hpa), { numRuns: 400 })
  })

  it("H1 kills: no stabilisation, no tolerance, no limit of rate, unready pods that count as busy", () => {
    for (const [name, bug] of Object.entries(Bugs.hpas)) assert.isFalse(holds(hpaLikeTheOracle(bug)), `${name} lives`)
  })

  it("the examples of the documentation", () => {
    const pods = { ready: 1, unready: 0, targetPerPod: 100 }
    const twice = HpaRules.byPods({ ...pods, current: 1, usage: 200 }, 0.1)
    assert.deepStrictEqual(twice, { replicas: 2, ratio: 2 }, "200m against 100m doubles")
    const half = HpaRules.byPods({ ...pods, ready: 2, current: 2, usage: 100 }, 0.1)
    assert.deepStrictEqual(half, { replicas: 1, ratio: 0.5 }, "50m against 100m halves")
    assert.strictEqual(HpaRules.byPods({ ...pods, current: 1, usage: 110 }, 0.1)?.replicas, 1, "within a tenth")
    assert.strictEqual(HpaRules.byPods({ ...pods, current: 1, usage: 111 }, 0.1)?.replicas, 2)
    assert.isNull(HpaRules.byPods({ ...pods, ready: 0, current: 3, usage: 0 }, 0.1), "nothing to measure")
  })

  it("grows by 4 or by the double of 15 s before, whichever is more", () => {
    const sizes: Array<number> = []
    let memory = HpaRules.begin(1, 0)
    let current = 1
    for (let nowMs = 15_000; current < 100; nowMs += 15_000) {
      const [next, { replicas }] = HpaRules.normalize(
        memory,
        100,
        { current, min: 1, max: 100, nowMs },
        HpaRules.defaults
      )
      memory = next
      current = replicas
      sizes.push(current)
    }
    assert.deepStrictEqual(sizes, [5, 10, 20, 40, 80, 100])
  })

  it("what is unknown is not zero: nothing changes while it lasts", () => {
    const busy = { pending: 0, leased: 4, arrived: 0, ready: 2, starting: 0 }
    const history = [
      { ...busy, atMs: World.startMs },
      { ...busy, atMs: World.startMs + 1_000, leased: "unknown" as const }
    ]
    const { changes } = World.open(HpaPolicy.hpa(), history, { tailMs: 3_600_000 })
    assert.deepStrictEqual(changes, [{ atMs: World.startMs, desired: 2 }])
  })
})

describe("keda", () => {
  it("H2: it polls, activates, cools down and sets what the documentation says", () => {
    upholds(kedaLikeTheOracle(KedaPolicy.keda), { numRuns: 400 })
  })

  it("H2 kills: no cooldown, activation at the threshold, unknown as inactive", () => {
    for (const [name, bug] of Object.entries(Bugs.kedas)) assert.isFalse(holds(kedaLikeTheOracle(bug)), `${name} lives`)
  })

  it("goes to zero at the first poll more than 300 s after the last active one", () => {
    const busyUntilMs = 95_000
    const changes = World.closed(Policies.start("keda"), {
      load: (atMs) => (atMs < busyUntilMs ? 1 : 0),
      changesMs: [busyUntilMs],
      untilMs: 1_000_000
    })
    // Polls are at the multiples of 30 s; the history begins 10 s after one. The last active one is at 80 s.
    assert.strictEqual(World.startMs % 30_000, 10_000)
    assert.deepStrictEqual(changes, [
      { atMs: 0, desired: 1 },
      { atMs: 410_000, desired: 0 }
    ])
  })
})
