/**
 * A Helm function from end to end on a real API server: deployed through the control API, which holds its chart to the
 * rules, made a `MiniService` by `millrace serve agent`, and called through the worker beside it. No container runs here:
 * KWOK says of the chart's pods that they are ready, the worker's Pod is done by this test as it says, and a server of this
 * test stands for the chart's Service.
 *
 * @module
 */
import type { ChildProcess } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest"
import * as MiniService from "../../src/backends/kubernetes/mini-service/MiniService.ts"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Fields from "../../src/core/chart/Fields.ts"
import * as Services from "../serve/Services.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import * as Admin from "./Admin.ts"
import * as Kubelet from "./Kubelet.ts"

const admin = await Admin.open(inject("kubeconfig"))
const kubeconfig = await admin.agentKubeconfig(inject("directory"))
const paths = Names.pathsOf(Admin.namespace)
const nodes = [`helm-${process.pid}-cpu`, `helm-${process.pid}-gpu`] as const
const cluster = `helm-${process.pid}`

const front = `
apiVersion: v1
kind: Service
metadata: { name: front }
spec: { selector: { app: model }, ports: [{ port: 80, targetPort: 8080 }] }
`
const model = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: model }
spec:
  selector: { matchLabels: { app: model } }
  template:
    metadata: { labels: { app: model } }
    spec:
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: one
          image: law.test/sleeps
          ports: [{ containerPort: 8080 }]
          resources: { limits: { nvidia.com/gpu: 2 } }
          securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
