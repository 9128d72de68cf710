/**
 * Instances as Pods of a Kubernetes cluster. `launch` writes an `ICMSRequest` and its Secret; whichever agent of the
 * cluster leads makes the Pod of it, follows it, and writes into the request's status what happens; every agent tells
 * its watchers what it reads there. So an agent can die at any point, and two of them do not double.
 *
 * What it needs in the cluster: `deploy/kubernetes/`. What each object and status means: `docs/kubernetes.md`.
 * Laws: `millrace/backend-laws`, against a real API server in `tests/kubernetes`.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import {
  type Abilities,
  type Capacity,
  ComputeBackend,
  type InstanceObservation,
  type InstanceSpec,
  type RunningInstance
} from "../ComputeBackend.ts"
import { type BackendUnavailable, type LaunchError, NoCapacity } from "../LaunchError.ts"
import * as Api from "./Api.ts"
import * as Bundles from "./Bundles.ts"
import * as ClusterReport from "./ClusterReport.ts"
import * as FunctionBundle from "./FunctionBundle.ts"
import * as Informer from "./Informer.ts"
import * as InstanceRequest from "./InstanceRequest.ts"
import { badSpec } from "./LaunchRefusal.ts"
import * as LaunchRequest from "./LaunchRequest.ts"
import { endWaitMs, unavailable } from "./LaunchRequest.ts"
import * as Leadership from "./Leadership.ts"
import * as MiniServiceController from "./mini-service/Controller.ts"
import { chartStateOf } from "./mini-service/OfRequest.ts"
import * as Names from "./Names.ts"
import * as Nodes from "./Nodes.ts"
import { observationsOf } from "./Observations.ts"
import * as PodLogs from "./PodLogs.ts"
import { chartPlaceOf, gpuResourceDefault, type PodOptions, podOf } from "./PodOf.ts"
import { type Thresholds, thresholdsDefault } from "./PodState.ts"
import { decodeNode, decodePod, type NodeView, type PodView } from "./PodView.ts"
import * as Reconciler from "./Reconciler.ts"

export interface Options extends PodOptions {
  /** Of this agent's cluster: instances of other clusters in the same namespace are neither seen nor touched. */
  readonly cluster: string
  /** A file. Absent = what `KUBECONFIG`, `~/.kube/config` or the pod's service account says. */
  readonly kubeconfig?: string
  /** Where everything of ours is; it must be there. Default: `millrace`. */
  readonly namespace?: string
  readonly region?: string
  readonly thresholds?: Partial<Thresholds>
  /** How long a failed request stays to be looked at, milliseconds. Default: one hour. */
  readonly failureKeptMs?: number
  /** How long the others wait for a leader that says nothing, milliseconds. Default: 15,000. */
  readonly leaseMs?: number
  readonly timing?: Partial<Api.Timing>
  /** A watch on which nothing comes for so long is given up, milliseconds. Default: 150,000. */
  readonly watchIdleMs?: number
  /** Carries out charts (`MiniService`s), which needs `deploy/kubernetes/mini-services.yaml`. Default: false. */
  readonly miniServices?: boolean
  /** Told after each request to the server, for tests and measurements. */
  readonly onApi?: (api: Api.Api) => void
}

const namespaceDefault = "millrace"
const failureKeptMsDefault = 3_600_000
const leaseMsDefault = 15_000
const pageSize = 500

