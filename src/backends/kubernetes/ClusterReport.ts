/**
 * What the leader keeps in the cluster for people to see and for the network to obey: its `NVCFBackend`, with health and
 * GPU usage in the status, and the network policy of all instances.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Capacity } from "../ComputeBackend.ts"
import type { Api, ApiFailure } from "./Api.ts"
import * as Names from "./Names.ts"
import { networkPolicyOf } from "./PodOf.ts"

export interface Options {
  readonly cluster: string
  readonly namespace: string
  readonly region: string
  readonly paths: Names.Paths
  readonly capacity: () => Capacity
  readonly isActing: () => boolean
  /** What else the leader does each minute. */
  readonly also: Effect.Effect<void, ApiFailure>
}

const everyMs = 60_000

/** Of each kind, by its smallest type: one GPU, or one place without. */
export const gpuUsageOf = ({ instanceTypes }: Capacity) =>
  Object.fromEntries(
    instanceTypes
      .filter((type) => type.gpuCount <= 1)
      .map(({ gpuKind, total, free }) => [gpuKind, { capacity: total, available: free, allocated: total - free }])
  )

const textOf = (answer: unknown, name: string): string => {
  const value: unknown = typeof answer === "object" && answer !== null ? Reflect.get(answer, name) : undefined
  return typeof value === "string" ? value : ""
}

/** `now`: reports at once; it does so by itself each minute while this process leads. */
export const start = (
  api: Api,
  options: Options
): Effect.Effect<{ readonly now: Effect.Effect<void> }, never, Scope.Scope> => {
  const { cluster, namespace, region, paths } = options
  const name = Names.backendName(cluster)
  const head = { apiVersion: Names.apiVersion, kind: "NVCFBackend" }
  const apply = (path: string, body: unknown) =>
    api.call({
      method: "PATCH",
      path,
      query: { fieldManager: Names.fieldManager, force: "true" },
      contentType: "application/apply-patch+yaml",
      body
    })
  const once = Effect.gen(function* () {
    if (!options.isActing()) return
    yield* apply(`${paths.networkPolicies}/${name}`, networkPolicyOf(cluster, name))
    yield* apply(`${paths.backends}/${name}`, {
      ...head,
      metadata: { name, labels: Names.labelsOfCluster(cluster) },
      spec: { clusterConfig: { clusterName: cluster, region, requestsNamespace: namespace } }
    })
    const version = yield* api.call({ method: "GET", path: paths.version })
    yield* apply(`${paths.backends}/${name}/status`, {
      ...head,
      metadata: { name },
      status: {
        agentStatus: "Healthy",
        kubernetesVersion: textOf(version, "gitVersion"),
        gpuUsage: gpuUsageOf(options.capacity()),
        lastUpdated: new Date().toISOString()
      }
    })
    yield* options.also
  })
  const now = Effect.catchCause(once, (cause) =>
    Effect.logWarning("the state of the Kubernetes cluster could not be reported", cause, { cluster })
  )
  return Effect.as(Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(everyMs), now))), { now })
}
