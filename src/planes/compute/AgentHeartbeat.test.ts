import * as Effect from "effect/Effect"
import { describe, expect, it } from "vitest"
import type { ComputeBackend } from "../../backends/ComputeBackend.ts"
import * as AgentHeartbeat from "./AgentHeartbeat.ts"
import type { AgentInstances } from "./AgentInstances.ts"
import type { InstanceReport } from "./AgentMessage.ts"
import type { AgentReports } from "./AgentReports.ts"
import * as HeartbeatPart from "./HeartbeatPart.ts"

/** An agent with so many instances, all of which run; `beats`: the ids in each heartbeat. */
const agentWith = (count: number) => {
  const ids = Array.from({ length: count }, (_, index) => `instance-${index}`)
  const beats: Array<ReadonlyArray<string>> = []
  const entryOf = (instanceId: string) => ({ create: { instanceId }, isLaunched: true, missedCount: 0 })
  const listed = ids.map((instanceId) => ({ instanceId, versionId: "v", startedAtMs: 0, labels: {} }))
  const heartbeat = AgentHeartbeat.make({
    cluster: "c",
    // Of each, what a heartbeat asks for.
    backend: {
      list: Effect.succeed(listed),
      capacity: Effect.succeed({ instanceTypes: [] })
    } as unknown as ComputeBackend["Service"],
    instances: {
      entries: new Map(ids.map((id) => [id, entryOf(id)])),
      ended: () => undefined,
      reports: (part?: HeartbeatPart.HeartbeatPart) =>
        ids.filter((id) => HeartbeatPart.has(part, id)).map((instanceId) => ({ instanceId }) as InstanceReport)
    } as unknown as AgentInstances,
    reports: {
      heartbeat: (_types: unknown, reports: ReadonlyArray<InstanceReport>) =>
        void beats.push(reports.map(({ instanceId }) => instanceId))
    } as unknown as AgentReports,
    nowMs: () => 0,
    epoch: () => 0,
    fork: (effect) => Effect.runFork(effect)
  })
  return { ids, beats, heartbeat }
}

describe("the heartbeat of an agent", () => {
  it("lists a few instances all together, each time", async () => {
    const { ids, beats, heartbeat } = agentWith(HeartbeatPart.instancesPerPart)
    await Effect.runPromise(heartbeat.beat)
    await Effect.runPromise(heartbeat.beatWhole)
    expect(beats).toEqual([ids, ids])
  })

  it("lists many in turn, about as many each time, and every one within as many beats as there are parts", async () => {
    const { ids, beats, heartbeat } = agentWith(4_500)
    for (let count = 0; count < 5; count++) await Effect.runPromise(heartbeat.beat)
    expect(beats.length).toBe(5)
    expect(Math.max(...beats.map((one) => one.length))).toBeLessThan(1_200)
    expect(beats.flat().toSorted()).toEqual(ids.toSorted())
  })

  it("lists all of many at once when it is asked to, in several messages", async () => {
    const { ids, beats, heartbeat } = agentWith(2_500)
    await Effect.runPromise(heartbeat.beatWhole)
    expect(beats.length).toBe(3)
    expect(beats.flat().toSorted()).toEqual(ids.toSorted())
  })
})
