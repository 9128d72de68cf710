import { afterEach, assert, describe, it } from "vitest"
import { PolicyName } from "../../src/core/scaling/PolicyChoice.ts"
import type { ScaleDecision } from "../../src/planes/control/ControlView.ts"
import { makeWorld, V1, V2, type World } from "./controllerWorld.ts"

const worlds: Array<World> = []
const world = async (options?: Parameters<typeof makeWorld>[0]) => {
  const made = await makeWorld(options)
  worlds.push(made)
  return made
}
afterEach(async () => {
  for (const each of worlds.splice(0)) await each.close()
})

describe("controller: from zero and back", () => {
  it("P4: the order to start has left when the demand report returns, and carries the decision's reason", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "hang" } })
    w.deploy(V1, { concurrency: 2 })
    assert.strictEqual(agent.created.length, 0)
    w.demand(V1, { pending: 1, arrivals: 1 })
    assert.strictEqual(agent.created.length, 1)
    const order = agent.created[0]!
    assert.deepInclude(order, {
      tenant: "acme",
      versionId: V1,
      generation: 1,
      concurrency: 2,
      decidedAtMs: w.nowMs(),
      command: ["node", "main.js"],
      environment: { A: "1" }
    })
    assert.strictEqual(order.reason, "1 pending + 0 leased at 2 slots an instance: 1 instance")
    assert.isFalse("workingDirectory" in order)
  })

  it("goes from zero to all that is needed in one step", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 4, maxInstances: 8 })
    w.demand(V1, { pending: 11, arrivals: 11 })
    assert.strictEqual(agent.created.length, 3)
    assert.strictEqual(new Set(agent.created.map(({ instanceId }) => instanceId)).size, 3)
    w.demand(V1, { pending: 100, arrivals: 89 })
    assert.strictEqual(agent.created.length, 8, "maxInstances is held")
  })

  it("goes to zero one idle window after the last request, not before, and tells the owner to drain first", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1, idleWindowMs: 2_000, requestTimeoutMs: 7_000, graceMs: 300 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(100)
    const [id] = w.ids(V1, "ready")
    assert.isDefined(id)
    w.demand(V1, { leased: { [id!]: 1 } })
    w.advance(20_000)
    assert.deepStrictEqual(w.ids(V1, "ready"), [id], "a leased request is demand, however long it takes")
    w.demand(V1, {})
    w.advance(1_990)
    assert.deepStrictEqual(w.ids(V1, "ready"), [id])
    w.advance(20)
    assert.deepStrictEqual(agent.terminated, [
      {
        instanceId: id,
        versionId: V1,
        drainMs: 7_000,
        graceMs: 300,
        reason: "0 desired and 1 are there"
      }
    ])
    assert.deepStrictEqual(w.drains, [id])
    w.advance(100)
    assert.strictEqual(agent.running.size, 0)
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "idle")
    assert.strictEqual(
      w.controller.decisions({ versionId: V1, limit: 1 })[0]?.reason,
      "nothing was pending or leased for 2.0 s, the idle window"
    )
  })

  it("a request that came and went between two reports keeps its instance for a whole idle window", async () => {
    const w = await world()
    w.agent("c1")
    w.deploy(V1, { idleWindowMs: 2_000 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(100)
    w.demand(V1, {})
    w.advance(1_500)
    w.demand(V1, { arrivals: 3 })
    w.advance(1_900)
    assert.strictEqual(w.ids(V1, "ready").length, 1)
    w.advance(200)
    assert.strictEqual(w.ids(V1, "ready").length, 0)
  })

  it("drains the least busy instance, and one that still starts before any that is ready", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1, idleWindowMs: 1_000, maxInstances: 4 })
    w.demand(V1, { pending: 3, arrivals: 3 })
    w.advance(100)
    const [a, b, c] = w.ids(V1, "ready")
    agent.plan = { kind: "hang" }
    w.demand(V1, { pending: 1, leased: { [a!]: 1, [b!]: 1, [c!]: 1 }, arrivals: 1 })
    const [d] = w.ids(V1, "starting")
    w.advance(10)
    w.demand(V1, { leased: { [a!]: 1, [c!]: 1 } })
    w.advance(1_100)
    assert.sameMembers(
      agent.terminated.map(({ instanceId }) => instanceId),
      [d, b]
    )
    assert.sameMembers(w.ids(V1, "ready") as Array<string>, [a!, c!])
  })

  it("demand of several shards is added up", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.demand(V1, { pending: 1, shard: "shard-0" })
    w.demand(V1, { pending: 2, shard: "shard-1" })
    assert.strictEqual(agent.created.length, 3)
  })

  it("records every change of desired, newest first, and tells it once to each listener", async () => {
    const w = await world()
    w.agent("c1")
    const heard: Array<ScaleDecision> = []
    const stop = w.controller.onDecision((decision) => heard.push(decision))
    w.controller.onDecision(() => {
      throw new Error("a listener that fails")
    })
    w.deploy(V1, { concurrency: 1, idleWindowMs: 500 })
    w.deploy(V2, { minInstances: 1 })
    w.demand(V1, { pending: 2, arrivals: 2 })
    w.demand(V1, {})
    w.advance(600)
    stop()
    w.demand(V1, { pending: 1, arrivals: 1 })
    const told = heard.map(({ versionId, from, to }) => [versionId, from, to])
    assert.deepStrictEqual(told, [
      [V2, 0, 1],
      [V1, 0, 2],
      [V1, 2, 0]
    ])
    const recorded = w.controller.decisions({ versionId: V1 })
    assert.deepStrictEqual(
      recorded.map(({ from, to }) => [from, to]),
      [
        [0, 1],
        [2, 0],
        [0, 2]
      ]
    )
    assert.deepInclude(recorded[2]?.inputs, { pending: 2, leased: 0, slotsPerInstance: 1 })
    assert.strictEqual(recorded[0]?.policy, "demand")
  })

  it("the ring of decisions is bounded at 1000", async () => {
    const w = await world()
    w.agent("c1")
    w.deploy(V1, { concurrency: 1, idleWindowMs: 100, maxInstances: 4 })
    for (let round = 0; round < 600; round++) {
      w.demand(V1, { pending: 1 })
      w.demand(V1, {})
      w.advance(150)
    }
    assert.strictEqual(w.controller.decisions().length, 1_000)
  })

  it("the timeline of a start has its parts in order", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "ready", afterMs: 70 } })
    w.deploy(V1, {})
    const demandAtMs = w.nowMs()
    w.demand(V1, { pending: 1 })
    w.advance(100)
    assert.deepStrictEqual(w.controller.startTimeline(agent.created[0]!.instanceId), {
      instanceId: agent.created[0]!.instanceId,
      placement: "c1 (100 % free)",
      demandAtMs,
      createdAtMs: demandAtMs,
      startedAtMs: demandAtMs,
      readyAtMs: demandAtMs + 70,
      phases: { processMs: 20, initialiseMs: 30, connectMs: 5 }
    })
    assert.isUndefined(w.controller.startTimeline("nobody"))
  })

  it("says of each start why it is where it is, and which clusters it was preferred to", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.agent("c2")
    w.agent("c3")
    w.controller.setCluster("c3", { cordoned: true, draining: false })
    w.deploy(V1, { minInstances: 2 })
    w.advance(100)
    const why = agent.created.map(({ instanceId }) => w.controller.startTimeline(instanceId)?.placement ?? "")
    assert.lengthOf(why, 2)
    assert.strictEqual(why[0], "c1 (100 % free) rather than c2 (100 % free)")
    assert.match(why[1]!, /^c1 \(\d+ % free, warm\) rather than c2 \(100 % free\)$/)
  })
})

