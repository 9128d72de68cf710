/**
 * The Kubernetes backend as the laws want it: a real API server and scheduler, the agent's own rights, and KWOK's word for
 * what a pod does.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type { InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import * as KubernetesBackend from "../../src/backends/kubernetes/KubernetesBackend.ts"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import type { Harness, Program } from "../../src/backends/laws/index.ts"
import type { Admin } from "./Admin.ts"
import { namespace } from "./Admin.ts"
import type { FaultProxy } from "./FaultProxy.ts"

const poolLabel = "law.test/pool"

/** Unique in the cluster, which may be somebody's and live on. */
const runId = `${process.pid}-${Date.now().toString(36)}`
let clusters = 0
export const newCluster = (): string => `cluster-${runId}-${++clusters}`

const imageOf = (program: Program): { readonly image: string; readonly arguments?: ReadonlyArray<string> } => {
  if (program.kind === "exits") return { image: "law.test/exits", arguments: [String(program.code), program.says] }
  // As a runtime reports it that knows no signals: 128 and its number.
  if (program.kind === "signals-itself") return { image: "law.test/exits", arguments: ["140", ""] }
  return { image: `law.test/${program.kind}` }
}

export const specOf = (instanceId: string, program: Program, change: Partial<InstanceSpec> = {}): InstanceSpec => ({
  instanceId,
  functionId: "function-of-laws",
  functionName: "laws",
  versionId: "version-of-laws",
  command: [],
  ...imageOf(program),
  environment: {},
  gpu: { kind: "H100", count: 1 },
  instanceType: "GPU.H100_1x",
  cpuMillis: 1_000,
  memoryBytes: 1024 ** 3,
  startDeadlineMs: 60_000,
  graceMs: 5_000,
  ...change
})

export interface OpenOptions extends Partial<KubernetesBackend.Options> {
  readonly cluster: string
  readonly kubeconfig: string
}

/** With a leader that changes within a second or two, and failures that are told within one. */
export const openBackend = (options: OpenOptions) =>
  Effect.orDie(
    KubernetesBackend.make({
      namespace,
      nodeSelector: { [poolLabel]: options.cluster },
      leaseMs: 3_000,
      thresholds: { imagePullErrorMs: 300 },
      ...options
    })
  ).pipe(Effect.provide(Logger.layer([])))

export const addNodes = async (admin: Admin, cluster: string, nodes: number, gpus: number): Promise<void> => {
  const names = Array.from({ length: nodes }, (_, index) => `${cluster}-${index}`)
  await Promise.all(names.map((name) => admin.addNode(name, { gpus, labels: { [poolLabel]: cluster } })))
}

export const removeAll = async (admin: Admin, cluster: string, nodes: number): Promise<void> => {
  const labelSelector = Names.selectorOf(Names.labelsOfCluster(cluster))
  const paths = Names.pathsOf(namespace)
  const answer = await admin.call({ method: "GET", path: paths.requests, query: { labelSelector } })
  // The server's list of objects, which have names.
  const { items } = answer as { readonly items: ReadonlyArray<{ readonly metadata: { readonly name: string } }> }
  for (const { metadata } of items) {
    const path = `${paths.requests}/${metadata.name}`
    const body = { metadata: { finalizers: null } }
    await admin.find({ method: "PATCH", path, contentType: "application/merge-patch+json", body })
    await admin.find({ method: "DELETE", path })
  }
  const options = { apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: 0 }
  for (const pod of await admin.pods(labelSelector)) {
    await admin.find({ method: "DELETE", path: `${paths.pods}/${pod.name}`, body: options })
  }
  for (let index = 0; index < nodes; index++) {
    await admin.find({ method: "DELETE", path: `${paths.nodes}/${cluster}-${index}` })
  }
}

/** Clusters of laws, to be taken away after each. */
export const opened = new Set<string>()

const noProcess = "KWOK runs no process: what this law looks at is a process's own"
const noOutput = "KWOK runs no process, and prints the same lines for every pod"

export const harnessOf = (admin: Admin, kubeconfig: string, proxy: FaultProxy): Harness => ({
  name: "kubernetes, on a real API server, scheduler and controllers; kubelets by KWOK",
  open: ({ places, cluster = newCluster() }) =>
    Effect.gen(function* () {
      opened.add(cluster)
      yield* Effect.promise(() => addNodes(admin, cluster, 1, places))
      return yield* openBackend({ cluster, kubeconfig })
    }),
  spec: specOf,
  environmentAdded: [],
  factDeadlineMs: 60_000,
  foreign: Effect.acquireRelease(
    Effect.promise(async () => {
      const instanceId = `foreign-${runId}`
      const pod = {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: instanceId, namespace, labels: { "app.kubernetes.io/managed-by": "somebody" } },
        spec: { containers: [{ name: "one", image: "law.test/sleeps" }], automountServiceAccountToken: false }
      }
      await admin.apply(pod)
      return instanceId
    }),
    (name) =>
      Effect.promise(() => admin.find({ method: "DELETE", path: `/api/v1/namespaces/${namespace}/pods/${name}` }))
  ).pipe(
    Effect.map((name) => ({
      instanceId: name,
      isRunning: Effect.promise(
        async () =>
          (await admin.find({ method: "GET", path: `/api/v1/namespaces/${namespace}/pods/${name}` })) !== undefined
      )
    }))
  ),
  breakWatch: () =>
    Effect.sync(() => {
      let left = 1
      // The version that it saw last is forgotten, too.
      proxy.rule((asked) => (asked.isWatch && left-- > 0 ? { kind: "answer", status: 410 } : { kind: "pass" }))
      proxy.cutWatches()
    }),
  skips: {
    C16: noProcess,
    C27: noOutput,
    C28: noOutput,
    C29: noOutput,
    C30: noOutput,
    C31: noOutput,
    C34: noProcess
  }
})
