import { describe, expect, it } from "vitest"
import * as HeartbeatPart from "../compute/HeartbeatPart.ts"
import * as ControllerClusters from "./ControllerClusters.ts"

const of = (index: number) => ["a", "b", "c", "d", "e", "f"].filter((id) => HeartbeatPart.has({ index, count: 2 }, id))
const [mine] = of(0)
const [other] = of(1)

const world = () => {
  const clusters = ControllerClusters.make(10_000)
  const open = new Set<string>()
  const heartbeat = (free: number, ids: ReadonlyArray<string>) =>
    clusters.heartbeat(
      {
        _tag: "Heartbeat",
        cluster: "c",
        region: "r",
        backend: "fake",
        isolation: "none",
        instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: 10, free }],
        part: { index: 0, count: 2 },
        // What it lists beyond its instances' ids is not looked at.
        instances: ids.map((instanceId) => ({ instanceId })) as unknown as ControllerClusters.Heartbeat["instances"]
      },
      0,
      (id) => open.has(id)
    )
  const free = () => clusters.views(0)[0]?.instanceTypes[0]?.free
  const order = (id: string) => {
    open.add(id)
    clusters.ordered("c", id, "local")
  }
  return { clusters, open, heartbeat, free, order }
}

describe("ControllerClusters with heartbeats in parts", () => {
  it("what was ordered takes room until its agent has told of it, whichever part the heartbeat is of", () => {
    const { open, heartbeat, free, order } = world()
    heartbeat(10, [])
    order(other!)
    expect(free()).toBe(9)
    heartbeat(10, [])
    expect(free()).toBe(9)
    open.delete(other!)
    heartbeat(9, [])
    expect(free()).toBe(9)
  })

  it("what ends after a heartbeat that counted it gives its room back, once", () => {
    const { clusters, open, heartbeat, free, order } = world()
    heartbeat(10, [])
    order(mine!)
    order(other!)
    open.clear()
    heartbeat(8, [mine!])
    for (let count = 0; count < 2; count++) {
      clusters.ended("c", mine!, "local")
      clusters.ended("c", other!, "local")
    }
    expect(free()).toBe(10)
    heartbeat(10, [])
    clusters.ended("c", mine!, "local")
    expect(free()).toBe(10)
  })
})
