import { afterEach, assert, describe, it } from "vitest"
import { subjects } from "../../src/planes/compute/AgentMessage.ts"
import * as Leadership from "../../src/planes/control/Leadership.ts"
import { makeWorld, V1, type World } from "./controllerWorld.ts"
import { instanceReport } from "./FakeSources.ts"

const worlds: Array<World> = []
afterEach(async () => {
  for (const each of worlds.splice(0)) await each.close()
})

/** A copy whose epoch the test holds in its hand. */
const copy = async () => {
  const lease: { epoch: number | undefined } = { epoch: undefined }
  const w = await makeWorld({ settleMs: Leadership.settleMs, leadership: { epoch: () => lease.epoch } })
  worlds.push(w)
  const gain = (epoch: number) => {
    lease.epoch = epoch
    w.controller.lead()
  }
  return { w, lease, gain }
}

const epochs = (w: World) => w.sent.map(({ payload }): unknown => JSON.parse(payload).epoch)

describe("controller: several copies", () => {
  it("one that stands by orders nothing, and acts on what it has heard when it leads, with its epoch in each order", async () => {
    const { w, gain } = await copy()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.demand(V1, { pending: 2, arrivals: 2 })
    w.advance(10_000)
    assert.strictEqual(w.sent.length, 0)
    gain(4)
    w.advance(Leadership.settleMs - 1)
    assert.strictEqual(w.sent.length, 0, "first it hears of what runs")
    w.advance(1)
    assert.strictEqual(agent.created.length, 2)
    assert.deepStrictEqual(epochs(w), [4, 4])
  })

  it("one that loses the lease orders nothing from that moment on, and neither does what it had set itself to do", async () => {
    const { w, lease, gain } = await copy()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1, idleWindowMs: 2_000 })
    gain(1)
    w.advance(1_000)
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(100)
    w.demand(V1, { pending: 0 })
    lease.epoch = undefined
    w.demand(V1, { pending: 3, arrivals: 3 })
    w.advance(60_000)
    assert.deepStrictEqual([agent.created.length, agent.terminated.length], [1, 0])
  })

  it("what the leader decided and what agents say is known to those that stand by", async () => {
    const { w } = await copy()
    w.deploy(V1, {})
    const instance = instanceReport({ instanceId: "one", versionId: V1, cluster: "c1" })
    w.publish(subjects.report("c1"), JSON.stringify({ _tag: "InstanceChanged", cluster: "c1", instance }))
    assert.deepInclude(w.controller.deploymentStatus(V1), { desired: 1, ready: 1, status: "ready" })
    const decision = { atMs: 1, versionId: V1, from: 1, to: 3, policy: "demand", reason: "of another", inputs: {} }
    w.publish(subjects.decision, JSON.stringify(decision))
    assert.strictEqual(w.controller.deploymentStatus(V1).desired, 3)
    assert.strictEqual(w.controller.decisions()[0]?.reason, "of another")
  })

  it("from the last renewal of a leader that died to the first act of the next one it takes 2 s and a write at most", () => {
    const { ttlMs, renewMs, marginMs } = Leadership.timing
    assert.isAtMost(ttlMs + Leadership.settleMs, 2_000)
    assert.isAtMost(3 * renewMs + marginMs, ttlMs, "two renewals may fail")
  })
})
