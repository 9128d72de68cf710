/**
 * The laws of the buffer machine (numbers and text in `src/core/buffer/Buffer.ts`).
 *
 * Every run checks every law after every step; each test draws the mix in which its law is hard. `the laws reach their
 * hard cases` draws all mixes again from a fixed seed and prints how often each case was met.
 *
 * @module
 */
import { assert, describe, it } from "vitest"
import { ignoresTheWall, type Mix, mixes, worlds } from "./BufferLaws.ts"
import { tenantsAreApart } from "./BufferTenants.ts"
import { rightMachine, type World } from "./BufferWorld.ts"
import { upholds } from "./upholds.ts"

const holds = (mix: Mix): void => {
  const numRuns = mix.numRuns ?? 100
  upholds(
    worlds(rightMachine, mix, (world) => mix.finally?.(world)),
    { numRuns }
  )
}

/** The seed is fixed, so what is met depends on the mixes alone: a rare case is not missed by bad luck. */
const measureSeed = 1

/** How often each case was met in 60 worlds of each mix. */
const measured = (): ReadonlyMap<string, number> => {
  const met = new Map<string, number>()
  const count = (world: World) => {
    for (const [what, times] of world.auditor.met) met.set(what, (met.get(what) ?? 0) + times)
  }
  for (const mix of Object.values(mixes)) upholds(worlds(rightMachine, mix, count), { numRuns: 60, seed: measureSeed })
  return met
}

describe("buffer", () => {
  it("L1, L18: whatever happens, every accepted request ends and is told once everything works again", () =>
    holds(mixes.ends))

  it("L2: accepted requests of a tenant are pending, leased or ended, and every index equals the requests", () =>
    holds(mixes.conserves))

  it("L3, L5: one end is told and nothing happens after it", () => holds(mixes.endsOnce))

  it("L4: a stale or foreign token changes nothing", () => holds(mixes.fences))

  it("L4: after a restart no token is given that was given before, whether it was written or not", () =>
    holds(mixes.fencesOverRestarts))

  it("L6: what is told was written before, and `memory` is never written", () => holds(mixes.writesFirst))

  it("L7: a key has one request, and asking again joins it or conflicts", () => holds(mixes.joinsByKey))

  it("L7: a key has one request over restarts as well", () => holds(mixes.joinsByKeyOverRestarts))

  it("L8: what a tenant is told is the same, whatever others send, with the same keys as well", () => {
    upholds(tenantsAreApart(rightMachine), { numRuns: 300 })
  })

  it("L9: bytes of one attempt are shown, and no other attempt follows them", () => holds(mixes.showsOneAttempt))

  it("L9, L11: what was shown to a caller can still be cut off, by a deadline too, and is then told as partial", () =>
    holds(mixes.cutsOff))

  it("L10: pending, leased and remembered requests stay within their limits, and only then", () =>
    holds(mixes.staysWithin))

  it("L10: ended requests that are remembered stay within their limit as well", () => holds(mixes.remembersWithin))

  it("L25: a tenant is refused for its share when it holds that much of what is free, and only then", () =>
    holds(mixes.sharesRoom))

  it("L11: no lease at or after the deadline, and nothing is due after a tick", () => holds(mixes.meetsDeadlines))

  it("L12: a poisoned request stops as dead letter and the others are answered", () => holds(mixes.stopsPoison))

  it("L13, L19: after a restart nothing that was told is untrue, and leases have fresh deadlines", () =>
    holds(mixes.restarts))

  it("L13: the same life at another time of the world is the same life", () => {
    upholds(ignoresTheWall(rightMachine), { numRuns: 100 })
  })

  it("L19: the records of the log rebuild the durable state that lives", () => holds(mixes.logRebuilds))

  it("L19: any beginning of the log, read once or twice, is a state with right indexes", () =>
    holds(mixes.prefixesRebuild))

  it("L20: a store that fails lies to nobody, and after a restart everything ends", () => holds(mixes.storeFails))

  it("purity: a step leaves the old state as it was, and old states answer the same again", () => holds(mixes.isPure))

  it("the laws reach their hard cases", () => {
    // About half of what is met.
    const wanted = [
      ["stale", 700],
      ["redelivered", 70],
      ["released", 40],
      ["collected", 170],
      ["detached", 70],
      ["joined", 100],
      ["conflict", 50],
      ["restart", 100],
      ["lease recovered", 15],
      ["refused queue-full", 100],
      ["refused tenant-full", 100],
      ["refused deadline-passed", 200],
      ["refused duplicate-sequence", 100],
      ["refused store-failed", 40],
      ["write refused", 50],
      ["write unknown", 20],
      ["refused after admission", 15],
      ["told responded", 80],
      ["told failed partial", 10],
      ["told expired", 100],
      ["told expired partial", 2],
      ["told cancelled", 80],
      ["told cancelled partial", 2],
      ["told dead-lettered", 70],
      ["sync always", 100],
      ["async memory", 100],
      ["sync memory keyed", 80]
    ] as const
    const met = measured()
    const mix = [...met].sort(([one], [other]) => (one < other ? -1 : 1)).map(([what, times]) => `${what} ${times}`)
    console.log(`${Object.keys(mixes).length} mixes, 60 worlds each, seed ${measureSeed}: ${mix.join(", ")}`)
    for (const [what, atLeast] of wanted) assert.isAtLeast(met.get(what) ?? 0, atLeast, what)
  })
})
