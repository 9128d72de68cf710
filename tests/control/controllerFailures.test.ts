import { afterEach, assert, describe, it } from "vitest"
import { subjects } from "../../src/planes/compute/AgentMessage.ts"
import * as HeartbeatPart from "../../src/planes/compute/HeartbeatPart.ts"
import { FabricUnavailable, OutcomeUnknown } from "../../src/planes/fabric/FabricError.ts"
import { makeWorld, V1, V2, type World } from "./controllerWorld.ts"
import { instanceReport } from "./FakeSources.ts"

const worlds: Array<World> = []
const world = async (options?: Parameters<typeof makeWorld>[0]) => {
  const made = await makeWorld(options)
  worlds.push(made)
  return made
}
afterEach(async () => {
  for (const each of worlds.splice(0)) await each.close()
})

const unavailable = () =>
  new FabricUnavailable({ port: "WorkQueue", operation: "publish", reason: "disk full", retryable: true })
const outcomeUnknown = () => new OutcomeUnknown({ port: "WorkQueue", operation: "publish", reason: "timed out" })

describe("controller: starts that fail", () => {
  it("a version that fails at once is tried one instance at a time, with doubling waits of at most 30 s", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "fail", afterMs: 0, detail: "exit code 1: no such module" } })
    w.deploy(V1, { concurrency: 1, maxInstances: 4 })
    w.demand(V1, { pending: 4, arrivals: 4 })
    const attempts: Array<number> = [agent.created.length]
    const startMs = w.nowMs()
    for (let waitMs = 200; waitMs <= 1_600; waitMs *= 2) {
      w.advance(waitMs - 2)
      attempts.push(agent.created.length)
      w.advance(2)
      attempts.push(agent.created.length)
    }
    assert.strictEqual(w.nowMs() - startMs, 3_000)
    assert.deepStrictEqual(attempts, [1, 1, 2, 2, 3, 3, 4, 4, 5])
    w.advance(300_000)
    const before = agent.created.length
    w.advance(300_000)
    assert.approximately(agent.created.length - before, 10, 1, "30 s at most between two tries")
  })

  it("explains: how often it failed, when it is tried next, and its last output; and calls it failed", async () => {
    const w = await world()
    w.agent("c1", { plan: { kind: "fail", afterMs: 0, detail: "exit code 1: no such module" } })
    w.deploy(V1, { concurrency: 1, maxInstances: 1 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    assert.strictEqual(
      w.controller.whyWaiting(V1),
      "the start failed 1 time, next try in 0.20 s; last: exit code 1: no such module"
    )
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "scaling")
    w.advance(700)
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "failed")
    assert.match(w.controller.deploymentStatus(V1).detail, /3 starts failed, last: exit code 1/)
    assert.isTrue(w.ids(V1, "failed").length >= 3)
  })

  it("an instance that is not ready at its start deadline is ended without drain, counted, and tried again", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "hang" } })
    w.deploy(V1, { startDeadlineMs: 3_000, graceMs: 50 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(1_200)
    assert.match(
      w.controller.whyWaiting(V1) ?? "",
      /^instance 11111111-1 is starting since 1\.2 s, in phase process, deadline 3\.0 s$/
    )
    w.advance(1_790)
    assert.strictEqual(agent.terminated.length, 0)
    w.advance(20)
    assert.deepInclude(agent.terminated[0], { instanceId: "11111111-1", drainMs: 0, graceMs: 50 })
    assert.strictEqual(w.controller.instance("11111111-1")?.state, "failed")
    w.advance(190)
    assert.strictEqual(agent.created.length, 2, "the second try comes 200 ms later")
  })

  it("new code is tried at once, whatever the old code did", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "fail", afterMs: 0, detail: "boom", retryable: false } })
    w.deploy(V1, {})
    w.demand(V1, { pending: 1, arrivals: 1 })
    assert.match(w.controller.whyWaiting(V1) ?? "", /next try in 30\.0 s/)
    agent.plan = { kind: "ready", afterMs: 50 }
    w.deploy(V1, {}, 2)
    w.advance(60)
    assert.isUndefined(w.controller.whyWaiting(V1))
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "ready")
  })
})

