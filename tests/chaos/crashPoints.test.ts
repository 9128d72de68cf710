/**
 * Every named place is come to, and a few of them, others each day, are died at. All: `npm run chaos -- crash-points`.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { root } from "../support/TestPlatform.ts"
import * as CrashPoints from "./CrashPoints.ts"

/** Of more than a hundred places: so few that it stays within half a minute. */
const casesCount = 8

/** Places that a short life does not come to, each with its reason. */
const unreached: ReadonlyMap<string, string> = new Map([
  ["invocation.callRead", "calls are read back only when more than 64 MiB of them wait"],
  ["store.garbage.before", "a commit takes the garbage of so short a life along"],
  ["store.garbage.after", "a commit takes the garbage of so short a life along"]
])

const named = (): ReadonlyArray<string> => {
  const source = join(root, "src/planes")
  const names = new Set<string>()
  for (const file of readdirSync(source, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts")) continue
    for (const [, name] of readFileSync(join(source, file), "utf8").matchAll(/CrashPoint\.hit\("([^"]+)"\)/g)) {
      if (name !== undefined) names.add(name)
    }
  }
  return [...names].sort()
}

describe("a platform that dies at a named place", () => {
  let ground: CrashPoints.Ground
  let points: ReadonlyArray<CrashPoints.Point>
  beforeAll(async () => {
    ground = await CrashPoints.prepare()
    points = await CrashPoints.learn(ground)
  }, 120_000)
  afterAll(() => ground.close())

  it("can do so at 60 places at least, in every part of it", () => {
    expect(points.length).toBeGreaterThanOrEqual(60)
    const parts = new Set(points.map(({ name }) => name.split(".")[0]))
    const all = [
      "agent",
      "backend",
      "controller",
      "gateway",
      "invocation",
      "lease",
      "platform",
      "queue",
      "registry",
      "store"
    ]
    expect([...parts].sort()).toEqual(all)
  })

  it("comes to every place that has a name", () => {
    const reached = new Set(points.map(({ name }) => name))
    const missing = named().filter((name) => !reached.has(name) && !unreached.has(name))
    // A busy machine can skip a place that depends on who is first.
    expect(missing.length, missing.join(", ")).toBeLessThan(5)
  })

  it("has lost nothing and doubled nothing after its restart", async () => {
    const day = Math.floor(Date.now() / 86_400_000)
    const stride = Math.ceil(points.length / casesCount)
    const cases = points.filter((_, index) => index % stride === day % stride).map((point) => [point, 1] as const)
    const results = await CrashPoints.dieAtAll(ground, cases, 2, () => {})
    expect(results.flatMap((result) => result.explained)).toEqual([])
    expect(results.filter(({ isReached }) => isReached).length).toBeGreaterThan(casesCount / 2)
  }, 240_000)
})
