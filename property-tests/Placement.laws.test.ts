/**
 * Laws of placement (L16). Generators: up to five clusters of few names, types and kinds, with 0 to 2 free, so that most
 * requests have both refusals and candidates; the last law counts that.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Placement from "../src/core/placement/Placement.ts"

const instanceType = fc
  .record({
    name: fc.constantFrom("small", "large"),
    gpuKind: fc.constantFrom("none", "H100"),
    gpuCount: fc.constantFrom(0, 1, 8),
    free: fc.integer({ min: -1, max: 2 }),
    used: fc.nat(2)
  })
  .map(({ used, ...type }) => ({ ...type, total: Math.max(0, type.free) + used }))

const cluster: fc.Arbitrary<Placement.Cluster> = fc.record({
  name: fc.constantFrom("a", "b", "c", "d", "e"),
  state: fc.constantFrom("healthy", "healthy", "healthy", "unreachable"),
  cordoned: fc.nat(4).map((n) => n === 0),
  draining: fc.nat(6).map((n) => n === 0),
  instanceTypes: fc.uniqueArray(instanceType, { selector: ({ name }) => name, minLength: 1, maxLength: 2 }),
  warm: fc.boolean()
})
const clusters = fc.uniqueArray(cluster, { selector: ({ name }) => name, maxLength: 5 })

const request: fc.Arbitrary<Placement.Request> = fc.record({
  instanceType: fc.constantFrom("small", "large"),
  gpu: fc.constantFrom(
    { kind: "none", count: 0 },
    { kind: "none", count: 0 },
    { kind: "none", count: 0 },
    { kind: "any", count: 1 },
    { kind: "H100", count: 1 },
    { kind: "H100", count: 8 }
  ),
  clusters: fc.oneof(fc.constant([]), fc.uniqueArray(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 }))
})

/** Written anew, as a person would check it by hand. */
const fits = (wanted: Placement.Request, each: Placement.Cluster): boolean =>
  each.state === "healthy" &&
  !each.cordoned &&
  !each.draining &&
  (wanted.clusters.length === 0 || wanted.clusters.includes(each.name)) &&
  each.instanceTypes.some(
    (type) =>
      type.name === wanted.instanceType &&
      type.free > 0 &&
      type.gpuCount >= wanted.gpu.count &&
      (wanted.gpu.count === 0 || wanted.gpu.kind === "any" || wanted.gpu.kind === type.gpuKind)
  )

describe("placement: laws", () => {
  it("L16: only to a cluster that fits, and to one whenever one fits", () => {
    let placedCount = 0
    let refusedCount = 0
    fc.assert(
      fc.property(request, clusters, (wanted, all) => {
        const placed = Placement.place({ request: wanted, clusters: all })
        const fitting = all.filter((each) => fits(wanted, each)).map(({ name }) => name)
        if (placed.cluster === undefined) {
          assert.deepStrictEqual(fitting, [])
          refusedCount += 1
        } else {
          assert.include(fitting, placed.cluster)
          placedCount += 1
        }
        assert.sameMembers(
          placed.explanations.filter(({ isEligible }) => isEligible).map((each) => each.cluster),
          fitting
        )
        assert.strictEqual(placed.explanations.length, all.length, "one explanation for each candidate")
        assert.isTrue(placed.explanations.every(({ text }) => text.length > 0))
      }),
      { numRuns: 2_000 }
    )
    assert.isAbove(placedCount, 200)
    assert.isAbove(refusedCount, 200)
  })

  it("L16: placed one after the other, never more than were free", () => {
    fc.assert(
      fc.property(request, clusters, (wanted, all) => {
        let current: ReadonlyArray<Placement.Cluster> = all
        const placed = new Map<string, number>()
        for (let index = 0; index < 12; index++) {
          const { cluster: name } = Placement.place({ request: wanted, clusters: current })
          if (name === undefined) break
          placed.set(name, (placed.get(name) ?? 0) + 1)
          current = Placement.reserve(current, name, wanted)
        }
        const capacity = all
          .filter((each) => fits(wanted, each))
          .map(
            (each) => [each.name, each.instanceTypes.find(({ name }) => name === wanted.instanceType)!.free] as const
          )
        assert.deepStrictEqual([...placed].sort(), capacity.sort())
      }),
      { numRuns: 1_000 }
    )
  })

  it("L16: the order of the candidates does not matter, nor the second time", () => {
    fc.assert(
      fc.property(request, clusters, fc.infiniteStream(fc.nat()), (wanted, all, keys) => {
        const shuffled = all
          .map((each) => ({ each, key: keys.next().value ?? 0 }))
          .sort((left, right) => left.key - right.key)
          .map(({ each }) => each)
        assert.deepStrictEqual(
          Placement.place({ request: wanted, clusters: shuffled }),
          Placement.place({ request: wanted, clusters: all })
        )
      })
    )
  })

  it("L16: minimal movement: a cluster that leaves and was not chosen changes no choice", () => {
    fc.assert(
      fc.property(request, clusters, (wanted, all) => {
        const { cluster: chosen } = Placement.place({ request: wanted, clusters: all })
        for (const gone of all) {
          if (gone.name === chosen) continue
          const rest = all.filter((each) => each !== gone)
          assert.strictEqual(Placement.place({ request: wanted, clusters: rest }).cluster, chosen)
        }
      })
    )
  })

  it("a named order is followed, then the emptier cluster, then a warm one that is nearly as empty", () => {
    const of = (name: string, free: number, warm = false): Placement.Cluster => ({
      name,
      state: "healthy",
      cordoned: false,
      draining: false,
      instanceTypes: [{ name: "small", gpuKind: "none", gpuCount: 0, total: 100, free }],
      warm
    })
    const any: Placement.Request = { instanceType: "small", gpu: { kind: "none", count: 0 }, clusters: [] }
    const choose = (wanted: Placement.Request, ...all: Array<Placement.Cluster>) =>
      Placement.place({ request: wanted, clusters: all }).cluster
    assert.strictEqual(choose({ ...any, clusters: ["b", "a"] }, of("a", 99), of("b", 1)), "b")
    assert.strictEqual(choose(any, of("a", 50), of("b", 60)), "b")
    assert.strictEqual(choose(any, of("a", 55, true), of("b", 60)), "a")
    assert.strictEqual(choose(any, of("a", 40, true), of("b", 60)), "b")
    assert.strictEqual(choose(any, of("b", 50), of("a", 50)), "a")
  })

  it("says for each cluster why not, in one sentence", () => {
    const { explanations } = Placement.place({
      request: { instanceType: "small", gpu: { kind: "H100", count: 8 }, clusters: [] },
      clusters: [
        {
          name: "a",
          state: "healthy",
          cordoned: false,
          draining: false,
          instanceTypes: [{ name: "small", gpuKind: "H100", gpuCount: 4, total: 2, free: 2 }],
          warm: false
        },
        { name: "b", state: "unreachable", cordoned: false, draining: false, instanceTypes: [], warm: false }
      ]
    })
    assert.strictEqual(
      Placement.whyNowhere(explanations),
      "no cluster can take it: a: an instance of type small has 4 GPUs and 8 were asked for; b: it is unreachable"
    )
    assert.strictEqual(Placement.whyNowhere([]), "no cluster has reported yet")
  })
})
