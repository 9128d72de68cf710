/**
 * `millrace serve agent` with `agent.backend: kubernetes`, beside a gateway and a control plane of their own, on a real API
 * server: a function that the CLI deployed is a Pod, and what the Pod says answers its call.
 *
 * @module
 */
import type { ChildProcess } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Services from "../serve/Services.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { root } from "../support/TestPlatform.ts"
import * as Admin from "./Admin.ts"
import * as Kubelet from "./Kubelet.ts"

const admin = await Admin.open(inject("kubeconfig"))
const kubeconfig = await admin.agentKubeconfig(inject("directory"))
const paths = Names.pathsOf(Admin.namespace)
const image = "law.test/sleeps"
const node = `serve-${process.pid}`
const cluster = `serve-${process.pid}`

describe.skipIf(natsIsMissing)("millrace serve agent on Kubernetes", { timeout: 180_000 }, () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  const directories: Array<string> = []
  const children: Array<ChildProcess> = []
  const folder = (parent = tmpdir()) => {
    mkdirSync(parent, { recursive: true })
    const directory = mkdtempSync(join(parent, "mr-"))
    directories.push(directory)
    return directory
  }

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "kubernetes")
    await admin.addNode(node, { gpus: 0, labels: {} })
  }, 60_000)
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL")
    await services?.close()
    await nats?.remove()
    await admin.find({ method: "DELETE", path: `${paths.nodes}/${node}` })
    for (const directory of directories) rmSync(directory, { recursive: true, force: true })
  })

  it("a function is a Pod of the named cluster, with the image, the namespace and the address of the settings", async () => {
    const [invocation, control] = await Promise.all([services.start("invocation"), services.start("control")])
    const workerUrl = String(invocation.facts["worker"])
    const agent = await services.start("agent", {
      "agent.backend": "kubernetes",
      "agent.kubeconfig": kubeconfig,
      "agent.namespace": Admin.namespace,
      "agent.image": image,
      "agent.cluster": cluster,
      "agent.workerUrl": workerUrl
    })
    expect([agent.facts["backend"], agent.facts["cluster"]]).toEqual(["kubernetes", cluster])
    const directory = folder(join(root, "tests/.tmp"))
    writeFileSync(join(directory, "millrace.json"), JSON.stringify({ name: "served", entry: "./server.mjs" }))
    writeFileSync(
      join(directory, "server.mjs"),
      `import { serve } from "millrace/worker"
       serve({ fetch: () => new Response("from a Pod") })`
    )
    await services.cli(control, "deploy", directory)
    await Admin.waitFor("the gateway knows the function", async () => {
      const signal = AbortSignal.timeout(2_000)
      const seen = await fetch(`${invocation.facts["gateway"]}/f/served/`, { signal }).then(
        ({ status }) => status,
        () => 0
      )
      // It waits for its start, so it is known.
      return seen !== 404
    })
    const answer = fetch(`${invocation.facts["gateway"]}/f/served/`)
    // When the test fails before it is waited for.
    answer.catch(() => undefined)
    let pods: ReadonlyArray<Kubelet.ServerPod> = []
    await Admin.waitFor("a Pod of it", async () => {
      pods = await Kubelet.podsOf(admin, "served")
      return pods.length > 0
    })
    const [pod] = pods
    if (pod === undefined) throw new Error("the Pod that was there is gone")
    expect(pod.spec.containers[0]?.image).toBe(image)
    expect(pod.metadata.labels[Names.clusterLabel]).toBe(cluster)
    const { environment, child } = await Kubelet.runHere(admin, pod, folder())
    children.push(child)
    expect(environment).toMatchObject({ MILLRACE_WORKER_URL: workerUrl })
    expect(await (await answer).text()).toBe("from a Pod")
    expect((await agent.stop("SIGTERM")).code).toBe(0)
    await Admin.waitFor("no Pod of it", async () => (await Kubelet.podsOf(admin, "served")).length === 0)
  })
})
