/**
 * What holds for every policy that a deployment can name.
 *
 * - L14: within the bounds, never zero with work, never lower for something unknown.
 * - Q1: looking more often changes nothing. Windows are windows of time, not of looks.
 * - Q2: a reason names no figure that is not among the inputs, and there is always one.
 * - Q3: memory is bounded, however long the history is.
 * - S1, S2: a shadow changes nothing, and its record is bounded.
 *
 * Generators: loads of 0 to 12, up to 8 ready, gaps of 1 to 8 and of up to 400 units, a tenth to a quarter unknown.
 */
import { readFileSync } from "node:fs"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as HistogramPolicy from "../src/core/scaling/HistogramPolicy.ts"
import * as HpaPolicy from "../src/core/scaling/HpaPolicy.ts"
import * as KedaPolicy from "../src/core/scaling/KedaPolicy.ts"
import * as KnativePolicy from "../src/core/scaling/KnativePolicy.ts"
import * as NvcfPolicy from "../src/core/scaling/NvcfPolicy.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Policy, PolicySpec } from "../src/core/scaling/Policy.ts"
import { seconds } from "../src/core/scaling/Policy.ts"
import { type Plain, PolicyChoice, PolicyName } from "../src/core/scaling/PolicyChoice.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"
import * as ShadowPolicy from "../src/core/scaling/ShadowPolicy.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

/** Every policy as it is by default, and with options that make everything happen sooner. */
const choices: ReadonlyArray<readonly [string, Plain]> = [
  ...PolicyName.literals.map((name): readonly [string, Plain] => [name, { name }]),
  ["quick knative", { name: "knative", stableWindowMs: 6_000, panicWindowMs: 1_000, scaleToZeroGraceMs: 2_000 }],
  [
    "quick keda",
    {
      name: "keda",
      pollingIntervalMs: 2_000,
      syncIntervalMs: 1_000,
      cooldownMs: 3_000,
      stabilizationDownMs: 3_000,
      stabilizationUpMs: 2_000
    }
  ],
  ["quick hpa", { name: "hpa", syncIntervalMs: 1_000, stabilizationDownMs: 3_000, stabilizationUpMs: 2_000 }],
  ["quick histogram", { name: "histogram", binMs: 1_000, binCount: 10, idleTimesMin: 2, variationMin: 0.1 }],
  ["quick nvcf", { name: "nvcf", loopIntervalMs: 5_000, idleTimeoutMs: 1_000, countIsSettled: false }]
]

const histories = World.steps({ gridMs: 250, gapMax: 400, unknownShare: 15, lengthMax: 25 })
const bounds: fc.Arbitrary<PolicySpec> = fc
  .record({ minInstances: fc.nat(3), above: fc.nat(6) })
  .map(({ minInstances, above }) => ({
    ...World.spec,
    minInstances,
    maxInstances: Math.max(1, minInstances + above)
  }))

/** L14 over one history, with bounds that change on the way. */
const isLawful = (start: () => Scaling.Running) =>
  fc.property(histories, fc.array(bounds, { minLength: 1, maxLength: 3 }), (history, specs) => {
    let machine = start()
    let arrivalsTotal = 0
    history.forEach((step, index) => {
      const of = specs[index % specs.length]!
      arrivalsTotal += step.arrived
      const before = machine.desired
      const observation = World.observationAt(step.atMs, step, arrivalsTotal, { desired: before, of })
      machine = machine.next(Scaling.Event.Observed({ observation }))[0]
      const { desired } = machine
      assert.isTrue(Number.isInteger(desired))
      assert.isAtLeast(desired, of.minInstances, "min")
      assert.isAtMost(desired, of.maxInstances, "max")
      const load = World.demandOf(step)
      const hasWork = (step.pending !== "unknown" && step.pending > 0) || (step.leased !== "unknown" && step.leased > 0)
      if (hasWork) assert.isAtLeast(desired, 1, "something is pending or leased")
      if (desired === 0 && before > 0) assert.strictEqual(load, 0, "to zero on something unknown")
      if (load !== "unknown") return
      const present = Math.min(Math.max(before, step.ready + step.starting), of.maxInstances)
      assert.isAtLeast(desired, present, "unknown lowered it")
    })
  })

/** Q1. Looks are added strictly between the moments at which something happens or is due. */
const ignoresLooks = <Memory>(policy: Policy<Memory>) =>
  fc.property(histories, fc.array(fc.nat(60_000), { maxLength: 30 }), (history, offsets) => {
    const tailMs = 60_000
    // Never at a whole unit of 250 ms: there, steps and beats are.
    const extra = offsets.map((offset) => history[0]!.atMs + offset * 5 + 1)
    const seldom = World.open(policy, history, { tailMs })
    const often = World.open(policy, history, { tailMs, extra })
    assert.deepStrictEqual(often.changes, seldom.changes)
  })

const numbers = (text: string): ReadonlyArray<string> => text.match(/(?<![\w.])-?\d+(?:\.\d+)?/g) ?? []