describe("controller: crashes", () => {
  it("a crash of the old generation is not held against the new one", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(100)
    const old = w.ids(V1, "ready")[0]!
    w.demand(V1, { leased: { [old]: 1 } })
    agent.plan = { kind: "hang" }
    w.deploy(V1, { concurrency: 1 }, 2)
    agent.crash(old, "exit code 1")
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "scaling")
    assert.notMatch(w.controller.whyWaiting(V1) ?? "", /failed/)
    w.demand(V1, { pending: 3, arrivals: 3 })
    assert.strictEqual(agent.created.length, 4, "not one at a time, as after a failure")
  })

  it("an instance that was healthy and exits is replaced in the same turn", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { idleWindowMs: 600_000 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(15_000)
    agent.crash(w.ids(V1, "ready")[0]!, "killed by SIGKILL")
    assert.strictEqual(agent.created.length, 2)
  })

  it("one that crashes as soon as it is ready is replaced with a growing wait, and the status does not flicker", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "ready", afterMs: 20, crashAfterMs: 30 } })
    w.deploy(V1, { minInstances: 1 })
    w.advance(60)
    const statuses = new Set<string>()
    for (let at = 0; at < 20_000; at += 10) {
      w.advance(10)
      statuses.add(w.controller.deploymentStatus(V1).status)
    }
    assert.deepStrictEqual([...statuses], ["degraded"])
    assert.isAtMost(agent.created.length, 9)
    agent.plan = { kind: "ready", afterMs: 20 }
    w.advance(60_000)
    assert.strictEqual(w.controller.deploymentStatus(V1).status, "ready")
  })

  it("a worker that loses its connection is waited for, then given up and replaced", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { minInstances: 1, startDeadlineMs: 2_000 })
    w.advance(100)
    const id = w.ids(V1, "ready")[0]!
    agent.silent = true
    w.worker({ _tag: "WorkerGone", instanceId: id, versionId: V1 })
    agent.silent = false
    assert.deepStrictEqual(w.ids(V1, "starting"), [id])
    assert.match(w.controller.whyWaiting(V1) ?? "", /lost the connection of its worker/)
    w.worker({
      _tag: "WorkerReady",
      instanceId: id,
      versionId: V1,
      slots: 16,
      phases: { processMs: 1, initialiseMs: 1, connectMs: 1 }
    })
    assert.deepStrictEqual(w.ids(V1, "ready"), [id])
    w.worker({ _tag: "WorkerGone", instanceId: id, versionId: V1 })
    w.advance(2_500)
    assert.strictEqual(agent.terminated[0]?.instanceId, id)
    assert.strictEqual(w.ids(V1, "ready").length, 1)
  })
})

describe("controller: orders that do not leave", () => {
  it("a create that certainly did not leave is decided anew 200 ms later, with a new instance", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { concurrency: 1 })
    w.failures.push(unavailable())
    w.demand(V1, { pending: 2, arrivals: 2 })
    assert.strictEqual(agent.created.length, 0)
    assert.match(w.controller.whyWaiting(V1) ?? "", /order to start could not be sent, next try in 0\.20 s/)
    w.advance(199)
    assert.strictEqual(agent.created.length, 0)
    w.advance(1)
    assert.strictEqual(agent.created.length, 2)
    w.advance(100)
    assert.strictEqual(w.ids(V1, "ready").length, 2)
    assert.strictEqual(w.controller.clusters()[0]?.instanceTypes[0]?.free, 8, "no room is lost to the failed order")
  })

  it("a create of unknown outcome is sent again under its id and starts one instance", async () => {
    const w = await world()
    const agent = w.agent("c1", { plan: { kind: "hang" } })
    w.deploy(V1, { concurrency: 1 })
    w.failures.push(outcomeUnknown())
    agent.silent = true
    w.demand(V1, { pending: 1, arrivals: 1 })
    assert.strictEqual(w.ids(V1, "requested").length, 1, "nobody knows: it is neither there nor gone")
    agent.silent = false
    w.advance(2_500)
    assert.strictEqual(agent.created.length, 1)
    assert.strictEqual(w.ids(V1, "starting").length, 1)
  })

  it("a terminate is sent until it leaves", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { minInstances: 1 })
    w.advance(100)
    w.failures.push(unavailable(), outcomeUnknown(), unavailable())
    w.undeploy(V1)
    w.advance(5_000)
    assert.strictEqual(agent.terminated.length, 1)
    assert.strictEqual(agent.running.size, 0)
  })
})

