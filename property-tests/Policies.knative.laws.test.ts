/**
 * Knative's autoscaler against an oracle that was written from its documentation: it keeps every step of the load and
 * integrates from scratch at every tick, and never sleeps.
 *
 * K1: the same numbers at the same moments. K2: nothing decreases in panic. K3: the last instance goes only after a
 * stable window and the grace without any request.
 *
 * Generators: loads of 0 to 24 at steps of 250 ms, ticks and steps coincide in one of eight; gaps of up to 20 s; a tenth
 * unknown. Four of five histories panic (counted below).
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as KnativePolicy from "../src/core/scaling/KnativePolicy.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Decision, Policy } from "../src/core/scaling/Policy.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

const slots = World.spec.concurrency

/** "Unknown" in, null out: the mean of what is known of the last `windowMs`. */
const meanLoad = (history: ReadonlyArray<World.Step>, atMs: number, windowMs: number): number | null => {
  const { loadMs, knownMs } = World.integral(history, World.demandOf, { fromMs: atMs - windowMs, untilMs: atMs })
  return knownMs === 0 ? null : Math.round((loadMs / knownMs) * 1e6) / 1e6
}

interface Panic {
  lastMs: number
  most: number
}

/**
 * In the documentation's words: the mean concurrency over the window, divided by the target, is how many pods there
 * should be. If the panic window's mean asks for twice the ready pods, panic. In panic, do not scale down. Leave panic
 * when there was no reason for it for a stable window. Zero after the grace. From zero at the first request.
 */
const oracle = (history: ReadonlyArray<World.Step>, tailMs: number, options: KnativePolicy.KnativeOptions) => {
  const firstMs = history[0]!.atMs
  const endMs = history.at(-1)!.atMs + tailMs
  const target = Math.max(0.01, slots * options.targetUtilization)
  const changes: Array<World.Change> = []
  let pods = 0
  let zeroFromMs: number | null = null
  let panic: Panic | null = history[0]!.ready > 1 ? { lastMs: firstMs, most: history[0]!.ready } : null
  let panicked = false
  // What was there before is there by an earlier decision.
  let wasThere: number | null = history[0]!.ready + history[0]!.starting
  const set = (atMs: number, to: number) => {
    if (to !== pods) changes.push({ atMs, desired: to })
    pods = to
  }
  const moments = new Set(history.map(({ atMs }) => atMs))
  const { tickIntervalMs } = options
  for (let atMs = Math.ceil((firstMs + 1) / tickIntervalMs) * tickIntervalMs; atMs <= endMs; atMs += tickIntervalMs) {
    moments.add(atMs)
  }
  for (const atMs of [...moments].sort((one, other) => one - other)) {
    const now = World.stepAt(history, atMs)!
    let wanted = wasThere ?? pods
    wasThere = null
    if (atMs % tickIntervalMs === 0 && atMs > firstMs) {
      const stable = meanLoad(history, atMs, options.stableWindowMs)
      const recent = meanLoad(history, atMs, options.panicWindowMs)
      if (stable !== null && recent !== null) {
        const pod = Math.max(1, now.ready)
        const within = (count: number) =>
          Math.min(Math.max(count, Math.floor(pod / options.maxScaleDownRate)), Math.ceil(pod * options.maxScaleUpRate))
        const need = (load: number) => Math.ceil(Math.round((load / target) * 1e6) / 1e6)
        const isHot = need(recent) >= options.panicThreshold * pod
        if (isHot) panic = { lastMs: atMs, most: panic === null ? pods : panic.most }
        else if (panic !== null && atMs - panic.lastMs > options.stableWindowMs) panic = null
        panicked ||= isHot
        let want = within(need(stable))
        if (panic !== null) {
          panic.most = Math.max(panic.most, pods, want, within(need(recent)))
          want = panic.most
        }
        zeroFromMs = want > 0 ? null : (zeroFromMs ?? atMs)
        const isGrace = zeroFromMs !== null && pods > 0 && atMs - zeroFromMs < options.scaleToZeroGraceMs
        wanted = isGrace ? 1 : want
      }
    }
    const load = World.demandOf(now)
    set(atMs, wanted === 0 && load !== "unknown" && load > 0 ? 1 : wanted)
  }
  return { changes, panicked }
}

const options: fc.Arbitrary<KnativePolicy.KnativeOptions> = fc.oneof(
  fc.constant(KnativePolicy.defaults),
  fc.record({
    stableWindowMs: fc.constantFrom(6_000, 12_000),
    panicWindowMs: fc.constantFrom(1_000, 2_000),
    panicThreshold: fc.constantFrom(1.5, 2, 3),
    targetConcurrency: fc.constant(null),
    targetUtilization: fc.constantFrom(0.5, 0.7, 1),
    maxScaleUpRate: fc.constantFrom(1.1, 2, 1_000),
    maxScaleDownRate: fc.constantFrom(1.5, 2),
    scaleToZeroGraceMs: fc.constantFrom(0, 4_000),
    tickIntervalMs: fc.constantFrom(1_000, 2_000),
    targetBurstCapacity: fc.constantFrom(-1, 0, 211)
  })
)
const histories = World.steps({ gridMs: 250, gapMax: 80, unknownShare: 10, lengthMax: 25, loadMax: 24 })
const tailMs = 100_000