/** As it is, rounded to as many places as the reason shows, or as seconds. */
const isAmong = (shown: string, inputs: Readonly<Record<string, number | string | null>>): boolean => {
  const places = shown.split(".")[1]?.length ?? 0
  return Object.entries(inputs).some(([name, value]) => {
    if (typeof value !== "number") return false
    if (name.endsWith("Ms") && seconds(value).startsWith(`${shown} `)) return true
    const rounded = Math.round(value * 100) / 100
    return Number(rounded.toFixed(places)) === Number(shown) || Number(value.toFixed(places)) === Number(shown)
  })
}

/** Q2. */
const explains = <Memory>(policy: Policy<Memory>) =>
  fc.property(histories, (history) => {
    for (const { decision } of World.open(policy, history, { tailMs: 30_000 }).looks) {
      assert.isAtLeast(decision.reason.length, 10)
      const known = { ...decision.inputs, answer: decision.desired }
      for (const shown of numbers(decision.reason)) {
        if (!isAmong(shown, known)) {
          assert.fail(`${shown} is not among the inputs: "${decision.reason}" ${JSON.stringify(decision.inputs)}`)
        }
      }
    }
  })

/** What was decided, when, why, and by what. */
const decided = (looks: ReadonlyArray<World.Look>) =>
  looks
    .filter(({ observation, decision }) => decision.desired !== observation.desired)
    .map(({ observation: { nowMs }, decision: { desired, reason, inputs } }) => ({ nowMs, desired, reason, inputs }))

const sizeOf = (memory: unknown): number => JSON.stringify(memory).length

const holds = <Inputs>(property: fc.IProperty<Inputs>) =>
  !fc.check(property, { numRuns: 300, endOnFailure: true }).failed

describe("policies: laws of all", () => {
  for (const [name, choice] of choices) {
    it(`L14: ${name} keeps to the bounds, to work and to what is unknown`, () => {
      upholds(
        isLawful(() => Policies.start(choice)),
        { numRuns: 150 }
      )
    })

    it(`Q1: looking more often changes nothing under ${name}`, () => {
      upholds(
        Policies.withPolicy(choice, (policy) => ignoresLooks(policy)),
        { numRuns: 60 }
      )
    })

    it(`Q2: every figure in a reason of ${name} is among the inputs`, () => {
      upholds(
        Policies.withPolicy(choice, (policy) => explains(policy)),
        { numRuns: 40 }
      )
    })
  }

  it("Q1 kills: a policy that counts looks instead of time", () => {
    assert.isFalse(holds(ignoresLooks(Bugs.countsLooks)))
  })

  it("Q2 kills: a reason with a figure from nowhere", () => {
    assert.isFalse(holds(explains(Bugs.makesFiguresUp)))
  })

  it("Q3: no memory grows with the length of the history", () => {
    const step = (index: number): World.Step => ({
      atMs: World.startMs + index * 777,
      pending: index % 7,
      leased: (index * 5) % 11,
      arrived: index % 3,
      ready: index % 9,
      starting: index % 2
    })
    const history = Array.from({ length: 3_000 }, (_, index) => step(index))
    for (const [name, choice] of choices) {
      Policies.withPolicy(choice, (policy) => {
        const sizeAfter = (count: number) =>
          sizeOf(World.open(policy, history.slice(0, count), { tailMs: 0, guarded: true }).memory)
        const grown = sizeAfter(3_000) / sizeAfter(1_000)
        assert.isAtMost(grown, 1.3, `${name} grew`)
      })
    }
  })
})

