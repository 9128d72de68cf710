import { assert, describe, it } from "vitest"
import * as Rendezvous from "../placement/Rendezvous.ts"
import * as Routing from "./Routing.ts"

const target = (name: string, more: Partial<Routing.Target> = {}): Routing.Target => ({
  name,
  state: "healthy",
  cordoned: false,
  draining: false,
  slots: 4,
  leased: 1,
  pending: 1,
  pendingMax: 10,
  startable: 0,
  ...more
})
const request = (more: Partial<Routing.Request> = {}): Routing.Request => ({
  clusters: [],
  key: "session-1",
  sticky: false,
  ...more
})
const route = (asked: Routing.Request, ...targets: ReadonlyArray<Routing.Target>) =>
  Routing.route({ request: asked, targets })
const told = (more: Partial<Routing.Target>, asked: Partial<Routing.Request> = {}) => {
  const [explanation] = route(request(asked), target("a", more)).explanations
  return `${explanation?.obstacle ?? "fits"}: ${explanation?.text}`
}
/** Both are free of load and warmth, so that the draw decides. */
const drawn = (key: string, ...names: ReadonlyArray<string>) =>
  names.reduce((left, right) => (Rendezvous.draw(key, left) > Rendezvous.draw(key, right) ? left : right))

describe("routing", () => {
  it("a cluster needs a worker or room for one, where it is known to have none", () => {
    const nowhere = "capacity: it has no worker for it and no room for one"
    assert.strictEqual(told({ slots: 0 }), nowhere)
    assert.strictEqual(told({ slots: Number.NaN, startable: Number.NaN }), nowhere)
    assert.strictEqual(told({ slots: 0, startable: 1, leased: 0, pending: 0 }), "fits: nothing of it is ready")
    assert.strictEqual(told({ slots: 1 }), "fits: 200 % busy, warm")
    assert.strictEqual(told({ slots: "unknown" }), "fits: of unknown load")
  })

  it("a queue is full at its limit, and unknown it is not", () => {
    assert.strictEqual(told({ pending: 10 }), "capacity: its queue is full (10 of 10)")
    assert.strictEqual(told({ pending: 11 }), "capacity: its queue is full (11 of 10)")
    assert.strictEqual(told({ pending: 9 }), "fits: 250 % busy, warm")
    assert.strictEqual(told({ pending: "unknown", pendingMax: 0 }), "fits: of unknown load, warm")
  })

  it("the load is requests for each slot, and unknown where a part of it is", () => {
    const load = (more: Partial<Routing.Target>) => Routing.loadOf(target("a", more))
    assert.strictEqual(load({}), 0.5)
    assert.strictEqual(load({ slots: 1, leased: 2, pending: 3 }), 5)
    for (const more of [{ slots: "unknown" }, { leased: "unknown" }, { pending: "unknown" }, { slots: 0 }] as const) {
      assert.isUndefined(load(more), JSON.stringify(more))
    }
  })

  it("tells each part of a score: load, warmth, distance and price", () => {
    const weights = { load: 3, warm: 0.25, locality: 1, price: 4, overloadedAt: 2 }
    const origin = { region: "eu", roundTripMs: { us: 100 } }
    const us = target("a", { region: "us", slots: 2, pricePerHour: 30 })
    const parts = (asked: Partial<Routing.Request>) => route(request({ origin, ...asked }), us).explanations[0]?.parts
    const far = { kind: "locality", points: -0.5, text: "100 ms away" } as const
    const dear = { kind: "price", points: -3, text: "30 per hour" } as const
    assert.deepStrictEqual(parts({ weights }), [
      { kind: "load", points: -1.5, text: "100 % busy" },
      { kind: "warm", points: 0.25, text: "warm" },
      far,
      dear
    ])
    assert.deepStrictEqual(parts({ weights, sticky: true }), [far, dear])
    assert.deepStrictEqual(parts({}), [
      { kind: "load", points: -0.5, text: "100 % busy" },
      { kind: "warm", points: 0.5, text: "warm" },
      far
    ])
    const cold = route(request(), target("a", { slots: 0, startable: 1 })).explanations[0]
    assert.deepStrictEqual(cold?.parts, [{ kind: "load", points: -1, text: "nothing of it is ready" }])
  })

  it("goes to the less loaded one, the nearer one, and where a worker is rather than where one could start", () => {
    assert.strictEqual(route(request(), target("a"), target("b", { leased: 0 })).cluster, "b")
    assert.strictEqual(
      route(request(), target("a", { slots: 0, startable: 9 }), target("b", { pending: 9 })).cluster,
      "b"
    )
    const origin = { region: "eu", roundTripMs: { us: 20 } }
    const two = [target("a", { region: "us" }), target("b", { region: "eu" })] as const
    const routed = route(request({ origin }), ...two)
    assert.deepStrictEqual([routed.cluster, routed.region, routed.isFallback], ["b", "eu", false])
    assert.strictEqual(route(request({ origin }), ...two.toReversed()).region, "eu")
  })

  it("is told in order of name, also when it goes nowhere, and a fallback is called one", () => {
    const asked = request({ clusters: ["c"], fallback: ["b", "a"] })
    const full = target("c", { pendingMax: 0 })
    const routed = route(asked, target("b", { region: "us" }), full, target("a"))
    assert.deepStrictEqual([routed.cluster, routed.region, routed.isFallback], ["b", "us", true])
    assert.deepStrictEqual(
      routed.explanations.map(({ cluster }) => cluster),
      ["a", "b", "c"]
    )
    const { explanations, ...nowhere } = route(asked, full)
    assert.deepStrictEqual(nowhere, { cluster: undefined, region: undefined, isFallback: false })
    assert.strictEqual(Routing.whyNowhere(explanations), "no cluster can take it: c: its queue is full (1 of 0)")
    const preferred = request({ clusters: ["b", "a"] })
    assert.strictEqual(route(preferred, target("a", { leased: 0 }), target("b")).cluster, "b")
  })

  it("a sticky key stays where it was drawn until that is overloaded, and a load that is unknown overloads nothing", () => {
    const key = "session-1"
    const home = drawn(key, "a", "b")
    const other = home === "a" ? "b" : "a"
    const sticky = (more: Partial<Routing.Target>, weights?: Routing.Weights) =>
      route(
        request({ key, sticky: true, ...(weights === undefined ? {} : { weights }) }),
        target(home, more),
        target(other, { leased: 0, pending: 0 })
      ).cluster
    assert.strictEqual(sticky({ leased: 4, pending: 3 }), home)
    assert.strictEqual(sticky({ leased: 4, pending: 4 }), other)
    assert.strictEqual(sticky({ leased: 4, pending: 4 }, { ...Routing.defaultWeights, overloadedAt: 2.1 }), home)
    assert.strictEqual(sticky({ leased: "unknown", pending: 9 }), home)
    assert.strictEqual(route(request({ key }), target(home, { leased: 4, pending: 3 }), target(other)).cluster, other)
  })

  it("a weight gives a cluster its share of the keys", () => {
    const keys = Array.from({ length: 2_000 }, (_, index) => `key-${index}`)
    const share = (weight: number) => {
      const to = keys.filter(
        (key) => route(request({ key, sticky: true }), target("a", { weight }), target("b")).cluster === "a"
      )
      return to.length / keys.length
    }
    assert.closeTo(share(1), 1 / 2, 0.04)
    assert.closeTo(share(3), 3 / 4, 0.04)
  })
})
