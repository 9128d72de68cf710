import { afterEach, assert, describe, it } from "vitest"
import { subjects } from "../../src/planes/compute/AgentMessage.ts"
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

const snapshot = (w: World, part: Readonly<Record<string, unknown>>) =>
  w.publish(
    subjects.demandSnapshot,
    JSON.stringify({ shard: "shard-0", shardCount: 1, isFirst: true, isLast: true, reports: [], ...part })
  )

const report = (versionId: string, pending: number) => ({
  shard: "shard-0",
  versionId,
  pending,
  leased: 0,
  leasedByInstance: {},
  arrivalsTotal: pending,
  oldestPendingMs: pending > 0 ? 0 : null
})

describe("controller: started anew, in another process than the rest", () => {
  it("orders nothing twice and ends nothing: what runs is heard of first, and gets its whole idle window", async () => {
    const w = await world({ settleMs: 1_000 })
    const agent = w.agent("c1")
    w.deploy(V1, { idleWindowMs: 5_000 })
    w.deploy(V2, { concurrency: 1 })
    w.demand(V2, { pending: 1, arrivals: 1 })
    snapshot(w, { reports: [report(V2, 1)] })
    for (const [versionId, instanceId] of [
      [V1, "one"],
      [V2, "two"]
    ] as const) {
      const instance = instanceReport({ instanceId, versionId, cluster: "c1" })
      w.publish(subjects.report("c1"), JSON.stringify({ _tag: "InstanceChanged", cluster: "c1", instance }))
    }
    w.advance(2_000)
    assert.deepStrictEqual([agent.created.length, agent.terminated.length], [0, 0])
    assert.deepStrictEqual([w.ids(V1, "ready"), w.ids(V2, "ready")], [["one"], ["two"]])
    w.advance(4_500)
    assert.deepStrictEqual(
      w.controller.decisions({ versionId: V1 }).map(({ to }) => to),
      [0, 1],
      "known to be idle since it began to act, and gone an idle window later"
    )
  })

  it("an instance that it hears of only after it has begun to act is not ended before its idle window is over", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { idleWindowMs: 5_000 })
    snapshot(w, {})
    w.advance(3_000)
    const instance = instanceReport({ instanceId: "late", versionId: V1, cluster: "c2" })
    w.publish(subjects.report("c2"), JSON.stringify({ _tag: "InstanceChanged", cluster: "c2", instance }))
    w.advance(4_900)
    assert.deepStrictEqual(w.ids(V1, "ready"), ["late"])
    w.advance(200)
    assert.deepStrictEqual(w.ids(V1, "draining"), ["late"])
    assert.strictEqual(agent.created.length, 0)
  })

  it("what a shard counted before it was heard of is no demand: neither what ended, nor for what waits now", async () => {
    const w = await world()
    const agent = w.agent("c1")
    for (const versionId of [V1, V2]) w.deploy(versionId, { concurrency: 1, maxInstances: 10 })
    snapshot(w, {})
    w.advance(1_000)
    w.demand(V1, { pending: 0, arrivals: 1 })
    w.advance(5_000)
    assert.strictEqual(agent.created.length, 0, "it has ended, and nothing waits")
    w.demand(V2, { pending: 1, arrivals: 5_001 })
    w.advance(20)
    const instanceId = agent.created[0]?.instanceId ?? ""
    w.demand(V2, { leased: { [instanceId]: 1 }, arrivals: 0 })
    w.advance(5_000)
    w.demand(V2, { pending: 1, leased: { [instanceId]: 1 }, arrivals: 1 })
    w.advance(100)
    assert.strictEqual(agent.created.length, 2, "one for each that was there at once")
  })

  it("silence means zero when every shard has told all that it has, in all its parts, and not before", async () => {
    const w = await world()
    w.deploy(V1, {})
    assert.match(w.controller.whyWaiting(V1) ?? "", /the demand is unknown/)
    snapshot(w, { shardCount: 2 })
    snapshot(w, { shard: "shard-1", shardCount: 2, isLast: false })
    snapshot(w, { shard: "shard-2", shardCount: 2, isFirst: false })
    assert.match(w.controller.whyWaiting(V1) ?? "", /the demand is unknown/)
    snapshot(w, { shard: "shard-1", shardCount: 2, isFirst: false })
    assert.match(w.controller.whyWaiting(V1) ?? "", /nothing is pending/)
  })

  it("a report that got lost is made good: what a shard does not name in all that it has is over", async () => {
    const w = await world()
    const agent = w.agent("c1")
    w.deploy(V1, { idleWindowMs: 1_000 })
    w.demand(V1, { pending: 1, arrivals: 1 })
    w.advance(10_000)
    assert.strictEqual(w.ids(V1, "ready").length, 1)
    snapshot(w, {})
    w.advance(1_500)
    assert.strictEqual(agent.terminated.length, 1)
  })
})