describe("policies: shadow", () => {
  const pairs = fc.tuple(fc.constantFrom(...choices), fc.constantFrom(...choices))

  it("S1: the acting policy decides as it does alone, whatever is watched", () => {
    upholds(
      fc.property(pairs, histories, ([[, acting], [, watched]], history) =>
        Policies.withPolicy(acting, (one) =>
          Policies.withPolicy(watched, (other) => {
            const options = { tailMs: 30_000, guarded: true }
            const alone = World.open(one, history, options)
            const shadowed = World.open(ShadowPolicy.shadow(one, other), history, options)
            assert.deepStrictEqual(decided(shadowed.looks), decided(alone.looks))
          })
        )
      ),
      { numRuns: 150 }
    )
  })

  it("S1: a policy that shadows itself never differs", () => {
    upholds(
      fc.property(fc.constantFrom(...choices), histories, ([, choice], history) =>
        Policies.withPolicy(choice, (policy) => {
          const { memory } = World.open(ShadowPolicy.shadow(policy, policy), history, { tailMs: 30_000, guarded: true })
          assert.deepStrictEqual(memory.differences, [])
        })
      ),
      { numRuns: 100 }
    )
  })

  it("S2: each difference is recorded with both reasons, the latest are kept, all are counted", () => {
    const up = Bugs.alternating("up", 0)
    const down = Bugs.alternating("down", 1)
    const history = Array.from({ length: 1_000 }, (_, index) => ({
      atMs: World.startMs + index * 10,
      pending: 0,
      leased: 0,
      arrived: 0,
      ready: 0,
      starting: 0
    }))
    const { memory } = World.open(ShadowPolicy.shadow(up, down), history, { tailMs: 0, guarded: true })
    assert.strictEqual(memory.differenceCount, 1_000)
    assert.strictEqual(memory.differences.length, ShadowPolicy.differencesMax)
    assert.strictEqual(memory.differences.at(-1)?.atMs, World.startMs + 9_990)
    for (const { acting, watched } of memory.differences) {
      assert.notStrictEqual(acting.desired, watched.desired)
      assert.include(acting.reason, "up")
      assert.include(watched.reason, "down")
    }
  })

  it("a machine by name shows its differences", () => {
    const choice: PolicyChoice = { name: "shadow", acting: { name: "demand" }, watched: { name: "fixed" } }
    const idle = { atMs: World.startMs, pending: 0, leased: 0, arrived: 0, ready: 0, starting: 0 }
    const observation = World.observationAt(World.startMs, idle, 0, { desired: 0 })
    const [machine] = Policies.start(choice).next(Scaling.Event.Observed({ observation }))
    assert.strictEqual(machine.policy, "shadow(demand, fixed)")
    assert.deepStrictEqual(
      machine.differences.map(({ acting, watched }) => [acting.desired, watched.desired]),
      [[0, 1]]
    )
  })
})

describe("policies: choices", () => {
  const decode = Schema.decodeUnknownOption(PolicyChoice, { onExcessProperty: "error" })

  it("every policy can be named alone, and by an object", () => {
    for (const name of PolicyName.literals) {
      for (const choice of [name, { name }]) {
        assert.strictEqual(decode(choice)._tag, "Some")
        assert.strictEqual(Policies.start(choice).policy, name)
      }
    }
    for (const [, choice] of choices) assert.strictEqual(decode(choice)._tag, "Some", JSON.stringify(choice))
  })

  it("what a policy could not work with is refused", () => {
    for (const choice of [
      "shadow",
      "none",
      { name: "shadow", acting: "demand", watched: { name: "nvcf" } },
      { name: "knative", stableWindowMs: 6_500 },
      { name: "knative", stabelWindowMs: 6_000 },
      { name: "knative", maxScaleUpRate: 1 },
      { name: "hpa", stabilizationDownMs: 3_600_001 },
      { name: "histogram", binCount: 100_000 },
      { name: "nvcf", loopIntervalMs: 1_000, lookbackMs: 3_600_000 },
      { name: "nvcf", up: { thresholdPercent: 30, factor: 1.2, stickiness: null } },
      { name: "nvcf", down: { thresholdPercent: 30, factor: 1, stickiness: null } },
      { name: "nvcf", up: { thresholdPercent: 70, factor: 1.2, stickiness: { sizeMs: 60_000, thresholdMs: 60_000 } } }
    ]) {
      assert.strictEqual(decode(choice)._tag, "None", JSON.stringify(choice))
    }
  })

  it("the same choice goes on, another one begins anew", () => {
    assert.isTrue(Policies.isSame({ name: "keda", cooldownMs: 1 }, { name: "keda", cooldownMs: 1 }))
    assert.isFalse(Policies.isSame({ name: "keda", cooldownMs: 1 }, { name: "keda", cooldownMs: 2 }))
    assert.isFalse(Policies.isSame("demand", "fixed"))
  })
})

describe("docs/policies.md", () => {
  const text = readFileSync(new URL("../docs/policies.md", import.meta.url), "utf8")
  const sectionOf = (name: string): string => text.split(/^## /m).find((part) => part.startsWith(`${name}\n`)) ?? ""

  it("has every policy, and every option of it with its default", () => {
    for (const [name, defaults] of Object.entries({
      knative: KnativePolicy.defaults,
      hpa: HpaPolicy.defaults,
      histogram: HistogramPolicy.defaults,
      nvcf: NvcfPolicy.defaults
    })) {
      for (const [option, value] of Object.entries(defaults)) {
        const shown = typeof value === "object" && value !== null ? `\`${JSON.stringify(value)}\`` : String(value)
        assert.include(sectionOf(name), `| \`${option}\` | ${shown} |`)
      }
    }
    for (const name of [...PolicyName.literals, "shadow"]) assert.include(text, `| [\`${name}\`](#${name}) |`)
    for (const option of Object.keys(KedaPolicy.defaults)) assert.include(sectionOf("keda"), `\`${option}\``)
  })

  it("shows choices that are valid", () => {
    const examples = [...text.matchAll(/^```json\n(.*?)^```/gms)].map(([, json]) => JSON.parse(json ?? "").policy)
    assert.strictEqual(examples.length, 3)
    for (const example of examples) {
      assert.isTrue(Schema.is(PolicyChoice)(example), JSON.stringify(example))
    }
  })
})
