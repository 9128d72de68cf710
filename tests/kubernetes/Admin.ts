/**
 * An administrator of the test cluster: makes nodes, applies manifests, looks at the world and not at what the backend
 * says of it.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { KubeConfig } from "@kubernetes/client-node"
import * as Effect from "effect/Effect"
import * as Api from "../../src/backends/kubernetes/Api.ts"
import { decodeNode } from "../../src/backends/kubernetes/PodView.ts"

const manifests = join(import.meta.dirname, "../../deploy/kubernetes")
export const namespace = "millrace"
const serviceAccount = "millrace-agent"

interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
}

const plurals: Readonly<Record<string, string>> = {
  CustomResourceDefinition: "customresourcedefinitions",
  Namespace: "namespaces",
  Node: "nodes",
  Pod: "pods",
  ServiceAccount: "serviceaccounts",
  Role: "roles",
  RoleBinding: "rolebindings",
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  ICMSRequest: "icmsrequests"
}

const pathOf = ({ apiVersion, kind, metadata }: KubernetesObject): string => {
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const inside = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`
  return `${root}${inside}/${plurals[kind]}/${metadata.name}`
}

export interface Admin {
  readonly api: Api.Api
  readonly call: (call: Api.Call) => Promise<unknown>
  readonly find: (call: Api.Call) => Promise<unknown>
  readonly apply: (object: unknown) => Promise<void>
  /** Namespace, custom resources and rights, as `docs/kubernetes.md` says. */
  readonly install: () => Promise<void>
  /** What charts need beside that; answers how to take the rights away again. */
  readonly installMiniServices: () => Promise<() => Promise<void>>
  /** A kubeconfig with the agent's own rights and nothing more. `server`: another way to the same server. */
  readonly agentKubeconfig: (directory: string, server?: string) => Promise<string>
  readonly addNode: (name: string, options: NodeOptions) => Promise<void>
  /** Names of pods of ours, of all clusters or with this label. */
  readonly pods: (labelSelector?: string) => Promise<ReadonlyArray<{ readonly name: string; readonly node: string }>>
}

export interface NodeOptions {
  /** 0 = a node for instances without GPUs. */
  readonly gpus: number
  readonly product?: string
  readonly labels: Readonly<Record<string, string>>
}

