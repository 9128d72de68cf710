import { assert, describe, it } from "vitest"
import * as Placement from "./Placement.ts"
import * as Rendezvous from "./Rendezvous.ts"

const type = (more: Partial<Placement.InstanceType> = {}): Placement.InstanceType => ({
  name: "h100.1x",
  gpuKind: "H100",
  gpuCount: 1,
  gpuMemoryBytes: 80,
  memoryBytes: 200,
  total: 4,
  free: 2,
  ...more
})
const cluster = (name: string, more: Partial<Placement.Cluster> = {}): Placement.Cluster => ({
  name,
  state: "healthy",
  cordoned: false,
  draining: false,
  warm: false,
  instanceTypes: [type()],
  ...more
})
const request = (more: Partial<Placement.Request> = {}): Placement.Request => ({
  clusters: [],
  instanceType: "h100.1x",
  gpu: { kind: "H100", count: 1 },
  ...more
})
const place = (asked: Placement.Request, ...clusters: ReadonlyArray<Placement.Cluster>) =>
  Placement.place({ request: asked, clusters })
/** What it says of one cluster. */
const told = (asked: Partial<Placement.Request>, given: Partial<Placement.InstanceType> = {}) => {
  const [explanation] = place(request(asked), cluster("a", { instanceTypes: [type(given)] })).explanations
  return `${explanation?.obstacle ?? "fits"}: ${explanation?.text}`
}

