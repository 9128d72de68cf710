/**
 * The API server is killed in the middle of many requests and comes back with etcd's data: all are placed and reported, and
 * none is doubled. On a cluster of its own, because the other suites need theirs.
 *
 * @module
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Admin from "./Admin.ts"
import * as AgentProcess from "./AgentProcess.ts"
import { findBinaries } from "./Binaries.ts"
import { type Cluster, startCluster } from "./Cluster.ts"
import { addNodes, newCluster } from "./harness.ts"

/** A thousand by this option; by default so many that the run stays short. */
const instances = Number(process.env["MILLRACE_KUBERNETES_RESTART_INSTANCES"] ?? 200)
const gpusPerNode = 10
const nodes = Math.ceil(instances / gpusPerNode)
const kills = 2
const minutes = 60_000

describe("an API server that is killed and comes back", () => {
  const name = newCluster()
  let server: Cluster
  let admin: Admin.Admin
  let agent: AgentProcess.AgentProcess | undefined

  beforeAll(async () => {
    const binaries = findBinaries()
    if (binaries === undefined) throw new Error("there is no cluster to start: npm run test:kubernetes builds it")
    server = await startCluster(binaries)
    admin = await Admin.open(server.kubeconfig)
    await admin.install()
  }, 5 * minutes)
  afterAll(async () => {
    await agent?.kill()
    await server?.stop()
  }, minutes)

  it("loses and doubles nothing of what was asked for meanwhile", { timeout: 20 * minutes }, async () => {
    const paths = Names.pathsOf(Admin.namespace)
    const labelSelector = Names.selectorOf(Names.labelsOfCluster(name))
    await addNodes(admin, name, nodes, gpusPerNode)
    const kubeconfig = server.kubeconfig
    const parts = kills + 1
    const running = AgentProcess.start({ cluster: name, kubeconfig, count: instances, parts })
    agent = running
    for (let kill = 1; kill <= kills; kill++) {
      // In the middle of a part; the next one is asked for while it is away.
      const wanted = Math.floor((instances * (kill - 0.5)) / parts)
      await Admin.waitFor(`${wanted} to be launched`, async () => running.said().launched >= wanted, 8 * minutes)
      await server.kill("apiserver")
      running.goOn()
      await server.start("apiserver")
    }
    await Admin.waitFor("all to be launched", async () => running.said().launched === instances, 10 * minutes)
    const text = async () =>
      JSON.stringify(await admin.call({ method: "GET", path: paths.requests, query: { labelSelector } }))
    const completed = async () => (await text()).split('"requestStatus":"RequestCompleted"').length - 1
    await Admin.waitFor("all to be reported in the cluster", async () => (await completed()) === instances, 5 * minutes)
    await Admin.waitFor("all to be told to who watches", async () => running.said().started === instances, minutes)
    // Where each of them is, is the scheduler's: it forgets a binding whose outcome it did not hear, and may put one pod
    // too many on a node. A kubelet turns that away, and these nodes have none (KWOK).
    expect(await admin.pods(labelSelector)).toHaveLength(instances)
  })
})
