import { describe, expect, it } from "vitest"
import * as DueHeap from "../../core/collections/DueHeap.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as RestartBudget from "../../core/instance/RestartBudget.ts"
import * as Policies from "../../core/scaling/Policies.ts"
import type { CreateInstance } from "../compute/AgentMessage.ts"
import * as ControllerClusters from "./ControllerClusters.ts"
import * as ControllerDemand from "./ControllerDemand.ts"
import * as ControllerInstances from "./ControllerInstances.ts"
import * as ControllerStarts from "./ControllerStarts.ts"
import type { VersionEntry } from "./ControllerVersionFacts.ts"
import { deploymentDefaults } from "./Domain.ts"

const deployment = { spec: deploymentDefaults, generation: 1 }
const versionId = "0000000a-0000-4000-8000-000000000000"
const deployed: ControllerStarts.Deployed = {
  deployment,
  route: {
    tenant: "t",
    functionId: "f",
    functionName: "fn",
    versionId,
    version: { command: ["node"], environment: {}, durability: "accepted", inferencePath: "/" },
    deployment
  }
}

/** Clusters `a` and `b` with so much room; an order that is made while `isRefused` is refused at once. */
const world = (room: { readonly a: number; readonly b: number }) => {
  let nowMs = 1_000
  let suffix = 0
  const clusters = ControllerClusters.make(10_000)
  const instances = ControllerInstances.make()
  const ordered: Array<CreateInstance & { readonly cluster: string }> = []
  const refusals: Array<() => void> = []
  const told: Array<string> = []
  const w = { isRefused: false }
  const heartbeat = (cluster: string, free: number) =>
    clusters.heartbeat(
      {
        _tag: "Heartbeat",
        cluster,
        region: "r",
        backend: "fake",
        isolation: "none",
        instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: 10, free }],
        part: { index: 0, count: 1 },
        instances: []
      },
      nowMs,
      () => true
    )
  heartbeat("a", room.a)
  heartbeat("b", room.b)
  const starts = ControllerStarts.make({
    time: { nowMs: () => nowMs, after: () => () => {} },
    clusters,
    instances,
    orders: {
      create: (cluster, message, onNotSent) => {
        ordered.push({ ...message, cluster })
        const refuse = () => onNotSent("the disk is full")
        if (w.isRefused) refuse()
        else refusals.push(refuse)
      }
    },
    newSuffix: () => `${++suffix}`,
    warn: (message) => told.push(message),
    onInstance: ({ instanceId, state }) => told.push(`${instanceId} ${state._tag}`),
    onHeld: (_, untilMs) => told.push(`held until ${untilMs}`)
  })
  const version: VersionEntry = {
    versionId,
    demand: ControllerDemand.make(() => "zero"),
    scaling: Policies.start("demand"),
    budget: RestartBudget.empty,
    generation: 1,
    reason: "two calls wait",
    demandAtMs: 900,
    nowhere: null,
    ordersHeldUntilMs: null,
    ...DueHeap.unset(),
    isEvaluating: false,
    isStale: false,
    isHeardOf: true,
    isChanged: false
  }
  return Object.assign(w, {
    starts,
    instances,
    ordered,
    refusals,
    told,
    version,
    heartbeat,
    freeOf: (cluster: string) => clusters.views(nowMs).find(({ name }) => name === cluster)?.instanceTypes[0]?.free,
    order: (count: number) => starts.order(version, deployed, count, nowMs),
    advance: (ms: number) => {
      nowMs += ms
    }
  })
}

describe("new instances of a version", () => {
  it("are known and take their room before they are ordered, with the demand and the reason that they serve", () => {
    const w = world({ a: 1, b: 1 })
    w.order(2)
    expect(w.ordered.map(({ cluster }) => cluster).sort()).toEqual(["a", "b"])
    expect(w.ordered.map(({ reason, decidedAtMs }) => [reason, decidedAtMs])).toEqual([
      ["two calls wait", 1_000],
      ["two calls wait", 1_000]
    ])
    expect([...w.instances.ofVersion(versionId).values()].map(({ demandAtMs }) => demandAtMs)).toEqual([900, 900])
    expect([w.freeOf("a"), w.freeOf("b")]).toEqual([0, 0])
    expect([w.version.nowhere, w.starts.blocked()]).toEqual([null, []])
  })

  it("without room make their version one that is looked at again, until all have a cluster or none is wanted", () => {
    const w = world({ a: 1, b: 0 })
    w.order(2)
    expect(w.ordered).toHaveLength(1)
    expect(w.starts.blocked()).toEqual([versionId])
    expect(w.version.nowhere).not.toBeNull()
    expect(w.starts.isHeldBack(w.version, 1_000)).toBe(true)
    w.heartbeat("b", 1)
    w.order(1)
    expect(w.ordered).toHaveLength(2)
    expect([w.version.nowhere, w.starts.blocked()]).toEqual([null, []])
    w.order(1)
    expect(w.starts.blocked()).toEqual([versionId])
    w.order(0)
    expect([w.version.nowhere, w.starts.blocked()]).toEqual([null, []])
    w.order(1)
    w.starts.forget(versionId)
    expect(w.starts.blocked()).toEqual([])
  })

  it("whose order did not leave have failed and give their room back; the next is ordered 200 ms later", () => {
    const w = world({ a: 2, b: 0 })
    w.order(1)
    w.refusals[0]?.()
    expect(w.told).toEqual([
      "0000000a-1 Requested",
      "0000000a-1 Failed",
      "an instance is decided anew because its order did not leave",
      "held until 1200"
    ])
    expect([w.instances.ofVersion(versionId).size, w.freeOf("a")]).toEqual([0, 2])
    w.advance(199)
    w.order(1)
    expect(w.ordered).toHaveLength(1)
    expect(w.starts.isHeldBack(w.version, 1_199)).toBe(true)
    w.advance(1)
    w.order(1)
    expect(w.ordered).toHaveLength(2)
    expect(w.starts.isHeldBack(w.version, 1_200)).toBe(false)
  })

  it("are not ordered behind one that was refused in the same turn, nor while their starts fail", () => {
    const w = world({ a: 5, b: 5 })
    w.isRefused = true
    w.order(4)
    expect(w.ordered).toHaveLength(1)
    const failing = world({ a: 5, b: 5 })
    failing.version.budget = { ...RestartBudget.empty, failures: 1, nextTryAtMs: 1_001 }
    failing.order(4)
    expect(failing.ordered).toHaveLength(0)
    expect(failing.starts.isHeldBack(failing.version, 1_000)).toBe(true)
  })

  it("that their agent has reported are there, whatever became of the record of their order", () => {
    const w = world({ a: 1, b: 0 })
    w.order(1)
    const [entry] = w.instances.ofVersion(versionId).values()
    if (entry === undefined) throw new Error("it is not known")
    entry.state = Instance.step(entry.state, { _tag: "WorkerReady", nowMs: 1_001 })[0]
    w.refusals[0]?.()
    expect([entry.state._tag, w.version.ordersHeldUntilMs, w.freeOf("a")]).toEqual(["Ready", null, 0])
  })

  it("of a version that is not deployed are not ordered", () => {
    const w = world({ a: 1, b: 1 })
    w.starts.order(w.version, undefined, 1, 1_000)
    expect(w.ordered).toHaveLength(0)
  })
})
