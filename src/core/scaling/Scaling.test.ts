import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import { fixed } from "./FixedPolicy.ts"
import * as Policies from "./Policies.ts"
import type { Decision, Observation, Policy } from "./Policy.ts"
import { PolicyChoice, PolicyName } from "./PolicyChoice.ts"
import * as Scaling from "./Scaling.ts"
import * as ShadowPolicy from "./ShadowPolicy.ts"

const observation: Observation = {
  nowMs: 1_000,
  pending: 0,
  leased: 0,
  oldestPendingMs: null,
  arrivalsTotal: 0,
  ready: 0,
  starting: 0,
  draining: 0,
  slotsPerInstance: 1,
  desired: 0,
  spec: { minInstances: 0, maxInstances: 5, concurrency: 1, idleWindowMs: 10_000 }
}
const spec = (minInstances: number, maxInstances: number) => ({ ...observation.spec, minInstances, maxInstances })

const answering = (desired: number, wakeAtMs: number | null = null): Decision => ({
  desired,
  reason: "because",
  inputs: { of: "it" },
  wakeAtMs
})
/** Says what is pending; counts its looks. */
const echo: Policy<number> = {
  name: "echo",
  empty: 0,
  decide: (looks, { pending }) => [looks + 1, answering(pending === "unknown" ? 9 : pending, 50)]
}