const likeTheOracle = (policyOf: (options: KnativePolicy.KnativeOptions) => Policy<KnativePolicy.Memory>) =>
  fc.property(options, histories, (given, history) => {
    const { changes } = World.open(policyOf(given), history, { tailMs })
    assert.deepStrictEqual(changes, oracle(history, tailMs, given).changes)
  })

/** While the memory says panic, before and after, and the maximum allows it. */
const neverLessInPanic = (policyOf: (options: KnativePolicy.KnativeOptions) => Policy<KnativePolicy.Memory>) =>
  fc.property(options, histories, (given, history) => {
    const policy = policyOf(given)
    let wasInPanic = false
    const watched: Policy<KnativePolicy.Memory> = {
      ...policy,
      decide: (memory, observation) => {
        const [next, decision] = policy.decide(memory, observation)
        if (wasInPanic && next.panic !== null) assert.isAtLeast(decision.desired, observation.desired)
        wasInPanic = next.panic !== null
        return [next, decision]
      }
    }
    World.open(watched, history, { tailMs, guarded: true })
  })

const holds = <Inputs>(property: fc.IProperty<Inputs>) =>
  !fc.check(property, { numRuns: 300, endOnFailure: true }).failed

describe("knative", () => {
  it("K1: it decides what the documentation says, at the moment it says", () => {
    upholds(likeTheOracle(KnativePolicy.knative), { numRuns: 400 })
  })

  it("K1 kills: no grace, no panic, panic that ends with the burst, time unknown as zero", () => {
    for (const [name, bug] of Object.entries(Bugs.knatives)) assert.isFalse(holds(likeTheOracle(bug)), `${name} lives`)
  })

  it("K2, L14: nothing decreases in panic", () => {
    upholds(neverLessInPanic(KnativePolicy.knative), { numRuns: 300 })
  })

  it("K2 kills: panic that lets go", () => {
    assert.isFalse(holds(neverLessInPanic(Bugs.panicLetsGo)))
  })

  it("the histories reach panic and calm", () => {
    const samples = fc.sample(fc.tuple(options, histories), { numRuns: 300, seed: 1 })
    const panicked = samples.filter(([given, history]) => oracle(history, tailMs, given).panicked).length
    assert.isAtLeast(panicked, 100)
    assert.isAtMost(panicked, 280)
  })

  it("K2: in panic a lower maxInstances is the one thing that lowers it", () => {
    const look = (machine: Policies.Machine, atMs: number, pending: number, maxInstances: number) => {
      const step = { atMs, pending, leased: 0, arrived: 0, ready: 1, starting: 0 }
      const of = { ...World.spec, maxInstances }
      const observation = World.observationAt(World.startMs + atMs, step, 0, { desired: machine.desired, of })
      return machine.next({ _tag: "Observed", observation })[0]
    }
    let machine = look(Policies.start("knative"), 0, 40, 50)
    machine = look(machine, 2_000, 40, 50)
    assert.strictEqual(machine.desired, 29, "40 ÷ (2 × 0.7), rounded up")
    machine = look(machine, 4_000, 0, 50)
    assert.strictEqual(machine.desired, 29)
    assert.strictEqual(look(machine, 5_000, 0, 7).desired, 7)
  })

  it("K3: 60 s without a request, then 30 s of grace, then zero, and not a moment before", () => {
    const busyUntilMs = 10_000
    const changes = World.closed(Policies.start("knative"), {
      load: (atMs) => (atMs < busyUntilMs ? 1 : 0),
      changesMs: [busyUntilMs],
      untilMs: 300_000
    })
    assert.deepStrictEqual(changes, [
      { atMs: 0, desired: 1 },
      { atMs: 100_000, desired: 0 }
    ])
  })

  it("tells the excess burst capacity, and why it decides nothing", () => {
    const step = { atMs: 0, pending: 0, leased: 3, arrived: 0, ready: 2, starting: 0 }
    const seen: Array<Decision> = []
    const policy = KnativePolicy.knative()
    const looks = World.open(policy, [{ ...step, atMs: World.startMs }], { tailMs: 2_000 }).looks
    for (const { decision } of looks) seen.push(decision)
    assert.strictEqual(seen.at(-1)?.inputs["excessBurstCapacity"], 2 * slots - 211 - 3)
  })
})