describe("controller: deployments", () => {
  it("keeps minInstances without any demand, and with unknown demand keeps what runs when the minimum falls", async () => {
    const w = await world()
    w.agent("c1")
    w.deploy(V1, { minInstances: 2 })
    w.advance(100)
    assert.strictEqual(w.ids(V1, "ready").length, 2)
    w.deploy(V1, { minInstances: 0, idleWindowMs: 100 })
    w.advance(5_000)
    assert.strictEqual(w.ids(V1, "ready").length, 2, "no shard ever spoke: unknown is not zero")
    w.demand(V1, {})
    w.advance(200)
    assert.strictEqual(w.ids(V1, "ready").length, 0)
  })

  it("with silence = zero, a version that nobody speaks of goes to its minimum", async () => {
    const w = await world({ silence: "zero" })
    w.agent("c1")
    w.deploy(V1, { minInstances: 2 })
    w.advance(100)
    w.deploy(V1, { minInstances: 0, idleWindowMs: 100 })
    w.advance(2_000)
    assert.strictEqual(w.ids(V1, "ready").length, 0)
  })

  it("undeploying drains all, the busy too, and never starts one for what still waits", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.demand(V1, { pending: 2, arrivals: 2 })
    w.advance(100)
    const [a] = w.ids(V1, "ready")
    w.demand(V1, { pending: 1, leased: { [a!]: 1 } })
    w.undeploy(V1)
    assert.strictEqual(agent.terminated.length, 2)
    assert.isTrue(agent.terminated.every(({ drainMs }) => drainMs === 1_200_000))
    w.advance(100)
    w.demand(V1, { pending: 5 })
    w.advance(5_000)
    assert.strictEqual(agent.created.length, 2)
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "undeployed")
    assert.strictEqual(w.controller.whyWaiting(V1), "the version is not deployed")
    w.deploy(V1, { concurrency: 1 })
    assert.strictEqual(agent.created.length, 6, "what waited is served when it is deployed again")
  })

  it("a new generation replaces an idle instance at once and a busy one when its successor is ready", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.demand(V1, { pending: 2, arrivals: 2 })
    w.advance(100)
    const [busy, idle] = w.ids(V1, "ready")
    w.demand(V1, { leased: { [busy!]: 1 } })
    w.deploy(V1, { concurrency: 1 }, 2)
    assert.deepStrictEqual(
      agent.terminated.map(({ instanceId }) => instanceId),
      [idle!]
    )
    assert.deepStrictEqual(
      agent.created.slice(2).map(({ generation }) => generation),
      [2, 2]
    )
    assert.deepStrictEqual(w.ids(V1, "ready"), [busy!])
    w.advance(100)
    assert.deepStrictEqual(
      agent.terminated.map(({ instanceId }) => instanceId),
      [idle!, busy!]
    )
    assert.match(agent.terminated[1]!.reason, /generation 1 is replaced by 2/)
  })

  it("changing the policy keeps what was decided until the new policy speaks", async () => {
    const w = await world()
    w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.demand(V1, { pending: 3 })
    w.advance(100)
    w.deploy(V1, { concurrency: 1, policy: "fixed", minInstances: 2 })
    w.advance(100)
    assert.strictEqual(w.ids(V1, "ready").length, 2)
    assert.strictEqual(w.controller.decisions({ limit: 1 })[0]?.policy, "fixed")
  })

  it.each(PolicyName.literals)(
    "a request is answered by an instance at once under %s, also from zero",
    async (name) => {
      const w = await world()
      w.agent("c1")
      w.deploy(V1, { concurrency: 1, policy: { name } })
      w.demand(V1, { pending: 1 })
      w.advance(100)
      assert.isAtLeast(w.ids(V1, "ready").length, 1)
      const [decision] = w.controller.decisions({ limit: 1 })
      assert.strictEqual(decision?.policy, name)
      assert.isAbove(decision?.reason.length ?? 0, 10)
    }
  )

  it.each([
    ["the same options go on", 60_000, 0],
    ["other options begin anew, and so does the cooldown", 60_001, 1]
  ])("a deployment again: %s", async (_, cooldownMs, instances) => {
    const w = await world()
    w.agent("c1")
    w.deploy(V1, { concurrency: 1, policy: { name: "keda", cooldownMs: 60_000 } })
    w.demand(V1, { pending: 1 })
    w.advance(35_000)
    w.demand(V1, { pending: 0 })
    w.advance(40_000)
    w.deploy(V1, { concurrency: 1, policy: { name: "keda", cooldownMs } })
    // The last active poll was at 35 s at the latest: 60 s and the next poll are over, 60 s from the deployment are not.
    w.advance(55_000)
    assert.strictEqual(w.ids(V1, "ready").length, instances)
  })
})
