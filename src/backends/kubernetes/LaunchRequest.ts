/**
 * Writes the request of one instance and what belongs to it: found when it is there, made anew when an earlier life of the
 * same id has ended, and complete only when its Secret is in.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Chart } from "../../core/chart/Chart.ts"
import type { InstanceSpec } from "../ComputeBackend.ts"
import { BackendUnavailable } from "../LaunchError.ts"
import type { Api, ApiFailure } from "./Api.ts"
import * as Bundles from "./Bundles.ts"
import type { Bundle } from "./FunctionBundle.ts"
import type { Informer } from "./Informer.ts"
import * as InstanceRequest from "./InstanceRequest.ts"
import { miniServiceOf } from "./mini-service/OfRequest.ts"
import * as Names from "./Names.ts"
import { forceAfterMs } from "./Plan.ts"
import { secretOf } from "./PodOf.ts"
import type { PodView } from "./PodView.ts"
import * as Reconciler from "./Reconciler.ts"

export interface Options {
  readonly cluster: string
  readonly namespace: string
  readonly api: Api
  readonly paths: Names.Paths
  readonly requests: Informer<InstanceRequest.InstanceRequest>
  readonly pods: Informer<PodView>
  /** Waits until a look at what is known of the name answers true. */
  readonly until: (
    name: string,
    look: () => boolean,
    ms: number,
    operation: string
  ) => Effect.Effect<void, BackendUnavailable>
}

/** Beyond its grace, for an end to be carried out. */
export const endWaitMs = forceAfterMs + 60_000
/** Each time somebody else has changed it meanwhile. */
const triesMax = 10

export const unavailable = (operation: string, detail: string) =>
  new BackendUnavailable({ backend: "kubernetes", operation, detail })

export const make = ({ cluster, namespace, api, paths, requests, pods, until }: Options) => {
  const apply = (path: string, body: unknown) =>
    api.call({
      method: "PATCH",
      path,
      query: { fieldManager: Names.fieldManager, force: "true" },
      contentType: "application/apply-patch+yaml",
      body
    })

  /** Makes room for the next life of the name: the old one has ended, or is about to. */
  const clear = Effect.fnUntraced(function* (old: InstanceRequest.InstanceRequest) {
    const { name, uid } = old
    const graceMs = InstanceRequest.endingGraceMs(old) ?? 0
    const isOver = () => {
      const now = requests.get(name)
      return now?.uid !== uid || InstanceRequest.isEnded(now)
    }
    yield* until(name, isOver, graceMs + endWaitMs, "launch")
    const pod = pods.get(Names.podName(name))
    if (pod?.ownerUids.includes(uid) === true) {
      const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid: pod.uid } }
      yield* api.find({ method: "DELETE", path: `${paths.pods}/${pod.name}`, body })
    }
    yield* Reconciler.release({ api, paths }, old)
    yield* until(name, () => requests.get(name)?.uid !== uid, endWaitMs, "launch")
  })

  /** What an earlier life of this launch has made stays as it is; one that is refused for good gives up the request. */
  const makeOnce = (request: InstanceRequest.InstanceRequest, path: string, body: unknown) =>
    api.call({ method: "POST", path, body }).pipe(
      Effect.catchIf(
        (failure) => failure.status === 409,
        () => Effect.void
      ),
      Effect.tapError((failure) =>
        Reconciler.refusalOf(request, failure) === undefined
          ? Effect.void
          : Effect.ignore(Reconciler.release({ api, paths }, request))
      )
    )

  /** Its kind belongs to no namespace, so it is nobody's property: the request's end takes it away. */
  const makeChart = Effect.fnUntraced(function* (
    request: InstanceRequest.InstanceRequest,
    spec: InstanceSpec,
    chart: Chart
  ) {
    const body = miniServiceOf({ cluster, namespace, request, spec, chart })
    yield* makeOnce(request, paths.miniServices, body)
  })

  /** False: somebody else did something to it meanwhile. */
  const finish = Effect.fnUntraced(function* (request: InstanceRequest.InstanceRequest, spec: InstanceSpec) {
    // Created and never changed: so the right to read or to change Secrets is not needed.
    yield* makeOnce(request, paths.secrets, secretOf(cluster, request, spec))
    if (spec.chart !== undefined) yield* makeChart(request, spec, spec.chart)
    const instance = InstanceRequest.newInstance(request.name)
    const pending = InstanceRequest.statusOf(request, { phase: "RequestPending", instance }, Date.now())
    const written = yield* Effect.result(apply(`${paths.requests}/${request.name}/status`, pending))
    if (written._tag === "Failure" && written.failure.status !== 409) return yield* written.failure
    if (written._tag === "Success") requests.note(written.success)
    return written._tag === "Success"
  })

  const write = Effect.fnUntraced(function* (spec: InstanceSpec, bundle: Bundle | undefined) {
    // First: a Pod that cannot find its files waits, and nobody would bring them.
    if (bundle !== undefined) yield* Bundles.ensure({ api, paths, cluster }, bundle, Date.now())
    const name = Names.requestName(cluster, spec.instanceId)
    const path = `${paths.requests}/${name}`
    for (let tries = 0; tries < triesMax; tries++) {
      const wanted = InstanceRequest.resourceOf(cluster, spec)
      const applied = yield* Effect.result(apply(path, wanted))
      const isOther = applied._tag === "Failure" && isImmutable(applied.failure)
      if (applied._tag === "Failure" && !isOther) return yield* applied.failure
      // Its spec cannot be changed, so there is one, as another launch has made it.
      const object = applied._tag === "Success" ? applied.success : yield* api.find({ method: "GET", path })
      if (object === undefined) continue
      const request = InstanceRequest.decode(object)
      if (request === undefined) return yield* unavailable("launch", `the server answered something else for ${name}`)
      requests.note(object)
      if (InstanceRequest.isEnded(request) || InstanceRequest.endingGraceMs(request) !== undefined) {
        yield* clear(request)
        continue
      }
      if (request.phase !== "") return
      // Left by a launch that never got further, and not what is wanted now.
      if (isOther) yield* Reconciler.release({ api, paths }, request)
      else if (yield* finish(request, spec)) return
    }
    return yield* unavailable("launch", `${name} was something else each of ${triesMax} times`)
  })

  return write
}

const isImmutable = (failure: ApiFailure): boolean => failure.status === 422 && failure.detail.includes("immutable")