export const open = async (kubeconfig: string): Promise<Admin> => {
  const connection = await Effect.runPromise(Api.connect(kubeconfig))
  const api = Api.make(connection, { ...Api.timingDefault, tryMs: 60_000, deadlineMs: 120_000 })
  const call = (request: Api.Call) => Effect.runPromise(api.call(request))
  const find = (request: Api.Call) => Effect.runPromise(api.find(request))

  const apply = async (object: unknown) => {
    // Manifests and tests write whole objects.
    const whole = object as KubernetesObject
    const contentType = "application/apply-patch+yaml"
    await call({
      method: "PATCH",
      path: pathOf(whole),
      query: { fieldManager: "test", force: "true" },
      contentType,
      body: object
    })
  }

  /** One document of YAML, which the server reads itself. */
  const applyText = async (text: string) => {
    const field = (name: string) => new RegExp(`(?:^|[ {])${name}: *([^\\s,}]+)`, "m").exec(text)?.[1] ?? ""
    // A binding names one for its subject, too.
    const inside = /^(Cluster|Custom|Namespace)/.test(field("kind")) ? "" : field("namespace")
    const metadata = { name: field("name"), ...(inside === "" ? {} : { namespace: inside }) }
    const path = pathOf({ apiVersion: field("apiVersion"), kind: field("kind"), metadata })
    const contentType = "application/apply-patch+yaml"
    await call({ method: "PATCH", path, query: { fieldManager: "test", force: "true" }, contentType, body: text })
  }

  const applyFile = async (file: string) => {
    for (const text of readFileSync(join(manifests, file), "utf8").split(/^---$/m)) await applyText(text)
  }

  const install = async () => {
    for (const file of ["custom-resources.yaml", "rbac.yaml"]) await applyFile(file)
    // A definition is served a moment after it was accepted.
    const path = `/apis/compute.millrace.dev/v1alpha1/namespaces/${namespace}`
    for (const kind of ["icmsrequests", "nvcfbackends"]) {
      await waitFor(
        `${kind} to be served`,
        async () => (await find({ method: "GET", path: `${path}/${kind}` })) !== undefined
      )
    }
    const account = `/api/v1/namespaces/${namespace}/serviceaccounts/default`
    await waitFor(
      "the default service account",
      async () => (await find({ method: "GET", path: account })) !== undefined
    )
  }

  const installMiniServices = async () => {
    await applyFile("mini-services.yaml")
    const path = "/apis/compute.millrace.dev/v1alpha1/miniservices"
    await waitFor("miniservices to be served", async () => (await find({ method: "GET", path })) !== undefined)
    const binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/millrace-mini-services"
    return async () => void (await find({ method: "DELETE", path: binding }))
  }

  const agentKubeconfig = async (directory: string, server?: string) => {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 7_200 } }
    // What the server answers to a TokenRequest.
    const answer = (await call({ method: "POST", path, body })) as { readonly status: { readonly token: string } }
    const config = new KubeConfig()
    config.loadFromFile(kubeconfig)
    const current = config.getCurrentCluster()
    const cluster = {
      server: server ?? current?.server,
      "insecure-skip-tls-verify": server !== undefined || current?.skipTLSVerify === true,
      "certificate-authority-data": server === undefined ? current?.caData : undefined,
      "certificate-authority": server === undefined ? current?.caFile : undefined
    }
    const file = join(directory, `agent-${server === undefined ? "direct" : "proxied"}.kubeconfig`)
    const text = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: "agent", user: { token: answer.status.token } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "agent" } }],
      "current-context": "test"
    }
    writeFileSync(file, JSON.stringify(text), { mode: 0o600 })
    return file
  }

  const addNode = async (name: string, { gpus, product = "NVIDIA-H100-80GB-HBM3", labels }: NodeOptions) => {
    const amounts = {
      cpu: "192",
      memory: "2Ti",
      pods: "250",
      "ephemeral-storage": "10Ti",
      ...(gpus === 0 ? {} : { "nvidia.com/gpu": String(gpus) })
    }
    const gpuLabels = { "nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": product }
    const node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name,
        annotations: { "kwok.x-k8s.io/node": "fake" },
        labels: { ...(gpus === 0 ? {} : gpuLabels), ...labels }
      },
      spec: gpus === 0 ? {} : { taints: [{ key: "nvidia.com/gpu", value: "present", effect: "NoSchedule" }] },
      status: { allocatable: amounts, capacity: amounts }
    }
    const path = `/api/v1/nodes/${name}`
    if ((await find({ method: "GET", path })) === undefined) {
      await call({ method: "POST", path: "/api/v1/nodes", body: node })
    }
    await waitFor(`node ${name} to be ready`, async () => isReady(await find({ method: "GET", path })))
  }

  const pods: Admin["pods"] = async (labelSelector = "app.kubernetes.io/managed-by=millrace") => {
    const path = `/api/v1/namespaces/${namespace}/pods`
    // The server's list of pods, of which these fields are always there.
    const answer = (await call({ method: "GET", path, query: { labelSelector } })) as {
      readonly items: ReadonlyArray<{
        readonly metadata: { readonly name: string }
        readonly spec: { readonly nodeName?: string }
      }>
    }
    return answer.items.map(({ metadata, spec }) => ({ name: metadata.name, node: spec.nodeName ?? "" }))
  }

  return { api, call, find, apply, install, installMiniServices, agentKubeconfig, addNode, pods }
}

/** As the scheduler sees it: ready, and its first taint is off. */
const isReady = (node: unknown): boolean =>
  decodeNode(node)?.isUsable === true && !JSON.stringify(node).includes("not-ready")

const factDeadlineMs = 60_000

export const waitFor = async (
  what: string,
  look: () => Promise<boolean>,
  deadlineMs = factDeadlineMs
): Promise<void> => {
  const untilMs = performance.now() + deadlineMs
  while (!(await look())) {
    if (performance.now() > untilMs) throw new Error(`waited ${deadlineMs} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