describe("controller: clusters", () => {
  it("says that no cluster has reported, then places as soon as one does", async () => {
    const w = await world()
    w.deploy(V1, {})
    w.demand(V1, { pending: 1, arrivals: 1 })
    assert.strictEqual(w.controller.whyWaiting(V1), "no cluster has reported yet")
    const demandAtMs = w.nowMs()
    w.advance(3_000)
    const agent = w.agent("c1")
    assert.strictEqual(agent.created.length, 1)
    assert.strictEqual(w.controller.startTimeline(agent.created[0]!.instanceId)?.demandAtMs, demandAtMs)
  })

  it("never promises more room than the heartbeat left, and goes on when room comes", async () => {
    const w = await world()
    const agent = w.agent("c1", { slots: 3 })
    w.deploy(V1, { concurrency: 1, idleWindowMs: 100 })
    w.deploy(V2, { concurrency: 1 })
    w.demand(V1, { pending: 2, arrivals: 2 })
    w.demand(V2, { pending: 2, arrivals: 2 })
    assert.strictEqual(agent.created.length, 3)
    w.advance(10)
    w.advance(50)
    assert.isUndefined(w.controller.whyWaiting(V2), "one of two is there")
    assert.match(w.controller.deploymentStatus(V2).detail, /c1: 0 of 3 instances of type local are free/)
    w.demand(V1, {})
    w.advance(130)
    assert.strictEqual(agent.created.length, 4, "the end of an instance is room at once, not at the next heartbeat")
  })

  it("spreads, and follows the named order when there is one", async () => {
    const w = await world()
    const one = w.agent("c1")
    const two = w.agent("c2")
    w.deploy(V1, { concurrency: 1, maxInstances: 8 })
    w.demand(V1, { pending: 6, arrivals: 6 })
    assert.deepStrictEqual([one.created.length, two.created.length], [3, 3])
    w.deploy(V2, { concurrency: 1, clusters: ["c2", "c1"] })
    w.demand(V2, { pending: 2, arrivals: 2 })
    assert.deepStrictEqual([one.created.length, two.created.length], [3, 5])
  })

  it("a cluster that is silent for more than 10 s is unreachable: not placed on, its ready instances kept", async () => {
    const w = await world()
    const one = w.agent("c1")
    w.deploy(V1, { concurrency: 1, idleWindowMs: 600_000 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(100)
    const id = w.ids(V1, "ready")[0]!
    one.silent = true
    w.advance(11_500)
    assert.strictEqual(w.controller.clusters()[0]?.state, "unreachable")
    assert.deepStrictEqual(w.ids(V1, "ready"), [id], "its worker is connected: unknown is not gone")
    w.demand(V1, { pending: 1, leased: { [id]: 1 }, arrivals: 1 })
    assert.match(
      w.controller.whyWaiting(V1) ?? "",
      /busy \(1 of 1 slot taken\); no cluster can take it: c1: it is unreachable/
    )
    const two = w.agent("c2")
    assert.strictEqual(two.created.length, 1)
    w.worker({ _tag: "WorkerGone", instanceId: id, versionId: V1 })
    w.advance(1_100)
    assert.strictEqual(two.created.length, 2, "agent and worker are silent: it is lost and replaced elsewhere")
    assert.strictEqual(one.terminated[0]?.instanceId, id, "an order to end it waits in the queue of its cluster")
  })

  it("an agent that comes back without its instances has them replaced after two heartbeats", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { minInstances: 2 })
    w.advance(12_100)
    agent.reset()
    w.advance(4_100)
    assert.strictEqual(agent.running.size, 2)
    assert.strictEqual(agent.created.length, 4)
  })

  it("draining a cluster while demand is unknown moves its instances and adds none", async () => {
    const w = await world()
    const one = w.agent("c1")
    w.deploy(V1, { minInstances: 2 })
    w.advance(100)
    const two = w.agent("c2")
    w.controller.setCluster("c1", { cordoned: true, draining: true })
    w.advance(30_000)
    assert.deepStrictEqual([one.running.size, two.running.size], [0, 2])
    assert.strictEqual(w.controller.deploymentStatus(V1).desired, 2)
  })

  it("a cordoned cluster takes nothing new; a drained one is emptied after its successors are ready", async () => {
    const w = await world()
    const one = w.agent("c1")
    w.deploy(V1, { concurrency: 1, idleWindowMs: 600_000 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(100)
    const id = w.ids(V1, "ready")[0]!
    w.demand(V1, { leased: { [id]: 1 } })
    assert.isTrue(w.controller.setCluster("c1", { cordoned: true, draining: false }))
    assert.isFalse(w.controller.setCluster("c1", { cordoned: true, draining: false }), "it was so before")
    w.controller.setCluster("c3", { cordoned: true, draining: false })
    assert.strictEqual(w.agent("c3").created.length, 0)
    const two = w.agent("c2")
    w.demand(V1, { pending: 1, leased: { [id]: 1 }, arrivals: 1 })
    assert.deepStrictEqual([one.created.length, two.created.length], [1, 1])
    w.advance(100)
    w.controller.setCluster("c1", { cordoned: true, draining: true })
    w.advance(100)
    assert.deepStrictEqual(
      one.terminated.map(({ instanceId, drainMs }) => [instanceId, drainMs > 0]),
      [[id, true]]
    )
    assert.strictEqual(w.ids(V1, "ready").length, 2)
    assert.isTrue(
      w.controller.instances({ versionId: V1 }).every((each) => each.state !== "ready" || each.cluster === "c2")
    )
  })
})

describe("controller: what it finds", () => {
  it("what an agent says after another one has taken its cluster over is left out", async () => {
    const w = await world()
    const heartbeat = (agentEpoch: number, ids: ReadonlyArray<string>) => {
      const instances = ids.map((instanceId) => instanceReport({ instanceId, versionId: V1, cluster: "c1" }))
      const facts = { cluster: "c1", region: "r", backend: "fake", isolation: "none", instanceTypes: [] }
      w.publish(subjects.report("c1"), JSON.stringify({ _tag: "Heartbeat", ...facts, agentEpoch, instances }))
    }
    w.deploy(V1, { minInstances: 1 })
    heartbeat(1, ["of-one"])
    heartbeat(2, ["of-one", "of-two"])
    assert.deepStrictEqual(w.ids(V1, "ready").toSorted(), ["of-one", "of-two"])
    heartbeat(1, [])
    heartbeat(1, ["late"])
    heartbeat(1, [])
    assert.deepStrictEqual(w.ids(V1, "ready").toSorted(), ["of-one", "of-two"])
  })

  it("a heartbeat of a part says nothing of instances of the others, and two without an instance of it that it is gone", async () => {
    const w = await world()
    const ids = ["one", "two", "three", "four"]
    const partOf = (index: number) => ids.filter((id) => HeartbeatPart.has({ index, count: 2 }, id))
    const heartbeat = (index: number, listed: ReadonlyArray<string>) => {
      const instances = listed.map((instanceId) => instanceReport({ instanceId, versionId: V1, cluster: "c1" }))
      const facts = { cluster: "c1", region: "r", backend: "fake", isolation: "none", instanceTypes: [] }
      const part = { index, count: 2 }
      w.publish(subjects.report("c1"), JSON.stringify({ _tag: "Heartbeat", ...facts, part, instances }))
    }
    w.deploy(V1, { minInstances: 4 })
    const [first, second] = [partOf(0), partOf(1)]
    assert.isTrue(first.length > 0 && second.length > 1)
    heartbeat(0, first)
    heartbeat(1, second)
    assert.deepStrictEqual(w.ids(V1, "ready").toSorted(), ids.toSorted())
    for (let count = 0; count < 4; count++) heartbeat(0, first)
    assert.deepStrictEqual(w.ids(V1, "ready").toSorted(), ids.toSorted())
    heartbeat(1, second.slice(1))
    assert.deepStrictEqual(w.ids(V1, "ready").toSorted(), ids.toSorted())
    heartbeat(1, second.slice(1))
    assert.deepStrictEqual(w.ids(V1, "ready").toSorted(), ids.filter((id) => id !== second[0]).toSorted())
  })

  it("after a restart, heartbeats bring the instances back and nothing is started or ended for it", async () => {
    const first = await world()
    const agent = first.agent("c1")
    first.deploy(V1, { minInstances: 1 })
    first.advance(100)
    const heartbeats: Array<string> = []
    const running = [...agent.running.values()].map(({ report }) => report)
    heartbeats.push(
      JSON.stringify({
        _tag: "Heartbeat",
        cluster: "c1",
        region: "here",
        backend: "fake",
        isolation: "none",
        instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: 10, free: 9 }],
        instances: running
      })
    )
    const second = await world()
    second.deploy(V1, { minInstances: 1, idleWindowMs: 100 })
    second.publish(subjects.report("c1"), heartbeats[0]!)
    assert.deepStrictEqual(second.ids(V1, "ready"), [running[0]!.instanceId])
    assert.strictEqual(second.sent.length, 0)
    second.deploy(V1, { minInstances: 0, idleWindowMs: 100 })
    second.advance(1_500)
    assert.strictEqual(second.sent.length, 0, "demand is unknown as yet")
  })

  it("an instance of a version that is not deployed is drained when it is found", async () => {
    const first = await world()
    const agent = first.agent("c1")
    first.deploy(V1, { minInstances: 1 })
    first.advance(100)
    const [instance] = [...agent.running.values()]
    const second = await world()
    const order = {
      _tag: "InstanceChanged",
      cluster: "c1",
      instance: instance!.report
    }
    second.publish(subjects.report("c1"), JSON.stringify(order))
    assert.deepInclude(JSON.parse(second.sent[0]!.payload), {
      instanceId: instance!.order.instanceId,
      reason: "the version is not deployed any more"
    })
  })

  it("reports that cannot be read are left out and harm nothing", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, {})
    for (const subject of [subjects.demand, subjects.worker, subjects.report("c1")]) {
      for (const text of ["", "{", "null", `{"_tag":"Heartbeat"}`, `{"versionId":1}`]) w.publish(subject, text)
    }
    w.demand(V1, { pending: 1, arrivals: 1 })
    assert.strictEqual(agent.created.length, 1)
  })

  it("after it is closed it orders nothing more and leaves no timer behind that acts", async () => {
    const w = await makeWorld()
    const agent = w.agent("c1")
    w.deploy(V1, { idleWindowMs: 100 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(60)
    w.demand(V1, {})
    await w.close()
    w.deploy(V2, { minInstances: 3 })
    w.advance(60_000)
    assert.strictEqual(agent.terminated.length, 0)
    assert.strictEqual(agent.created.length, 1)
  })
})