export const make = Effect.fnUntraced(function* (options: Options) {
  const { cluster } = options
  const namespace = options.namespace ?? namespaceDefault
  const paths = Names.pathsOf(namespace)
  const labelSelector = Names.selectorOf(Names.labelsOfCluster(cluster))
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const connection = yield* Effect.mapError(Api.connect(options.kubeconfig), (failure) =>
    unavailable("be opened", failure.message)
  )
  const api = Api.make(connection, { ...Api.timingDefault, ...options.timing })
  options.onApi?.(api)

  const observers = new Set<(observation: InstanceObservation) => void>()
  const waiters = new Map<string, Set<() => void>>()
  const launching = new Map<
    string,
    { readonly held: Nodes.Held; readonly done: Deferred.Deferred<void, LaunchError> }
  >()
  let reconciler: Reconciler.Reconciler | undefined
  let charts: MiniServiceController.Controller | undefined
  let leadership: Leadership.Leadership | undefined
  const isActing = () => leadership?.isActing() === true

  const tell = (observation: InstanceObservation) => {
    for (const observer of observers) {
      try {
        observer(observation)
      } catch (cause) {
        runFork(Effect.logError("a watcher of the Kubernetes backend threw", cause))
      }
    }
  }

  const output = yield* PodLogs.make(api, paths)

  const onRequest = (change: Informer.Change<InstanceRequest.InstanceRequest>) => {
    const { name } = change.last
    for (const observation of observationsOf(change, Date.now())) {
      if (observation._tag === "Started") output.started(observation.instanceId, name)
      if (observation._tag === "Exited") {
        output.ended(observation.instanceId, name, observation.lastOutput, observation.atMs)
      }
      tell(observation)
    }
    for (const wake of waiters.get(name) ?? []) wake()
    reconciler?.look(name)
  }

  const onPod = ({ after, last }: Informer.Change<PodView>) => {
    if (after === undefined) reconciler?.podGone(last)
    reconciler?.look(Names.requestNameOf(last.name))
  }

  /** Of requests, which are what is told; of a Pod that was missed the leader asks the server itself. */
  const onGap = (detail: string) => tell({ _tag: "Gap", atMs: Date.now(), detail })
  const idle = options.watchIdleMs === undefined ? {} : { idleMs: options.watchIdleMs }
  const informer = <A extends Informer.Named>(of: Omit<Informer.Options<A>, "idleMs">) =>
    Effect.mapError(Informer.start(api, { ...of, ...idle }), (failure) =>
      unavailable(
        "be opened",
        failure.status === 404
          ? `${failure.message}: apply deploy/kubernetes/custom-resources.yaml to the cluster`
          : failure.message
      )
    )

  const nodes = yield* informer<NodeView>({
    path: paths.nodes,
    ...(options.nodeSelector === undefined ? {} : { labelSelector: Names.selectorOf(options.nodeSelector) }),
    decode: decodeNode,
    onChange: () => {},
    onGap: () => {}
  })
  const pods = yield* informer({ path: paths.pods, labelSelector, decode: decodePod, onChange: onPod, onGap: () => {} })
  const requests = yield* informer({
    path: paths.requests,
    labelSelector,
    decode: InstanceRequest.decode,
    onChange: onRequest,
    onGap
  })

  reconciler = yield* Reconciler.start({
    api,
    paths,
    requests,
    pods,
    thresholds: { ...thresholdsDefault, ...options.thresholds },
    failureKeptMs: options.failureKeptMs ?? failureKeptMsDefault,
    isActing,
    chartOf: ({ name, uid }) => chartStateOf(charts?.get(Names.chartName(name, uid))),
    podOf: (request) => {
      const gpuProducts = Nodes.productsOf(nodes.all(), request.spec.gpu.kind)
      return podOf({ cluster, request, gpuProducts, options })
    }
  })
  const lookAtAll = () => {
    for (const request of requests.all()) reconciler?.look(request.name)
  }

  const held = (): ReadonlyArray<Nodes.Held> => {
    const all: Array<Nodes.Held> = []
    const seen = new Set<string>()
    for (const request of requests.all()) {
      if (InstanceRequest.isEnded(request)) continue
      const { instanceId, gpu, chart } = request.spec
      seen.add(instanceId)
      // The node of a Helm function is its worker's, and has none of its GPUs.
      const node = chart === undefined ? request.instance?.node : undefined
      all.push({ kind: kindOf(gpu), gpuCount: gpu.count, node })
    }
    for (const [instanceId, one] of launching) if (!seen.has(instanceId)) all.push(one.held)
    return all
  }

  const gpuResource = options.gpuResource ?? gpuResourceDefault
  const capacity = (): Capacity => Nodes.withLocal(Nodes.capacityOf({ nodes: nodes.all(), held: held(), gpuResource }))

  const sweepBundles = Effect.suspend(() => {
    const inUse = [...requests.all()].flatMap(({ spec }) => spec.bundle ?? [])
    return Bundles.sweep({ api, paths, cluster }, new Set(inUse), Date.now())
  })
  const report = yield* ClusterReport.start(api, {
    also: options.functionImage === undefined ? Effect.void : sweepBundles,
    cluster,
    namespace,
    region: options.region ?? "",
    paths,
    capacity,
    isActing
  })

  const chartsOptions: MiniServiceController.Options = {
    api,
    cluster,
    isActing,
    ...idle,
    placeOf: ({ gpuKind }) =>
      chartPlaceOf(gpuKind === undefined ? [] : Nodes.productsOf(nodes.all(), gpuKind), options),
    pullSecretsFrom: namespace,
    isWanted: ({ name, spec: { icmsRequestName = "" } }) => {
      const isOf = (request: InstanceRequest.InstanceRequest | undefined) =>
        request !== undefined && Names.chartName(request.name, request.uid) === name
      if (isOf(requests.get(icmsRequestName))) return Effect.succeed(true)
      const found = api.find({ method: "GET", path: `${paths.requests}/${icmsRequestName}` })
      return Effect.map(found, (object) => isOf(InstanceRequest.decode(object)))
    },
    onChange: ({ spec: { icmsRequestName } }) => {
      if (icmsRequestName !== undefined) reconciler?.look(icmsRequestName)
    }
  }
  if (options.miniServices === true) {
    charts = yield* Effect.mapError(MiniServiceController.start(chartsOptions), ({ message }) =>
      unavailable("be opened", `${message}: apply deploy/kubernetes/mini-services.yaml to the cluster`)
    )
  }

  const leaseMs = options.leaseMs ?? leaseMsDefault
  leadership = yield* Leadership.start(api, {
    cluster,
    path: paths.leases,
    me: `${hostname()}-${randomUUID().slice(0, 8)}`,
    ttlMs: leaseMs,
    renewMs: Math.ceil(leaseMs / 3),
    marginMs: Math.ceil(leaseMs / 5),
    onGained: () => {
      lookAtAll()
      charts?.lookAtAll()
      runFork(report.now)
    },
    onLost: (reason) => runFork(Effect.logWarning(`the lead of the Kubernetes cluster is lost: ${reason}`, { cluster }))
  })
  /** Waits until a look at what is known of the name answers true. */
  const until = (name: string, look: () => boolean, ms: number, operation: string) =>
    Effect.callback<void, BackendUnavailable>((resume) => {
      const wakes = waiters.get(name) ?? new Set()
      const leave = () => {
        clearTimeout(timer)
        wakes.delete(wake)
        if (wakes.size === 0) waiters.delete(name)
      }
      const wake = () => {
        if (!look()) return
        leave()
        resume(Effect.void)
      }
      const timer = setTimeout(() => {
        leave()
        resume(
          Effect.fail(
            unavailable(operation, `nothing came of it in ${ms} ms; see kubectl describe icmsrequest ${name}`)
          )
        )
      }, ms)
      waiters.set(name, wakes.add(wake))
      wake()
      return Effect.sync(leave)
    })

  const isLive = (request: InstanceRequest.InstanceRequest | undefined): boolean =>
    request !== undefined && !InstanceRequest.isEnded(request)

  const write = LaunchRequest.make({ cluster, namespace, api, paths, requests, pods, until })

  const pack = FunctionBundle.make()
  /** The spec as it is in the Pod; a function that is a folder has its files with it. */
  const insideOf = (spec: InstanceSpec) => {
    const { image, workingDirectory, chart } = spec
    // What runs as its instance is its worker.
    if (chart !== undefined) return { spec: { ...spec, image: options.workerImage ?? "" }, bundle: undefined }
    const isImage = image !== undefined || options.functionImage === undefined || workingDirectory === undefined
    return isImage ? { spec, bundle: undefined } : pack(spec, workingDirectory, options.functionImage)
  }

  const launchFailure = (spec: InstanceSpec, failure: Api.ApiFailure | BackendUnavailable): LaunchError =>
    failure._tag === "BackendUnavailable"
      ? failure
      : (Reconciler.refusalOf({ spec }, failure) ?? unavailable("launch", failure.message))

  const launch = (spec: InstanceSpec): Effect.Effect<void, LaunchError> =>
    Effect.suspend(() => {
      const { instanceId, gpu } = spec
      const under = launching.get(instanceId)
      if (under !== undefined) return Deferred.await(under.done)
      const now = capacity()
      const refused = badSpec(spec, now, options)
      if (refused !== undefined) return refused
      const type = now.instanceTypes.find((one) => one.name === spec.instanceType)
      if (!isLive(requests.get(Names.requestName(cluster, instanceId))) && (type?.free ?? 0) < 1) {
        const detail = `all ${type?.total ?? 0} places of the type ${spec.instanceType} are taken`
        return new NoCapacity({ instanceId, detail })
      }
      const inside = insideOf(spec)
      if (!("spec" in inside)) return inside
      const done = Deferred.makeUnsafe<void, LaunchError>()
      launching.set(instanceId, { held: { kind: kindOf(gpu), gpuCount: gpu.count, node: undefined }, done })
      const over = (exit: Exit.Exit<void, LaunchError>) => {
        launching.delete(instanceId)
        Deferred.doneUnsafe(done, exit)
      }
      // It goes on when the one who asked goes away: the next one to ask waits for it.
      runFork(
        write(inside.spec, inside.bundle).pipe(
          Effect.mapError((failure) => launchFailure(spec, failure)),
          Effect.exit,
          Effect.map(over)
        )
      )
      return Deferred.await(done)
    })

  const terminate = Effect.fnUntraced(function* (instanceId: string, graceMs: number) {
    const under = launching.get(instanceId)
    if (under !== undefined) yield* Effect.ignore(Deferred.await(under.done))
    const name = Names.requestName(cluster, instanceId)
    const path = `${paths.requests}/${name}`
    const asked = requests.get(name)?.spec.terminationMsgInfo?.graceMs
    const wanted = Math.max(0, Math.ceil(graceMs))
    if (asked === undefined || wanted < asked) {
      const body = { spec: { terminationMsgInfo: { graceMs: wanted } } }
      const object = yield* api
        .find({ method: "PATCH", path, contentType: "application/merge-patch+json", body })
        .pipe(Effect.mapError((failure) => unavailable("terminate", failure.message)))
      if (object !== undefined) requests.note(object)
      const there = InstanceRequest.decode(object)
      if (there !== undefined && InstanceRequest.isEnded(there)) return
    }
    yield* until(name, () => !isLive(requests.get(name)), wanted + endWaitMs, "terminate")
  })

  const list = Effect.fnUntraced(function* () {
    const found: Array<RunningInstance> = []
    let token: string | undefined
    do {
      const query = { labelSelector, limit: pageSize, continue: token }
      const page = yield* api
        .call({ method: "GET", path: paths.requests, query })
        .pipe(Effect.mapError((failure) => unavailable("list", failure.message)))
      const { items, continue: more } = Informer.readList(page)
      for (const item of items) {
        const request = InstanceRequest.decode(item)
        if (request !== undefined && !InstanceRequest.isEnded(request)) found.push(runningOf(request))
      }
      token = more
    } while (token !== undefined)
    return found
  })

  return ComputeBackend.of({
    abilities: abilitiesOf(() => nodes.all(), options.miniServices === true),
    capacity: Effect.sync(capacity),
    launch,
    terminate,
    list: Effect.suspend(list),
    watch: (onObservation) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => observers.add(onObservation)),
          () => Effect.sync(() => observers.delete(onObservation))
        )
      ),
    logs: (instanceId) =>
      Effect.mapError(output.logs(instanceId, Names.requestName(cluster, instanceId)), (failure) =>
        unavailable("read logs", failure.message)
      ),
    followLogs: output.followLogs
  })
})

export const layer = (options: Options): Layer.Layer<ComputeBackend, BackendUnavailable> =>
  Layer.effect(ComputeBackend, make(options))

const kindOf = (gpu: InstanceSpec["gpu"]): string => (gpu.count === 0 ? "none" : gpu.kind)

const runningOf = ({ spec, instance, createdAtMs }: InstanceRequest.InstanceRequest): RunningInstance => ({
  instanceId: spec.instanceId,
  versionId: spec.versionId,
  startedAtMs: instance?.startedAtMs ?? createdAtMs,
  labels: spec.labels
})

const abilitiesOf = (nodes: () => Iterable<NodeView>, charts: boolean): Abilities => ({
  name: "kubernetes",
  isolation: "container",
  image: true,
  command: false,
  charts,
  // Nodes come and go.
  get gpuKinds() {
    return [
      ...new Set([...nodes()].flatMap((node) => (node.isUsable ? (Nodes.kindOfNode(node) ?? []) : [])))
    ].toSorted()
  },
  preWarm: false,
  tasks: true,
  limits: ["cpu", "memory", "ephemeral-disk"],
  survivesRestart: true
})
