/**
 * A thousand instances on a hundred nodes, with the agent killed in the middle: all placed and reported, none twice.
 *
 * @module
 */
import { afterAll, describe, expect, inject, it } from "vitest"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Admin from "./Admin.ts"
import * as AgentProcess from "./AgentProcess.ts"
import { addNodes, newCluster, removeAll } from "./harness.ts"

const instances = Number(process.env["MILLRACE_KUBERNETES_INSTANCES"] ?? 1_000)
const gpusPerNode = 10
const nodes = Math.ceil(instances / gpusPerNode)
const minutes = 60_000

const admin = await Admin.open(inject("kubeconfig"))
const kubeconfig = await admin.agentKubeconfig(inject("directory"))
const cluster = newCluster()
const labelSelector = Names.selectorOf(Names.labelsOfCluster(cluster))

describe("a thousand instances on a hundred nodes", () => {
  const agents: Array<AgentProcess.AgentProcess> = []

  afterAll(async () => {
    for (const agent of agents) await agent.kill()
    // A cluster of our own is thrown away whole: to take all of this out one by one takes as long as the test.
    if (!inject("isOurs")) await removeAll(admin, cluster, nodes)
  }, 10 * minutes)

  const begin = () => {
    const agent = AgentProcess.start({ cluster, kubeconfig, count: instances })
    agents.push(agent)
    return agent
  }

  it("are all placed and reported, and none is doubled, though the agent is killed in the middle", {
    timeout: 20 * minutes
  }, async () => {
    await addNodes(admin, cluster, nodes, gpusPerNode)
    const fromMs = performance.now()
    const first = begin()
    await Admin.waitFor("a third to be launched", async () => first.said().launched >= instances / 3, 8 * minutes)
    const before = first.said()
    await first.kill()
    const second = begin()
    const isDone = async () => second.said().launched === instances
    await Admin.waitFor("all to be launched", isDone, 10 * minutes)

    const reported = async () => {
      const answer = await admin.call({
        method: "GET",
        path: Names.pathsOf(Admin.namespace).requests,
        query: { labelSelector }
      })
      return JSON.stringify(answer).split('"requestStatus":"RequestCompleted"').length - 1
    }
    await Admin.waitFor("all to be reported", async () => (await reported()) === instances, 10 * minutes)
    const seconds = (performance.now() - fromMs) / 1_000

    const pods = await admin.pods(labelSelector)
    const perNode = new Map<string, number>()
    for (const { node } of pods) perNode.set(node, (perNode.get(node) ?? 0) + 1)
    expect(pods.length).toBe(instances)
    expect(new Set(pods.map((pod) => pod.name)).size).toBe(instances)
    expect(Math.max(...perNode.values())).toBeLessThanOrEqual(gpusPerNode)

    const after = second.said()
    const perInstance = (before.calls + after.calls) / instances
    console.log(
      `${instances} instances on ${nodes} nodes in ${seconds.toFixed(0)} s; agent: ${after.rssAtStartMiB} MiB with what was there, ` +
        `${after.rssMiB} MiB at the end; ${perInstance.toFixed(1)} calls to the API server per instance, both agents together`
    )
    expect(perInstance).toBeLessThan(15)
  })
})
