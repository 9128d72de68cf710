/**
 * `MiniService`s on a real API server, with its own controllers of Deployments and namespaces and the agent's rights.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest"
import * as Api from "../../src/backends/kubernetes/Api.ts"
import * as Controller from "../../src/backends/kubernetes/mini-service/Controller.ts"
import * as MiniService from "../../src/backends/kubernetes/mini-service/MiniService.ts"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Admin from "./Admin.ts"
import { newCluster } from "./harness.ts"

const admin = await Admin.open(inject("kubeconfig"))
const agentKubeconfig = await admin.agentKubeconfig(inject("directory"))
const cluster = newCluster()
const node = `charts-${process.pid}`

const front = `
apiVersion: v1
kind: Service
metadata: { name: front }
spec: { selector: { app: model }, ports: [{ port: 80, targetPort: 8080 }] }
`
const settings = (name: string) => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name} }
data: { a: "1" }
`
const model = (image: string, extra = "") => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: model, labels: { tier: gpu } }
spec:
  replicas: 2
  selector: { matchLabels: { app: model } }
  template:
    metadata: { labels: { app: model } }
    spec:
      ${extra}
      nodeName: nowhere
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: one
          image: ${image}
          ports: [{ containerPort: 8080 }]
          securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
`
const chart = (...documents: ReadonlyArray<string>) => documents.join("\n---\n")

describe("MiniServices", { timeout: 120_000 }, () => {
  const scopes = new Set<Scope.Closeable>()
  const names: Array<string> = []

  const startController = async (more: Partial<Controller.Options> = {}, apiOf = (api: Api.Api) => api) => {
    const scope = Effect.runSync(Scope.make())
    scopes.add(scope)
    const started = Effect.gen(function* () {
      const api = apiOf(Api.make(yield* Api.connect(agentKubeconfig)))
      const controller = yield* Controller.start({ api, cluster, isActing: () => true, lookMs: 200, ...more })
      controller.lookAtAll()
    })
    await Effect.runPromise(Scope.provide(started, scope).pipe(Effect.provide(Logger.layer([]))))
    return async () => {
      scopes.delete(scope)
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }

  const put = (name: string, manifests: string, more: object = {}, of = cluster) => {
    if (!names.includes(name)) names.push(name)
    return admin.call({
      method: "PATCH",
      path: `${Controller.path}/${name}`,
      query: { fieldManager: "test", force: "true" },
      contentType: "application/apply-patch+yaml",
      body: {
        apiVersion: Names.apiVersion,
        kind: "MiniService",
        metadata: { name, labels: Names.labelsOfCluster(of) },
        spec: { namespace: name, helmChartConfig: { serviceName: "front", servicePort: 80, manifests }, ...more }
      }
    })
  }
  const get = async (name: string) =>
    MiniService.decode(await admin.find({ method: "GET", path: `${Controller.path}/${name}` }))
  const conditionOf = async (name: string, type: string) =>
    (await get(name))?.status.conditions?.find((one) => one.type === type)
  const phaseIs = (name: string, phase: MiniService.Phase) =>
    Admin.waitFor(`${name} to be ${phase}`, async () => (await get(name))?.phase === phase)
  const isThere = async (path: string) => (await admin.find({ method: "GET", path })) !== undefined
  const nameOf = (what: string) => `${what}-${process.pid}`
  const remove = (name: string) => admin.find({ method: "DELETE", path: `${Controller.path}/${name}` })

  let takeRightsAway = async () => {}
  beforeAll(async () => {
    takeRightsAway = await admin.installMiniServices()
    await admin.addNode(node, { gpus: 0, labels: {} })
  })
  afterEach(async () => {
    for (const scope of scopes) await Effect.runPromise(Scope.close(scope, Exit.void))
    scopes.clear()
  })
  afterAll(async () => {
    await startController()
    for (const name of names) await remove(name)
    await Admin.waitFor("all to be gone", async () =>
      (await Promise.all(names.map(get))).every((one) => one === undefined)
    )
    for (const scope of scopes) await Effect.runPromise(Scope.close(scope, Exit.void))
    await admin.find({ method: "DELETE", path: `/api/v1/nodes/${node}` })
    await takeRightsAway()
  })

  it("H4, H7: a chart runs in a namespace of its own, also over the end of a controller; at its end all of it is gone", async () => {
    const name = nameOf("model")
    const seen = new Set<string>()
    const stop = await startController()
    await put(name, chart(front, settings("settings"), model("law.test/sleeps")))
    await Admin.waitFor("its namespace", () => isThere(`/api/v1/namespaces/${name}`))
    await stop()
    await startController()
    await Admin.waitFor("it to run", async () => {
      seen.add((await get(name))?.phase ?? "")
      return seen.has("Running")
    })
    const service = await get(name)
    expect(service?.status).toMatchObject({
      observedGeneration: service?.generation,
      renderedDetails: {
        resources: [
          { gvk: "v1/Service", count: 1 },
          { gvk: "v1/ConfigMap", count: 1 },
          { gvk: "apps/v1/Deployment", count: 1 }
        ]
      }
    })
    expect(seen.has("InstallFailed")).toBe(false)
    const inside = `/apis/apps/v1/namespaces/${name}/deployments/model`
    const deployment = JSON.stringify(await admin.call({ method: "GET", path: inside }))
    expect(deployment).toContain(`"uid":"${service?.uid}"`)
    expect(deployment).toContain('"tier":"gpu"')
    expect(deployment).toContain('"automountServiceAccountToken":false')
    expect(deployment).not.toContain("nowhere")
    const quota = await admin.call({ method: "GET", path: `/api/v1/namespaces/${name}/resourcequotas/max-objects` })
    expect(JSON.stringify(quota)).toContain('"count/pods":"100"')
    const pods = (await admin.call({ method: "GET", path: `/api/v1/namespaces/${name}/pods` })) as { items: unknown[] }
    expect(pods.items).toHaveLength(2)

    await put(name, chart(front, model("law.test/sleeps")))
    await Admin.waitFor(
      "what is no longer in the chart to go",
      async () => !(await isThere(`/api/v1/namespaces/${name}/configmaps/settings`))
    )
    await Admin.waitFor("the second revision", async () => ((await get(name))?.status.objects ?? []).length === 2)
    const revision = (await get(name))?.status.revision

    // H6
    await put(name, chart(front, model("law.test/sleeps", "hostNetwork: true")))
    await Admin.waitFor("its refusal", async () => (await conditionOf(name, "InstallSuccessful"))?.status === "False")
    expect((await conditionOf(name, "InstallSuccessful"))?.message).toMatch(/Deployment model: hostNetwork is true/)
    expect(await get(name)).toMatchObject({ phase: "Running", status: { revision } })
    expect(await isThere(inside)).toBe(true)

    await remove(name)
    await Admin.waitFor("it to be gone", async () => (await get(name)) === undefined)
    expect(await isThere(`/api/v1/namespaces/${name}`)).toBe(false)
  })

  it("H4: whatever write was the last of a controller, the next one goes on from there, and nothing is there twice", async () => {
    const manifests = chart(front, settings("settings"), model("law.test/sleeps"))
    const dieAfter = async (writes: number) => {
      const of = newCluster()
      const name = nameOf(`dies-${writes}`)
      await put(name, manifests, {}, of)
      let written = 0
      const stop = await startController({ cluster: of }, (api) => ({
        ...api,
        call: (request) => (request.method !== "GET" && ++written > writes ? Effect.never : api.call(request)),
        find: (request) => (request.method !== "GET" && ++written > writes ? Effect.never : api.find(request))
      }))
      await Admin.waitFor(`${name} to be left by its controller`, async () => written > writes)
      await stop()
      await startController({ cluster: of })
      await phaseIs(name, "Running")
      const service = await get(name)
      expect(service?.status.objects).toHaveLength(3)
      const pods = (await admin.call({ method: "GET", path: `/api/v1/namespaces/${name}/pods` })) as {
        items: unknown[]
      }
      expect(pods.items).toHaveLength(2)
      await remove(name)
      await Admin.waitFor(`${name} to be gone`, async () => (await get(name)) === undefined)
      expect(await isThere(`/api/v1/namespaces/${name}`)).toBe(false)
    }
    // The finalizer, the phase, the namespace, what is around, three objects, the phase.
    await Promise.all(Array.from({ length: 10 }, (_, writes) => dieAfter(writes)))
  })

  it("pull secrets of the agent's settings are copied to the namespace of a chart, and one that is missing is told", async () => {
    const secret = nameOf("registry")
    const target = `/api/v1/namespaces/default/secrets/${secret}`
    const data = { ".dockerconfigjson": Buffer.from(JSON.stringify({ auths: {} })).toString("base64") }
    const type = "kubernetes.io/dockerconfigjson"
    const placeOf = () => ({ nodeSelector: {}, nodeTerms: [], tolerations: [], pullSecrets: [secret] })
    const body = { apiVersion: "v1", kind: "Secret", metadata: { name: secret }, type, data }
    await admin.call({ method: "POST", path: "/api/v1/namespaces/default/secrets", body })
    try {
      await startController({ placeOf, pullSecretsFrom: "default" })
      const name = nameOf("pulls")
      await put(name, chart(front, model("law.test/sleeps")))
      await phaseIs(name, "Running")
      expect(await admin.call({ method: "GET", path: `/api/v1/namespaces/${name}/secrets/${secret}` })).toMatchObject({
        type,
        data
      })
      const deployment = await admin.call({
        method: "GET",
        path: `/apis/apps/v1/namespaces/${name}/deployments/model`
      })
      expect(deployment).toMatchObject({ spec: { template: { spec: { imagePullSecrets: [{ name: secret }] } } } })
      await admin.find({ method: "DELETE", path: target })
      const late = nameOf("pulls-late")
      await put(late, chart(front, model("law.test/sleeps")))
      await phaseIs(late, "InstallFailed")
      expect((await conditionOf(late, "InstallSuccessful"))?.message).toContain(`the pull secret ${secret}`)
    } finally {
      await admin.find({ method: "DELETE", path: target })
    }
  })

  it("a chart that breaks the rules makes nothing; neither does one that cannot be read", async () => {
    await startController()
    const cases = [
      [
        nameOf("loud"),
        chart(front.replace("spec: {", "spec: { type: LoadBalancer,"), model("a")),
        /Service front: spec.type/
      ],
      [
        nameOf("kind"),
        chart(front, model("a"), "apiVersion: v1\nkind: Namespace\nmetadata: { name: mine }\n"),
        /Namespace mine/
      ],
      [nameOf("yaml"), "a: [", /cannot be read/]
    ] as const
    for (const [name, manifests] of cases) await put(name, manifests)
    for (const [name, , why] of cases) {
      await phaseIs(name, "InstallFailed")
      expect((await conditionOf(name, "InstallSuccessful"))?.message).toMatch(why)
      expect(await isThere(`/api/v1/namespaces/${name}`)).toBe(false)
    }
  })

  it("H5: a namespace of somebody else is refused, and is there after the end", async () => {
    await startController()
    const name = nameOf("foreign")
    await put(name, chart(front, model("law.test/sleeps")), { namespace: "default" })
    await phaseIs(name, "InstallFailed")
    expect((await conditionOf(name, "InstallSuccessful"))?.message).toMatch(/namespace default is there/)
    expect(await isThere("/apis/apps/v1/namespaces/default/deployments/model")).toBe(false)
    await remove(name)
    await Admin.waitFor("it to be gone", async () => (await get(name)) === undefined)
    expect(await isThere("/api/v1/namespaces/default")).toBe(true)
  })

  it("a part that cannot become healthy any more is the end, with its name", async () => {
    await startController()
    const name = nameOf("broken")
    const pod = model("x")
      .replace("apiVersion: apps/v1\nkind: Deployment", "apiVersion: v1\nkind: Pod")
      .replace(/spec:\n {2}replicas[\s\S]*? {4}spec:/, "spec:")
      .replace("labels: { tier: gpu }", "labels: { app: model }")
      .replace("image: x", "image: law.test/eats-memory")
    await put(name, chart(front, pod))
    // Whether it was seen to be ready for a moment is chance.
    await Admin.waitFor("its end", async () => MiniService.isFinal((await get(name))?.phase ?? ""))
    expect((await conditionOf(name, "ObjectsHealthy"))?.message).toMatch(/Pod model: /)
  })

  it("the server itself refuses what the schema does not allow, and a namespace that changes", async () => {
    const name = nameOf("schema")
    await expect(put(name, "a", { namespace: "Not A Name" })).rejects.toThrow(/spec.namespace/)
    await expect(put(name, "a", { helmChartConfig: { serviceName: "a", servicePort: 1 } })).rejects.toThrow(
      /url or manifests/
    )
    await put(name, chart(front, model("a")))
    await expect(put(name, chart(front), { namespace: "other" })).rejects.toThrow(/immutable/)
    const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/miniservices.compute.millrace.dev"
    const table = JSON.stringify(await admin.call({ method: "GET", path }))
    for (const column of ["Namespace", "Phase", "Healthy", "Age"]) expect(table).toContain(`"name":"${column}"`)
  })
})
