import { assert, describe, it } from "vitest"
import * as Candidate from "./Candidate.ts"

const site = (more: Partial<Candidate.Site> = {}): Candidate.Site => ({
  name: "a",
  state: "healthy",
  cordoned: false,
  draining: false,
  ...more
})
const anywhere: Candidate.Demands = { clusters: [] }

describe("a candidate", () => {
  it("is better by rank, then order, then points, then draw, then name", () => {
    const one: Candidate.Candidate = { name: "m", rank: 1, order: 1, points: 1, draw: 1 }
    const better: ReadonlyArray<Partial<Candidate.Candidate>> = [
      { rank: 0, order: 9, points: 0, draw: 0, name: "z" },
      { order: 0, points: 0, draw: 0, name: "z" },
      { points: 2, draw: 0, name: "z" },
      { draw: 2, name: "z" },
      { name: "a" }
    ]
    for (const more of better) {
      assert.isTrue(Candidate.isBetter({ ...one, ...more }, one), JSON.stringify(more))
      assert.isFalse(Candidate.isBetter(one, { ...one, ...more }), JSON.stringify(more))
    }
    assert.isFalse(Candidate.isBetter(one, one))
  })

  it("is refused for what a person decided first, then for its health, then for what it is", () => {
    const demands: Candidate.Demands = {
      clusters: ["x", "y"],
      fallback: ["z"],
      regions: ["eu", "us"],
      groups: ["g", "h"],
      attributes: ["nvlink", "rdma"],
      compliance: ["soc2", "iso"]
    }
    const good = { name: "z", region: "us", group: "h", attributes: ["rdma", "nvlink"], compliance: ["iso", "soc2"] }
    const bad = { region: "ap", group: "q", attributes: ["rdma"], compliance: [] }
    const refusal = (more: Partial<Candidate.Site>) => {
      const found = Candidate.refuseSite(demands, site({ ...good, ...more }))
      return found === undefined ? "fits" : `${found.obstacle}: ${found.text}`
    }
    const ill = { state: "unreachable", draining: true, cordoned: true, ...bad } as const
    assert.strictEqual(refusal({ ...ill, name: "a" }), "not-named: not among the clusters of the deployment (x, y, z)")
    assert.strictEqual(refusal(ill), "unreachable: it is unreachable")
    assert.strictEqual(refusal({ ...ill, state: "unhealthy" }), "draining: it is being drained")
    assert.strictEqual(refusal({ ...ill, state: "unhealthy", draining: false }), "cordoned: it is cordoned")
    assert.strictEqual(refusal({ ...bad, state: "unhealthy" }), "unhealthy: it is unhealthy")
    assert.strictEqual(refusal(bad), "region: its region is ap, not eu or us")
    assert.strictEqual(refusal({ ...bad, region: "eu" }), "group: its group is q, not g or h")
    assert.strictEqual(refusal({ ...bad, region: "eu", group: "g" }), "attributes: it lacks nvlink")
    assert.strictEqual(
      refusal({ ...bad, region: "eu", group: "g", attributes: ["nvlink", "rdma", "x"] }),
      "compliance: it is not certified for soc2, iso"
    )
    for (const name of ["x", "y", "z"]) assert.strictEqual(refusal({ name }), "fits")
  })

  it("of which something is not known is refused where that is asked for, and only there", () => {
    const obstacle = (demands: Partial<Candidate.Demands>) => {
      const found = Candidate.refuseSite({ ...anywhere, ...demands }, site())
      return found === undefined ? "fits" : found.text
    }
    assert.strictEqual(obstacle({}), "fits")
    assert.strictEqual(obstacle({ regions: [], groups: [], attributes: [], compliance: [], fallback: ["z"] }), "fits")
    assert.strictEqual(obstacle({ regions: ["eu"] }), "its region is unknown, not eu")
    assert.strictEqual(obstacle({ groups: ["g"] }), "its group is unknown, not g")
    assert.strictEqual(obstacle({ attributes: ["x", "y"] }), "it lacks x, y")
    assert.strictEqual(obstacle({ compliance: ["x"] }), "it is not certified for x")
    assert.strictEqual(obstacle({ clusters: ["b"] }), "not among the clusters of the deployment (b)")
  })

  it("has the rank in which it is named, a fallback one after all others", () => {
    const demands: Candidate.Demands = { clusters: ["x", "y"], fallback: ["z", "y", "w"] }
    const ranks = (given: Candidate.Demands) => ["x", "y", "z", "w", "v"].map((name) => Candidate.rankOf(given, name))
    assert.deepStrictEqual(ranks(demands), [0, 1, 3, 5, 2])
    assert.deepStrictEqual(ranks({ clusters: ["x"] }), [0, 1, 1, 1, 1])
    const fallbacks = ["x", "y", "z", "w", "v"].filter((name) => Candidate.isFallback(demands, name))
    assert.deepStrictEqual(fallbacks, ["z", "w"])
    assert.isFalse(Candidate.isFallback(anywhere, "x"))
  })

  it("loses half of a weight at 100 ms of distance or a price of 10, and all of it where they are unknown", () => {
    const origin = { region: "eu", roundTripMs: { us: 100, ap: 300 } }
    const far = (region: string | undefined) =>
      Candidate.locality(origin, region === undefined ? site() : site({ region }), 2)
    assert.deepStrictEqual(far("us"), { kind: "locality", points: -1, text: "100 ms away" })
    assert.deepStrictEqual(far("ap"), { kind: "locality", points: -1.5, text: "300 ms away" })
    assert.deepStrictEqual(far("eu"), { kind: "locality", points: -0, text: "0 ms away" })
    const unknown = { kind: "locality", points: -2, text: "of unknown distance" }
    assert.deepStrictEqual([far("af"), far(undefined)], [unknown, unknown])
    assert.isUndefined(Candidate.locality(undefined, site(), 2))
    assert.isUndefined(Candidate.locality(origin, site(), 0))
    assert.deepStrictEqual(Candidate.price(10, 2), { kind: "price", points: -1, text: "10 per hour" })
    assert.deepStrictEqual(Candidate.price(undefined, 2), { kind: "price", points: -2, text: "of unknown price" })
    assert.isUndefined(Candidate.price(10, 0))
    assert.deepStrictEqual(Candidate.warmth(true, 0.5), { kind: "warm", points: 0.5, text: "warm" })
    assert.isUndefined(Candidate.warmth(false, 0.5))
    assert.isUndefined(Candidate.warmth(true, 0))
  })

  it("saturates from 0 at nothing over a half to 1; what is no number is taken for the worst", () => {
    const values = [0, 4, 12, -3, Number.POSITIVE_INFINITY, Number.NaN, undefined]
    assert.deepStrictEqual(
      values.map((value) => Candidate.saturate(value, 4)),
      [0, 0.5, 0.75, 0, 1, 1, 1]
    )
    const parts = [0.5, -2, 4].map((points) => ({ kind: "free", points, text: "" }) as const)
    assert.strictEqual(Candidate.sum(parts), 2.5)
  })

  it("that fits says what spoke for it and which choice it was; that does not fit says why", () => {
    const demands: Candidate.Demands = { clusters: ["x", "y", "z"], fallback: ["w"] }
    const part = (text: string) => ({ kind: "free", points: 1, text }) as const
    const told = (name: string, texts: ReadonlyArray<string>, given = demands) => {
      const candidate = { name, rank: Candidate.rankOf(given, name), order: 0, points: 0, draw: 0 }
      const parts = texts.map(part)
      const { text, ...rest } = Candidate.eligible(candidate, parts, given)
      assert.deepStrictEqual(rest, { cluster: name, isEligible: true, obstacle: null, parts })
      return text
    }
    assert.strictEqual(told("x", ["warm", "5 ms away"]), "warm, 5 ms away")
    assert.strictEqual(told("y", ["warm"]), "warm, choice 2")
    assert.strictEqual(told("z", []), "choice 3")
    assert.strictEqual(told("w", ["warm"]), "warm, a fallback")
    assert.strictEqual(told("x", []), "it fits")
    assert.strictEqual(told("v", [], anywhere), "it fits")
    assert.strictEqual(told("v", [], { clusters: ["x"], fallback: ["v"] }), "a fallback")
    assert.deepStrictEqual(Candidate.refused("x", Candidate.no("gpu", "too few")), {
      cluster: "x",
      isEligible: false,
      text: "too few",
      obstacle: "gpu",
      parts: []
    })
  })

  it("a spread leaves no choice to be named beyond those that are named", () => {
    const candidate = { name: "z", rank: 3, order: 0, points: 0, draw: 0 }
    assert.strictEqual(Candidate.eligible(candidate, [], { clusters: ["x", "y", "z"] }).text, "it fits")
  })

  it("where none is left, one sentence says why of each", () => {
    assert.strictEqual(Candidate.whyNowhere([]), "no cluster has reported yet")
    const refused = ["a", "b"].map((name) => Candidate.refused(name, Candidate.no("gpu", `${name} is small`)))
    assert.strictEqual(Candidate.whyNowhere(refused), "no cluster can take it: a: a is small; b: b is small")
    const names = [{ name: "b" }, { name: "a" }, { name: "b" }, { name: "c" }]
    assert.deepStrictEqual(
      [...names].sort(Candidate.byName).map(({ name }) => name),
      ["a", "b", "b", "c"]
    )
    assert.strictEqual(Candidate.byName({ name: "b" }, { name: "b" }), 0)
    assert.strictEqual(Candidate.byName({ name: "b" }, { name: "a" }), 1)
  })
})