describe("scaling", () => {
  const lawful = (desired: number, more: Partial<Observation> = {}) => {
    const decision = Scaling.lawful(answering(desired, 7), { ...observation, ...more })
    assert.deepStrictEqual([decision.inputs, decision.wakeAtMs], [{ of: "it" }, 7])
    return `${decision.desired}: ${decision.reason}`
  }

  it("L14: an answer within the bounds stays as it is, another is held to them, and why is said", () => {
    const right = answering(3)
    assert.strictEqual(Scaling.lawful(right, observation), right)
    assert.strictEqual(lawful(6), "5: because; maxInstances is 5")
    assert.strictEqual(lawful(5.5), "5: because; maxInstances is 5")
    assert.strictEqual(lawful(1, { spec: spec(2, 5) }), "2: because; minInstances is 2")
    assert.strictEqual(lawful(1.5, { spec: spec(2, 5) }), "2: because; the answer was 1.5")
    assert.strictEqual(lawful(4.5), "5: because; the answer was 4.5")
    assert.strictEqual(lawful(9, { spec: spec(7, 5) }), "5: because; maxInstances is 5")
    assert.strictEqual(lawful(0, { spec: spec(-1, 0) }), "0: because")
    assert.strictEqual(lawful(2, { spec: spec(0, 0) }), "1: because; maxInstances is 1")
    assert.strictEqual(lawful(-2), "0: because; minInstances is 0")
    for (const none of [Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.strictEqual(lawful(none, { desired: 3 }), `3: because; the answer was ${none}`)
    }
  })

  it("L14: what waits or runs keeps one, and what is unknown keeps what is there", () => {
    const awake = "1: because; a request waits or runs, so one instance stays"
    assert.strictEqual(lawful(0, { pending: 1 }), awake)
    assert.strictEqual(lawful(0, { leased: 1 }), awake)
    assert.strictEqual(lawful(2, { leased: 1 }), "2: because")
    assert.strictEqual(lawful(0.5, { leased: 1 }), "1: because; the answer was 0.5")
    const unknown = "3: because; the demand is unknown, so 3 instances stay"
    assert.strictEqual(lawful(0, { pending: "unknown", ready: 2, starting: 1 }), unknown)
    assert.strictEqual(lawful(1, { leased: "unknown", desired: 3, ready: 1 }), unknown)
    assert.strictEqual(lawful(4, { leased: "unknown", desired: 3 }), "4: because")
    assert.strictEqual(
      lawful(0, { leased: "unknown", pending: 1 }),
      "1: because; the demand is unknown, so 1 instance stay"
    )
    assert.strictEqual(
      lawful(0, { leased: 1, pending: "unknown" }),
      "1: because; the demand is unknown, so 1 instance stay"
    )
    assert.strictEqual(lawful(0, { pending: "unknown", ready: 9 }), "5: because; maxInstances is 5")
  })

  it("tells a change with its reason, and a wake-up that is never past", () => {
    const observed = (more: Partial<Observation>) =>
      Scaling.Event.Observed({ observation: { ...observation, ...more } })
    const begun = Scaling.empty(echo)
    assert.deepStrictEqual(begun, { memory: 0, desired: 0 })
    const [next, commands] = Scaling.step(echo, begun, observed({ pending: 2 }))
    assert.deepStrictEqual(next, { memory: 1, desired: 2 })
    const change = { _tag: "SetDesired", from: 0, to: 2, policy: "echo", reason: "because", inputs: { of: "it" } }
    const plain = (all: ReadonlyArray<Scaling.Command>): ReadonlyArray<object> => all.map((each) => ({ ...each }))
    assert.deepStrictEqual(plain(commands), [change, { _tag: "WakeAt", atMs: 1_001 }])
    const [, same] = Scaling.step(echo, next, observed({ pending: 2, nowMs: 40 }))
    assert.deepStrictEqual(plain(same), [{ _tag: "WakeAt", atMs: 50 }])
    const silent: Policy<number> = { ...echo, decide: (looks) => [looks, answering(2)] }
    assert.deepStrictEqual(Scaling.step(silent, next, observed({}))[1], [])
    assert.deepStrictEqual(plain(Scaling.step(silent, begun, observed({}))[1]), [change], "it asks for no other look")
    const asked: Array<number> = []
    const asks: Policy<null> = {
      name: "asks",
      empty: null,
      decide: (_, seen) => [null, answering(asked.push(seen.desired))]
    }
    Scaling.step(asks, { memory: null, desired: 4 }, observed({ desired: 1 }))
    assert.deepStrictEqual(asked, [4], "what it decided itself, whatever was observed")
  })

  it("undeployed it is at zero, begins anew, and says so once", () => {
    const gone = Scaling.Event.Undeployed({ nowMs: 5 })
    const [next, commands] = Scaling.step(echo, { memory: 7, desired: 3 }, gone)
    assert.deepStrictEqual(next, { memory: 0, desired: 0 })
    const reason = "the version is not deployed any more"
    assert.deepStrictEqual(
      commands.map((each): object => ({ ...each })),
      [{ _tag: "SetDesired", from: 3, to: 0, policy: "echo", reason, inputs: {} }]
    )
    assert.deepStrictEqual(Scaling.step(echo, next, gone), [{ memory: 0, desired: 0 }, []])
  })

  it("runs as a machine that keeps its state", () => {
    const first = Scaling.running(echo)
    assert.deepStrictEqual([first.policy, first.desired], ["echo", 0])
    const [second, commands] = first.next(Scaling.Event.Observed({ observation: { ...observation, pending: 3 } }))
    assert.deepStrictEqual([second.desired, commands.length], [3, 2])
    assert.strictEqual(Scaling.running(echo, { memory: 0, desired: 4 }).desired, 4)
  })
})

describe("a shadow", () => {
  it("acts on the one, records where the other differs, once for each difference", () => {
    const late: Policy<number> = {
      name: "late",
      empty: 0,
      decide: (before, { pending, desired }) => [
        pending === "unknown" ? before : pending,
        { ...answering(before, pending === 3 ? 20 : 70), reason: `before, of ${desired}` }
      ]
    }
    const policy = ShadowPolicy.shadow(echo, late)
    assert.strictEqual(policy.name, "shadow(echo, late)")
    const { decisions, memory } = tell(policy, [
      { pending: 0 },
      { pending: 2, nowMs: 10 },
      { pending: 2, nowMs: 20 },
      { pending: 3, nowMs: 30 },
      { pending: 3, nowMs: 40, leased: 1 },
      { pending: 1, nowMs: 50 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until 50: because",
      "2 until 50: because",
      "2 until 50: because",
      "3 until 20: because",
      "3 until 20: because",
      "1 until 50: because"
    ])
    const difference = (atMs: number, acting: number, watched: number, reason: string) => ({
      atMs,
      acting: { desired: acting, reason: "because" },
      watched: { desired: watched, reason }
    })
    assert.deepStrictEqual(memory, {
      acting: 6,
      watched: 1,
      watchedDesired: 3,
      isDifferent: true,
      differences: [
        difference(10, 2, 1, "before, of 0; a request waits or runs, so one instance stays"),
        difference(30, 3, 2, "before, of 2"),
        difference(50, 1, 3, "before, of 3")
      ],
      differenceCount: 3
    })
  })

  it("a difference that lasts is told once, one that comes again is told again, and the latest 256 are kept", () => {
    const two: Policy<null> = { name: "two", empty: null, decide: () => [null, answering(2)] }
    const policy = ShadowPolicy.shadow(echo, two)
    const looks = (pendings: ReadonlyArray<number>) =>
      tell(
        policy,
        pendings.map((pending, nowMs) => ({ pending, nowMs }))
      )
    assert.strictEqual(looks([1, 1, 1]).memory.differenceCount, 1)
    assert.strictEqual(looks([1, 2, 1]).memory.differenceCount, 2)
    assert.strictEqual(looks([1, 3, 1]).memory.differenceCount, 3)
    const many = looks(Array.from({ length: 600 }, (_, index) => 1 + (index % 2))).memory
    assert.deepStrictEqual([many.differenceCount, many.differences.length], [300, 256])
    assert.strictEqual(many.differences.at(-1)?.atMs, 598)
    assert.strictEqual(many.differences[0]?.atMs, 88)
  })

  it("a difference is another one when the watched number changes alone", () => {
    const counts: Policy<number> = { name: "counts", empty: 2, decide: (before) => [before + 1, answering(before)] }
    const constant: Policy<null> = { name: "one", empty: null, decide: () => [null, answering(1)] }
    assert.strictEqual(tell(ShadowPolicy.shadow(constant, counts), [{}, {}, {}]).memory.differenceCount, 3)
  })

  it("the watched one is asked after what it wanted itself, and before that after what is there", () => {
    const asked: Array<number> = []
    const more: Policy<null> = {
      name: "more",
      empty: null,
      decide: (_, { desired }) => [null, answering(asked.push(desired) + 2)]
    }
    tell(ShadowPolicy.shadow(echo, more), [{ desired: 9, pending: 1 }, {}, {}])
    assert.deepStrictEqual(asked, [9, 3, 4])
  })

  it("wakes at the earlier of what both ask for", () => {
    const asks = (wakeAtMs: number | null): Policy<null> => ({
      name: "asks",
      empty: null,
      decide: () => [null, answering(0, wakeAtMs)]
    })
    const wake = (one: number | null, other: number | null) =>
      tell(ShadowPolicy.shadow(asks(one), asks(other)), [{}]).decisions[0]?.wakeAtMs
    assert.deepStrictEqual([wake(5, 3), wake(3, 5), wake(null, 4), wake(4, null), wake(null, null)], [3, 3, 4, 4, null])
  })
})

describe("a policy that is chosen", () => {
  const busy = Scaling.Event.Observed({ observation: { ...observation, leased: 3, arrivalsTotal: 3 } })

  it("by name is the machine of that name, with the options that were given", () => {
    for (const name of PolicyName.literals) {
      const machine = Policies.start(name, 2)
      assert.deepStrictEqual(
        [machine.policy, machine.choice, machine.desired, machine.differences],
        [name, name, 2, []]
      )
      const [next] = machine.next(busy)
      assert.deepStrictEqual([next.policy, next.choice], [name, name])
      assert.isAtLeast(next.desired, 1)
    }
    assert.strictEqual(Policies.start("demand").desired, 0)
    const choice = { name: "hpa", targetUtilization: 0.5 } as const
    assert.strictEqual(Policies.start(choice).choice, choice)
    const reasonOf = (given: Parameters<typeof Policies.start>[0], name: string) => {
      const [first] = Policies.start(given, 1).next(busy)
      const later = { ...observation, nowMs: 15_000, leased: 3, ready: 1, arrivalsTotal: 3 }
      const [, commands] = first.next(Scaling.Event.Observed({ observation: later }))
      const change = commands.find((command) => command._tag === "SetDesired")
      assert.strictEqual(change?.policy, name)
      return change?.reason
    }
    assert.match(reasonOf(choice, "hpa") ?? "", /6 times the target of 0.5/)
    assert.match(reasonOf({ name: "keda", threshold: 1.5 }, "keda") ?? "", /3 requests at a threshold of 1.5/)
    assert.match(reasonOf({ name: "knative", targetConcurrency: 2 }, "knative") ?? "", /a target of 1.4/)
    const lasting = { name: "histogram", fixedKeepAliveMs: 3_000 } as const
    const [busyOnce] = Policies.start(lasting, 1).next(busy)
    const [, idle] = busyOnce.next(Scaling.Event.Observed({ observation: { ...observation, nowMs: 3_000 } }))
    assert.deepInclude(idle, { _tag: "WakeAt", atMs: 6_000 })
    const [nvcf] = Policies.start({ name: "nvcf", loopIntervalMs: 60_000 }).next(busy)
    assert.deepInclude(nvcf.next(busy)[1], { _tag: "WakeAt", atMs: 60_000 })
  })

  it("as a shadow tells where the watched one differs", () => {
    const machine = Policies.start({ name: "shadow", acting: { name: "demand" }, watched: { name: "fixed" } }, 4)
    assert.deepStrictEqual([machine.policy, machine.desired, machine.differences], ["shadow(demand, fixed)", 4, []])
    const [next] = machine.next(busy)
    assert.deepStrictEqual(
      next.differences.map(({ acting, watched }) => [acting.desired, watched.desired]),
      [[3, 1]]
    )
  })

  it("is the same as one with the same name and options", () => {
    assert.isTrue(Policies.isSame("demand", "demand"))
    assert.isTrue(Policies.isSame({ name: "hpa", tolerance: 0.2 }, { name: "hpa", tolerance: 0.2 }))
    assert.isFalse(Policies.isSame({ name: "hpa", tolerance: 0.2 }, { name: "hpa", tolerance: 0.3 }))
    assert.isFalse(Policies.isSame("demand", "fixed"))
  })

  it("fixed is the minimum, and one at least", () => {
    const { decisions } = tell(fixed, [{}, { spec: spec(3, 9) }])
    assert.deepStrictEqual(lines(decisions), [
      "1 until ever: the policy is fixed: 1 instance, whatever the demand",
      "3 until ever: the policy is fixed: 3 instances, whatever the demand"
    ])
    assert.deepStrictEqual(decisions[1]?.inputs, { minInstances: 3 })
  })
})

describe("the options of a policy", () => {
  const isChoice = Schema.is(PolicyChoice)
  const limit = { percent: 50, pods: 3, periodMs: 1_000 }
  const direction = { thresholdPercent: 60, factor: 2, stickiness: { sizeMs: 120_000, thresholdMs: 60_000 } }

  it("are taken at their edges", () => {
    const right: ReadonlyArray<unknown> = [
      ...PolicyName.literals,
      ...PolicyName.literals.map((name) => ({ name })),
      { name: "knative", stableWindowMs: 6_000, panicWindowMs: 1_000, tickIntervalMs: 60_000 },
      { name: "knative", panicThreshold: 1_000, targetConcurrency: 0.01, targetUtilization: 1, maxScaleUpRate: 1.01 },
      {
        name: "knative",
        maxScaleDownRate: 1.01,
        scaleToZeroGraceMs: 0,
        targetBurstCapacity: -1,
        targetConcurrency: null
      },
      {
        name: "hpa",
        syncIntervalMs: 1_000,
        tolerance: 0,
        stabilizationDownMs: 0,
        stabilizationUpMs: 0,
        scaleUp: limit
      },
      {
        name: "hpa",
        tolerance: 1,
        scaleDown: { percent: null, pods: null, periodMs: 1_800_000 },
        targetUtilization: 0.1
      },
      {
        name: "keda",
        pollingIntervalMs: 1_000,
        cooldownMs: 0,
        threshold: null,
        activationThreshold: 0,
        tolerance: 0.5
      },
      { name: "keda", threshold: 0.01, activationThreshold: 100_000, scaleUp: limit, scaleDown: limit },
      {
        name: "histogram",
        binMs: 1,
        binCount: 2,
        timeScale: 0.01,
        headPercentile: 0,
        tailPercentile: 100,
        marginShare: 0
      },
      { name: "histogram", idleTimesMin: 1, variationMin: 0, beyondShareMax: 1, fixedKeepAliveMs: null },
      { name: "histogram", fixedKeepAliveMs: 0, binCount: 1_440 },
      { name: "nvcf", loopIntervalMs: 1_000, lookbackMs: 953_000 },
      { name: "nvcf", loopIntervalMs: 5_000, lookbackMs: 60_000, utilizationWindowMs: 10_000, idleTimeoutMs: 0 },
      {
        name: "nvcf",
        decayFactor: 0,
        countIsSettled: false,
        up: direction,
        down: { ...direction, thresholdPercent: 0, factor: 0.5 }
      },
      { name: "shadow", acting: { name: "demand" }, watched: { name: "keda", threshold: 3 } }
    ]
    for (const choice of right) assert.isTrue(isChoice(choice), JSON.stringify(choice))
  })

  it("are refused beyond them", () => {
    const wrong: ReadonlyArray<unknown> = [
      "other",
      { name: "other" },
      { name: "knative", stableWindowMs: 5_000 },
      { name: "knative", stableWindowMs: 6_500 },
      { name: "knative", stableWindowMs: 3_601_000 },
      { name: "knative", panicWindowMs: 0 },
      { name: "knative", panicThreshold: 1 },
      { name: "knative", panicThreshold: 1_001 },
      { name: "knative", targetConcurrency: 0 },
      { name: "knative", targetUtilization: 0 },
      { name: "knative", targetUtilization: 1.1 },
      { name: "knative", maxScaleUpRate: 1 },
      { name: "knative", maxScaleDownRate: 1 },
      { name: "knative", scaleToZeroGraceMs: -1 },
      { name: "knative", scaleToZeroGraceMs: 0.5 },
      { name: "knative", tickIntervalMs: 61_000 },
      { name: "knative", targetBurstCapacity: -2 },
      { name: "knative", targetBurstCapacity: 0.5 },
      { name: "hpa", syncIntervalMs: 0 },
      { name: "hpa", tolerance: 1.1 },
      { name: "hpa", stabilizationDownMs: -1 },
      { name: "hpa", stabilizationUpMs: 3_600_001 },
      { name: "hpa", targetUtilization: 0 },
      { name: "hpa", scaleUp: { ...limit, percent: 0 } },
      { name: "hpa", scaleUp: { ...limit, pods: 0 } },
      { name: "hpa", scaleUp: { ...limit, pods: 1.5 } },
      { name: "hpa", scaleDown: { ...limit, periodMs: 999 } },
      { name: "hpa", scaleDown: { pods: 3 } },
      { name: "keda", pollingIntervalMs: 500 },
      { name: "keda", cooldownMs: -1 },
      { name: "keda", threshold: 0 },
      { name: "keda", activationThreshold: -1 },
      { name: "keda", tolerance: -0.1 },
      { name: "histogram", binMs: 0 },
      { name: "histogram", binCount: 1 },
      { name: "histogram", binCount: 2.5 },
      { name: "histogram", timeScale: 0 },
      { name: "histogram", headPercentile: 101 },
      { name: "histogram", tailPercentile: -1 },
      { name: "histogram", marginShare: 1.1 },
      { name: "histogram", idleTimesMin: 0 },
      { name: "histogram", idleTimesMin: 1.5 },
      { name: "histogram", variationMin: -1 },
      { name: "histogram", beyondShareMax: 1.1 },
      { name: "histogram", fixedKeepAliveMs: -1 },
      { name: "nvcf", loopIntervalMs: 500 },
      { name: "nvcf", lookbackMs: 59_000 },
      { name: "nvcf", utilizationWindowMs: 0 },
      { name: "nvcf", idleTimeoutMs: -1 },
      { name: "nvcf", decayFactor: -1 },
      { name: "nvcf", countIsSettled: 1 },
      { name: "nvcf", loopIntervalMs: 1_000, lookbackMs: 954_000 },
      { name: "nvcf", up: { ...direction, factor: 1 } },
      { name: "nvcf", up: { ...direction, stickiness: { sizeMs: 120_000, thresholdMs: -1 } } },
      { name: "nvcf", down: { ...direction, factor: 1 } },
      { name: "nvcf", down: { ...direction, factor: 0 } },
      { name: "nvcf", up: { ...direction, thresholdPercent: 30 } },
      { name: "shadow", acting: "demand", watched: { name: "fixed" } }
    ]
    for (const choice of wrong) assert.isFalse(isChoice(choice), JSON.stringify(choice))
  })

  it("that do not fit together are refused, and how is said", () => {
    const decode = Schema.decodeUnknownSync(PolicyChoice)
    const sticky = { ...direction, stickiness: { sizeMs: 60_000, thresholdMs: 60_000 } }
    assert.throws(() => decode({ name: "nvcf", up: sticky }), /thresholdMs must be less than sizeMs/)
    assert.throws(() => decode({ name: "nvcf", up: sticky }), /at \["up"\]\["stickiness"\]\["thresholdMs"\]/)
    const low = { thresholdPercent: 30, factor: 2, stickiness: null }
    assert.throws(() => decode({ name: "nvcf", up: low }), /up.thresholdPercent must be above down.thresholdPercent/)
    assert.throws(() => decode({ name: "nvcf", up: low }), /at \["up"\]/)
    const odd = { name: "nvcf", loopIntervalMs: 7_000, lookbackMs: 3_600_000 }
    assert.throws(
      () => decode(odd),
      /loopIntervalMs and utilizationWindowMs have only 1000 ms in common: take multiples of 5000/
    )
    assert.throws(() => decode(odd), /at \["loopIntervalMs"\]/)
    assert.throws(() => decode({ name: "knative", stableWindowMs: 6_500 }), /expected whole seconds, in milliseconds/)
  })
})