describe("placement", () => {
  it("says of an instance type what it lacks", () => {
    assert.strictEqual(told({ instanceType: "x" }), "instance-type: it has no instance type x (it has h100.1x)")
    const none = place(request(), cluster("a", { instanceTypes: [] })).explanations
    assert.strictEqual(none[0]?.text, "it has no instance type h100.1x (it has none)")
    const two = place(request({ instanceType: "x" }), cluster("a", { instanceTypes: [type(), type({ name: "b" })] }))
    assert.strictEqual(two.explanations[0]?.text, "it has no instance type x (it has h100.1x, b)")
    assert.strictEqual(
      told({ gpu: { kind: "any", count: 2 } }),
      "gpu: an instance of type h100.1x has 1 GPUs and 2 were asked for"
    )
    assert.strictEqual(told({ gpu: { kind: "H200", count: 1 } }), "gpu: its GPUs are H100 and H200 were asked for")
    assert.strictEqual(
      told({ gpu: { kind: "H100", count: 1, memoryBytes: 81 } }),
      "memory: a GPU has 80 bytes of memory and 81 were asked for"
    )
    assert.strictEqual(
      told({ memoryBytes: 201 }),
      "memory: an instance of type h100.1x has 200 bytes of memory and 201 were asked for"
    )
    const { memoryBytes, ...silent } = type()
    const [unknown] = place(request({ memoryBytes: 1 }), cluster("a", { instanceTypes: [silent] })).explanations
    assert.strictEqual(
      unknown?.text,
      "an instance of type h100.1x has an unknown number of bytes of memory and 1 were asked for"
    )
    assert.strictEqual(told({}, { free: 0 }), "capacity: 0 of 4 instances of type h100.1x are free")
    assert.strictEqual(told({}, { free: Number.NaN }), "capacity: 0 of 4 instances of type h100.1x are free")
  })

  it("asks for no kind in particular where none is named, and for no memory of GPUs that nobody asked for", () => {
    for (const kind of ["any", "none", "", "H100"]) assert.match(told({ gpu: { kind, count: 1 } }), /^fits/)
    assert.match(told({ gpu: { kind: "H200", count: 0, memoryBytes: 900 } }), /^fits/)
    assert.match(told({ gpu: { kind: "H100", count: 1, memoryBytes: 80 }, memoryBytes: 200 }), /^fits/)
    const { memoryBytes, gpuMemoryBytes, ...silent } = type()
    const asked = request({ gpu: { kind: "any", count: 1, memoryBytes: 0 }, memoryBytes: 0 })
    assert.strictEqual(place(asked, cluster("a", { instanceTypes: [silent] })).cluster, "a")
  })

  it("tells each part of a score: how free, how warm, how near and what it costs", () => {
    const weights = { free: 2, warm: 0.25, locality: 1, price: 4 }
    const origin = { region: "eu", roundTripMs: { us: 100 } }
    const us = cluster("a", {
      region: "us",
      warm: true,
      instanceTypes: [type({ free: 1, total: 3, pricePerHour: 30 })]
    })
    const [explanation] = place(request({ weights, origin }), us).explanations
    assert.deepStrictEqual(explanation?.parts, [
      { kind: "free", points: 2 / 3, text: "33 % free" },
      { kind: "warm", points: 0.25, text: "warm" },
      { kind: "locality", points: -0.5, text: "100 ms away" },
      { kind: "price", points: -3, text: "30 per hour" }
    ])
    assert.strictEqual(explanation?.text, "33 % free, warm, 100 ms away, 30 per hour")
    const [plain] = place(request(), cluster("a")).explanations
    assert.deepStrictEqual(plain?.parts, [{ kind: "free", points: 0.5, text: "50 % free" }])
    const [odd] = place(request(), cluster("a", { instanceTypes: [type({ total: 0 })] })).explanations
    assert.deepStrictEqual(odd?.parts, [{ kind: "free", points: 0, text: "0 % free" }])
    const [one] = place(request(), cluster("a", { instanceTypes: [type({ total: 1, free: 1 })] })).explanations
    assert.deepStrictEqual(one?.parts, [{ kind: "free", points: 1, text: "100 % free" }])
  })

  it("goes to the emptier one, unless a warm one is nearly as empty", () => {
    const free = (name: string, count: number, more: Partial<Placement.Cluster> = {}) =>
      cluster(name, { instanceTypes: [type({ total: 100, free: count })], ...more })
    assert.strictEqual(place(request(), free("a", 50), free("b", 51)).cluster, "b")
    assert.strictEqual(place(request(), free("a", 50, { warm: true }), free("b", 59)).cluster, "a")
    assert.strictEqual(place(request(), free("a", 50, { warm: true }), free("b", 61)).cluster, "b")
    assert.strictEqual(place(request(), free("b", 50), free("a", 50)).cluster, "a", "the name decides between equals")
    const origin = { region: "eu", roundTripMs: { us: 100 } }
    const near = free("z", 30, { region: "eu" })
    assert.strictEqual(place(request({ origin }), free("a", 54, { region: "us" }), near).cluster, "z")
    assert.strictEqual(place(request({ origin }), free("a", 56, { region: "us" }), near).cluster, "a")
    const dear = cluster("a", { instanceTypes: [type({ pricePerHour: 900 })] })
    assert.strictEqual(place(request(), dear, cluster("b")).cluster, "a", "the price is no matter of its own")
  })

  it("is told in order of name, with the cluster that was chosen and whether it was a fallback", () => {
    const asked = request({ clusters: ["c"], fallback: ["b", "a"] })
    const full = cluster("c", { instanceTypes: [type({ free: 0 })] })
    const fallback = place(asked, cluster("a"), full, cluster("b"))
    assert.deepStrictEqual([fallback.cluster, fallback.isFallback], ["b", true])
    assert.deepStrictEqual(
      fallback.explanations.map((each) => each.cluster),
      ["a", "b", "c"]
    )
    assert.deepStrictEqual(place(asked, cluster("a"), cluster("c")).isFallback, false)
    assert.deepStrictEqual(place(asked, full), {
      cluster: undefined,
      isFallback: false,
      explanations: place(asked, full).explanations
    })
  })

  it("spread, the fewest placed come first, whatever is named or free, and a fallback last of all", () => {
    const asked = request({ clusters: ["a", "b", "c"], fallback: ["d"], spread: "clusters" })
    const busy = cluster("c", { placed: 1, instanceTypes: [type({ free: 1 })] })
    assert.strictEqual(place(asked, cluster("a", { placed: 2 }), cluster("b", { placed: 2 }), busy).cluster, "c")
    assert.strictEqual(place(asked, cluster("a", { placed: 1 }), cluster("b")).cluster, "b")
    assert.strictEqual(place(asked, cluster("a", { placed: 9 }), cluster("d")).cluster, "a")
    const inOrder = request({ clusters: ["b", "a"] })
    assert.strictEqual(place(inOrder, cluster("a"), cluster("b", { placed: 9 })).cluster, "b")
    assert.strictEqual(place({ ...inOrder, spread: "none" }, cluster("a"), cluster("b", { placed: 9 })).cluster, "b")
  })

  it("a key decides between equals as the draw says", () => {
    const names = ["a", "b", "c", "d"]
    for (const key of ["one", "two", "three", "four", "five"]) {
      const best = names.reduce((left, right) =>
        Rendezvous.draw(key, left) > Rendezvous.draw(key, right) ? left : right
      )
      assert.strictEqual(place(request({ key }), ...names.map((name) => cluster(name))).cluster, best)
    }
  })

  it("a reservation takes one of that type there, and counts and warms it", () => {
    const other = type({ name: "other", free: 7 })
    const a = cluster("a", { instanceTypes: [type(), other] })
    const b = cluster("b", { placed: 3 })
    const before = [a, b]
    const [first, second] = Placement.reserve(before, "a", request())
    assert.deepStrictEqual(first, { ...a, warm: true, placed: 1, instanceTypes: [type({ free: 1 }), other] })
    assert.strictEqual(second, b)
    assert.strictEqual(Placement.reserve(before, "b", request())[1]?.placed, 4)
  })
})

describe("the draw of a name for a key", () => {
  it("is the same on every machine and for ever, or keys would move with a release", () => {
    const drawn = [
      ["key", "name"],
      ["ab", "c"],
      ["a", "bc"],
      ["", ""]
    ].map(([key, name]) => Rendezvous.draw(key!, name!))
    assert.deepStrictEqual(drawn, [1.9167584277814005, 0.36275203307346987, 0.6297984977164788, 7.185950229588861])
    assert.strictEqual(Rendezvous.draw("key", "name", 3), 3 * Rendezvous.draw("key", "name"))
  })
})
