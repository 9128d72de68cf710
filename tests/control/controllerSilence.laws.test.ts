/**
 * What the controller makes of versions that nothing was heard of.
 *
 * Q1 a version of which something was heard from the start, and one of which nothing was, are decided upon alike: the same
 * decisions for the same reasons at the same times, and the same orders. Q2 the `demand` policy learns nothing from silence
 * that one look at it does not tell: Q1 stands on it.
 *
 * @module
 */
import fc from "fast-check"
import { assert, describe, it } from "vitest"
import { demand } from "../../src/core/scaling/DemandPolicy.ts"
import type { Observation } from "../../src/core/scaling/Policy.ts"
import * as Scaling from "../../src/core/scaling/Scaling.ts"
import { deploymentDefaults } from "../../src/planes/control/Domain.ts"
import { makeWorld, V1, type World } from "./controllerWorld.ts"

type Step =
  | { readonly kind: "advance"; readonly byMs: number }
  | { readonly kind: "demand"; readonly pending: number; readonly arrivals: number }
  | { readonly kind: "deploy"; readonly minInstances: number; readonly generation: number }
  | { readonly kind: "undeploy" }
  | { readonly kind: "crash" }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("advance"), byMs: fc.constantFrom(20, 300, 1_500, 70_000) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("demand"),
      pending: fc.constantFrom(0, 0, 1, 5),
      arrivals: fc.constantFrom(0, 1, 5)
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("deploy"),
      minInstances: fc.constantFrom(0, 0, 1),
      generation: fc.constantFrom(1, 2)
    })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("undeploy") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash") }) }
)

const spec = { maxInstances: 3, concurrency: 2, idleWindowMs: 2_000 }

const seen = (world: World) => ({
  decisions: world.controller.decisions(),
  orders: world.sent,
  status: world.controller.deploymentStatus(V1),
  waits: world.controller.whyWaiting(V1)
})

describe("versions that nothing was heard of", () => {
  it("Q1: are decided upon like those that were watched from the start", async () => {
    const walk = async (steps: ReadonlyArray<Step>, isWatched: boolean) => {
      const world = await makeWorld({ silence: "zero" })
      try {
        const agent = world.agent("here")
        agent.heartbeat()
        world.deploy(V1, spec)
        if (isWatched) world.demand(V1, {})
        const all = [seen(world)]
        for (const one of steps) {
          if (one.kind === "advance") world.advance(one.byMs)
          else if (one.kind === "demand") {
            // A shard tells of an arrival while it is there, and then that it has ended.
            world.demand(V1, { pending: one.pending + one.arrivals, arrivals: one.arrivals })
            world.demand(V1, { pending: one.pending })
          } else if (one.kind === "deploy")
            world.deploy(V1, { ...spec, minInstances: one.minInstances }, one.generation)
          else if (one.kind === "undeploy") world.undeploy(V1)
          else for (const instanceId of [...agent.running.keys()]) agent.crash(instanceId, "it fell over")
          agent.heartbeat()
          all.push(structuredClone(seen(world)))
        }
        return all
      } finally {
        await world.close()
      }
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        assert.deepStrictEqual(await walk(steps, false), await walk(steps, true))
      }),
      { numRuns: 60 }
    )
  })

  it("Q2: one look at silence tells the `demand` policy as much as many", () => {
    const observation = (nowMs: number, present: number, arrivalsTotal: number): Observation => ({
      nowMs,
      pending: present,
      leased: 0,
      arrivalsTotal,
      oldestPendingMs: present > 0 ? 0 : null,
      ready: 0,
      starting: 0,
      draining: 0,
      slotsPerInstance: 2,
      desired: 0,
      spec: { ...deploymentDefaults, idleWindowMs: 2_000, maxInstances: 20 }
    })
    const startMs = 1_700_000_000_000
    const run = (
      silentForMs: ReadonlyArray<number>,
      loud: ReadonlyArray<readonly [afterMs: number, present: number, arrivals: number]>
    ) => {
      let state = Scaling.empty(demand)
      const look = (nowMs: number, present: number, arrivals: number) => {
        const [next, commands] = Scaling.step(
          demand,
          state,
          Scaling.Event.Observed({ observation: observation(nowMs, present, arrivals) })
        )
        state = next
        return { desired: next.desired, commands }
      }
      for (const forMs of silentForMs) look(startMs - forMs, 0, 0)
      look(startMs, 0, 0)
      let nowMs = startMs
      let total = 0
      return loud.map(([afterMs, present, arrivals]) => {
        nowMs += afterMs
        total += arrivals
        return look(nowMs, present, total)
      })
    }
    const silence = fc
      .array(fc.integer({ min: 0, max: 200_000 }), { minLength: 1, maxLength: 20 })
      .map((times) => times.toSorted((one, other) => other - one))
    const loud = fc.array(fc.tuple(fc.integer({ min: 0, max: 700 }), fc.nat({ max: 9 }), fc.nat({ max: 20 })), {
      minLength: 1,
      maxLength: 40
    })
    fc.assert(
      fc.property(silence, loud, (silentForMs, heard) => {
        assert.deepStrictEqual(run([], heard), run(silentForMs, heard))
      }),
      { numRuns: 300 }
    )
  })
})
