/**
 * The whole controller under random faults in virtual time: agents that fall silent, starts that hang, fail or crash,
 * orders that do not leave, generations, cordons. What holds in the middle, and where it ends when the faults are over.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { FabricUnavailable, OutcomeUnknown } from "../../src/planes/fabric/FabricError.ts"
import { type FakeAgent, makeWorld, type StartPlan, V1, type World } from "./controllerWorld.ts"

type Action = (run: { readonly world: World; readonly agents: ReadonlyArray<FakeAgent>; readonly state: Spec }) => void

interface Spec {
  generation: number
  isDeployed: boolean
}

const maxInstances = 4
const spec = {
  concurrency: 2,
  maxInstances,
  idleWindowMs: 500,
  startDeadlineMs: 3_000,
  requestTimeoutMs: 2_000,
  graceMs: 100
}

const plans: ReadonlyArray<StartPlan> = [
  { kind: "ready", afterMs: 50 },
  { kind: "ready", afterMs: 2_000 },
  { kind: "ready", afterMs: 50, crashAfterMs: 30 },
  { kind: "fail", afterMs: 0, detail: "exit code 1" },
  { kind: "fail", afterMs: 700, detail: "exit code 2", retryable: false },
  { kind: "hang" }
]

const pick = <A>(all: ReadonlyArray<A>, index: number): A | undefined => all[index % Math.max(1, all.length)]

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(1, 60, 300, 1_100, 4_000).map(
      (ms): Action =>
        ({ world }) =>
          world.advance(ms)
    )
  },
  {
    weight: 5,
    arbitrary: fc.tuple(fc.nat(9), fc.nat(2), fc.nat(3)).map(
      ([pending, leased, who]): Action =>
        ({ world }) => {
          const id = pick(world.ids(V1, "ready"), who)
          world.demand(V1, {
            pending,
            arrivals: pending,
            leased: id === undefined || leased === 0 ? {} : { [id]: leased }
          })
        }
    )
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(1), fc.nat(3)).map(
      ([which, who]): Action =>
        ({ agents }) => {
          const agent = agents[which]!
          const id = pick([...agent.running.keys()], who)
          if (id !== undefined && !agent.silent) agent.crash(id, "exit code 9")
        }
    )
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(1), fc.nat(plans.length - 1)).map(
      ([which, plan]): Action =>
        ({ agents }) => {
          agents[which]!.plan = plans[plan]!
        }
    )
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(1), fc.boolean()).map(
      ([which, silent]): Action =>
        ({ agents }) => {
          agents[which]!.silent = silent
        }
    )
  },
  {
    weight: 1,
    arbitrary: fc.boolean().map(
      (isUnknown): Action =>
        ({ world }) => {
          const facts = { port: "WorkQueue", operation: "publish", reason: "injected" }
          world.failures.push(
            isUnknown ? new OutcomeUnknown(facts) : new FabricUnavailable({ ...facts, retryable: true })
          )
        }
    )
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(2), fc.boolean()).map(
      ([minInstances, restarted]): Action =>
        ({ world, state }) => {
          if (restarted) state.generation += 1
          state.isDeployed = true
          world.deploy(V1, { ...spec, minInstances }, state.generation)
        }
    )
  },
  {
    weight: 1,
    arbitrary: fc.constant<Action>(({ world, state }) => {
      state.isDeployed = false
      world.undeploy(V1)
    })
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom("c1", "c2"), fc.boolean(), fc.boolean()).map(
      ([name, cordoned, draining]): Action =>
        ({ world }) => {
          world.controller.setCluster(name, { cordoned, draining })
        }
    )
  },
  {
    weight: 1,
    arbitrary: fc.nat(1).map(
      (which): Action =>
        ({ agents }) =>
          agents[which]!.reset()
    )
  }
)

describe("controller: under random faults", () => {
  it("never exceeds maxInstances nor cuts work short, and when the faults are over runs just what is desired", async () => {
    const reached = { drains: 0, failures: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 50 }), async (actions) => {
        const world = await makeWorld()
        const agents = [world.agent("c1", { slots: 3 }), world.agent("c2", { slots: 3 })]
        const state: Spec = { generation: 1, isDeployed: true }
        world.deploy(V1, spec)
        for (const act of actions) {
          act({ world, agents, state })
          const present = world.controller
            .instances({ versionId: V1 })
            .filter((each) => ["requested", "starting", "ready"].includes(each.state))
          const current = present.filter((each) => each.generation === state.generation)
          const leaving = world.controller.clusters().filter((each) => each.cordoned).length
          if (leaving === 0) assert.isAtMost(current.length, maxInstances)
        }
        for (const { terminated } of agents) {
          for (const { instanceId, drainMs, reason } of terminated) {
            const wasReady = world.controller.instance(instanceId)?.readyAtMs != null
            const isGivenUp = /deadline|did not come back|not been heard|overdue|given up/.test(reason)
            if (wasReady && drainMs === 0) assert.isTrue(isGivenUp, `${instanceId}: ${reason}`)
            reached.drains += drainMs > 0 ? 1 : 0
          }
        }
        reached.failures += world.ids(V1, "failed").length

        world.failures.length = 0
        for (const agent of agents) {
          agent.silent = false
          agent.plan = { kind: "ready", afterMs: 50 }
          world.controller.setCluster(agent.name, { cordoned: false, draining: false })
        }
        world.deploy(V1, { ...spec, minInstances: 2 }, state.generation + 1)
        world.demand(V1, {})
        world.advance(60_000)
        const running = agents.flatMap((agent) => [...agent.running.values()])
        assert.deepStrictEqual(
          running.map(({ order }) => order.generation),
          [state.generation + 1, state.generation + 1]
        )
        assert.strictEqual(world.ids(V1, "ready").length, 2)
        assert.deepInclude(world.controller.deploymentStatus(V1), {
          status: "ready",
          desired: 2,
          starting: 0,
          draining: 0
        })
        assert.isUndefined(world.controller.whyWaiting(V1))
        const ordersBefore = world.sent.length
        world.advance(30_000)
        assert.strictEqual(world.sent.length, ordersBefore, "at rest nothing more is ordered")
        await world.close()
      }),
      { numRuns: 60 }
    )
    assert.isAbove(reached.drains, 20)
    assert.isAbove(reached.failures, 20)
  }, 60_000)
})