`
const deployment = { gpu: { kind: "H100", count: 2 }, instanceType: "GPU.H100_2x", maxAttempts: 1 }

describe.skipIf(natsIsMissing)("a Helm function", { timeout: 180_000 }, () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  let invocation: Services.Service
  let control: Services.Service
  let agent: Services.Service
  let takeRightsAway = async () => {}
  let service: Server
  const directories: Array<string> = []
  const children: Array<ChildProcess> = []

  beforeAll(async () => {
    takeRightsAway = await admin.installMiniServices()
    await admin.addNode(nodes[0], { gpus: 0, labels: {} })
    await admin.addNode(nodes[1], { gpus: 8, labels: {} })
    nats = await startNats()
    services = Services.make(nats, "helm")
    ;[invocation, control] = await Promise.all([services.start("invocation"), services.start("control")])
    agent = await services.start("agent", {
      "agent.backend": "kubernetes",
      "agent.kubeconfig": kubeconfig,
      "agent.namespace": Admin.namespace,
      "agent.workerImage": "law.test/sleeps",
      "agent.charts": "on",
      "agent.cluster": cluster,
      "agent.workerUrl": String(invocation.facts["worker"])
    })
    service = createServer((request, response) => {
      if (request.url === "/ready") return response.end()
      request.pipe(response)
    })
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve))
  }, 120_000)
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL")
    await agent?.stop("SIGTERM")
    await services?.close()
    await nats?.remove()
    service?.close()
    for (const node of nodes) await admin.find({ method: "DELETE", path: `${paths.nodes}/${node}` })
    for (const directory of directories) rmSync(directory, { recursive: true, force: true })
    await takeRightsAway()
  }, 120_000)

  const folder = (name: string, chart: object | undefined, manifests = "") => {
    const directory = mkdtempSync(join(tmpdir(), "mr-"))
    directories.push(directory)
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, "millrace.json"), JSON.stringify({ name, chart, deployment }))
    writeFileSync(join(directory, "chart.yaml"), manifests)
    return directory
  }
  const serviceUrl = () => {
    const address = service.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  }
  const entry = { manifests: "./chart.yaml", serviceName: "front", servicePort: 80, healthPath: "/ready" }
  const miniServices = async () => {
    const labelSelector = Names.selectorOf(Names.labelsOfCluster(cluster))
    const all = await admin.call({ method: "GET", path: paths.miniServices, query: { labelSelector } })
    return Fields.list(all, "items").flatMap((one) => MiniService.decode(one) ?? [])
  }
  /** With what there is, where it takes too long. */
  const noMiniService = () =>
    Admin.waitFor("no MiniService", async () => (await miniServices()).length === 0).catch(async (error: unknown) => {
      const find = (path: string) => admin.find({ method: "GET", path })
      const there = await Promise.all(
        (await miniServices()).map(async (one) => [
          one,
          await find(`${paths.requests}/${one.spec.icmsRequestName}`),
          await find(`/api/v1/namespaces/${one.spec.namespace}`)
        ])
      )
      const said = await services.cli(control, "instances", "--all", "--json")
      throw new Error(`${String(error)}: instances ${said}, ${JSON.stringify(there)}`, { cause: error })
    })
  const noPodOf = (name: string) =>
    Admin.waitFor("no Pod", async () => (await Kubelet.podsOf(admin, name)).length === 0).catch(
      async (error: unknown) => {
        const left = await Kubelet.podsOf(admin, name)
        const said = await services.cli(control, "instances", "--all", "--json")
        throw new Error(`${String(error)}: ${JSON.stringify(left)}, of instances ${said}`, { cause: error })
      }
    )
  const call = async (name: string) => {
    const url = `${invocation.facts["gateway"]}/f/${name}/echo`
    await Admin.waitFor(`the gateway to know ${name}`, async () => {
      const signal = AbortSignal.timeout(1_000)
      const status = await fetch(url, { method: "POST", body: "", signal }).then(
        (one) => one.status,
        () => 0
      )
      // It waits for its start, so it is known.
      return status !== 404
    })
    return fetch(url, { method: "POST", body: `to ${name}` })
  }

  it("a chart that breaks the rules is refused when it is deployed, with all that is wrong with it", async () => {
    const loud = front.replace("spec: {", "spec: { type: LoadBalancer,")
    const own = "apiVersion: v1\nkind: Namespace\nmetadata: { name: mine }\n"
    const wrong = folder(
      "wrong",
      entry,
      [
        loud,
        model.replace("app: model } }\n    spec:", "app: model } }\n    spec:\n      hostNetwork: true"),
        own
      ].join("\n---\n")
    )
    const refused = await services.cli(control, "deploy", wrong).then(
      (text) => text,
      (error: Error) => error.message
    )
    expect(refused).toMatch(/Namespace mine: v1 Namespace is not a kind that a chart may have/)
    expect(refused).toMatch(/Service front: spec\.type is LoadBalancer: only ClusterIP/)
    expect(refused).toMatch(/Deployment model: hostNetwork is true/)
    await expect(services.cli(control, "deploy", folder("unread", entry, "a: ["))).rejects.toThrow(/cannot be read/)
    await expect(
      services.cli(control, "deploy", folder("other", { ...entry, serviceName: "back" }, `${front}---${model}`))
    ).rejects.toThrow(/there is no Service back/)
    expect(await miniServices()).toEqual([])
  })

  it("becomes a MiniService on the cluster's GPUs, its worker answers the call, and nothing of it is left", async () => {
    await services.cli(control, "deploy", folder("charted", entry, `${front}---${model}`))
    const answer = call("charted")
    // When the test fails before it is waited for.
    answer.catch(() => undefined)
    await Admin.waitFor("it to run", async () => (await miniServices())[0]?.phase === "Running")
    const [one, ...others] = await miniServices()
    expect(others).toEqual([])
    if (one === undefined) throw new Error("the MiniService that was there is gone")
    const { namespace } = one.spec
    expect(namespace).toBe(one.name)
    const inside = `/api/v1/namespaces/${namespace}`
    const pods = Fields.list(await admin.call({ method: "GET", path: `${inside}/pods` }), "items")
    expect(pods.map((pod) => Fields.text(pod, "spec", "nodeName"))).toEqual([nodes[1]])
    const quota = await admin.call({ method: "GET", path: `${inside}/resourcequotas/max-gpus` })
    expect(Fields.at(quota, "spec", "hard")).toEqual({ "requests.nvidia.com/gpu": "2" })
    let workers: ReadonlyArray<Kubelet.ServerPod> = []
    await Admin.waitFor("its worker", async () => {
      workers = await Kubelet.podsOf(admin, "charted")
      return workers.length > 0
    })
    const [worker] = workers
    if (worker === undefined) throw new Error("the worker that was there is gone")
    expect(JSON.stringify(worker)).not.toContain("nvidia.com/gpu")
    const policy = JSON.stringify(
      await admin.call({
        method: "GET",
        path: `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies/millrace`
      })
    )
    expect(policy).toContain(`"${Names.instanceLabel}":"${worker.metadata.labels[Names.instanceLabel]}"`)
    const forward = `http://front.${namespace}.svc:80`
    expect(worker.spec.containers[0]?.command).toEqual([
      ...["millrace", "worker", "wrap", "--forward", forward],
      ...["--health", "/ready"]
    ])
    children.push(await Kubelet.runMillraceHere(admin, worker.spec.containers[0], { [forward]: serviceUrl() }))
    expect(await (await answer).text()).toBe("to charted")

    await services.cli(control, "delete", "charted", "--force")
    await noMiniService()
    await Admin.waitFor("no worker", async () => (await Kubelet.podsOf(admin, "charted")).length === 0)
    expect(await admin.find({ method: "GET", path: inside })).toBeUndefined()
  })

  it("a server in an image, with a health path, is called by the sidecar in its Pod", async () => {
    const directory = folder("served", undefined)
    const health = { port: 8_000, path: "/ready" }
    const file = { name: "served", image: "law.test/sleeps", health, deployment }
    writeFileSync(join(directory, "millrace.json"), JSON.stringify(file))
    await services.cli(control, "deploy", directory)
    const answer = call("served")
    answer.catch(() => undefined)
    let pods: ReadonlyArray<Kubelet.ServerPod> = []
    await Admin.waitFor("its Pod", async () => {
      pods = await Kubelet.podsOf(admin, "served")
      return pods.length > 0
    })
    const sidecar = pods[0]?.spec.initContainers.find(({ name }) => name === "utils")
    children.push(await Kubelet.runMillraceHere(admin, sidecar, { "http://127.0.0.1:8000": serviceUrl() }))
    expect(await (await answer).text()).toBe("to served")
    await services.cli(control, "delete", "served", "--force")
    await noPodOf("served")
  })

  it("one that cannot be rendered there is told as such, and is not tried again and again", async () => {
    const url = "https://203.0.113.7/charts/model-1.2.3.tgz"
    await services.cli(control, "deploy", folder("fetched", { url, serviceName: "front", servicePort: 80 }))
    const answer = call("fetched")
    answer.catch(() => undefined)
    const failed = async () => {
      const all: ReadonlyArray<{ state: string; detail: string }> = JSON.parse(
        await services.cli(control, "instances", "--all", "--json")
      )
      return all.filter(({ state }) => state === "failed")
    }
    await Admin.waitFor("its failure", async () => (await failed()).length > 0)
    const [only, ...others] = await failed()
    expect(only?.detail).toMatch(/its chart cannot be had here: there is no helm on the PATH/)
    expect(others).toEqual([])
    await noMiniService()
    await services.cli(control, "delete", "fetched", "--force")
  })
})
