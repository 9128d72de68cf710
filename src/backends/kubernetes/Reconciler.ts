/**
 * Carries out the plans for all requests of a cluster while this process leads: by key, a bounded number at a time, each
 * again after a change, at its time, or after a failure with backoff.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { BadSpec, type LaunchError, QuotaExceeded } from "../LaunchError.ts"
import type { Api, ApiFailure } from "./Api.ts"
import type { Informer } from "./Informer.ts"
import { type InstanceRequest, type NewStatus, statusOf } from "./InstanceRequest.ts"
import * as Names from "./Names.ts"
import { type Action, type ChartState, plan, refused } from "./Plan.ts"
import type { Suspicion, Thresholds } from "./PodState.ts"
import { decodePod, type PodView } from "./PodView.ts"

export interface Options {
  readonly api: Api
  readonly paths: Names.Paths
  readonly requests: Informer<InstanceRequest>
  readonly pods: Informer<PodView>
  readonly podOf: (request: InstanceRequest) => unknown
  readonly chartOf: (request: InstanceRequest) => ChartState | undefined
  readonly thresholds: Thresholds
  readonly failureKeptMs: number
  readonly isActing: () => boolean
}

export interface Reconciler {
  /** Something about this request changed, or may have. */
  readonly look: (name: string) => void
  /** The last that was seen of a Pod that was deleted. */
  readonly podGone: (pod: PodView) => void
}

interface Memory {
  readonly uid: string
  timer: NodeJS.Timeout | undefined
  suspicion: Suspicion | undefined
  isPodGone: boolean
  lastPod: PodView | undefined
  failures: number
}

const atOnceMax = 16
const backoffMinMs = 200
const backoffMaxMs = 30_000
/** Timers of Node cannot be longer. */
const timerMaxMs = 3_600_000

const quotaWords = /exceeded quota|forbidden: quota|limit range/i

export const start = (options: Options): Effect.Effect<Reconciler, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { api, paths, requests, pods } = options
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const memories = new Map<string, Memory>()
    const waiting = new Set<string>()
    const busy = new Set<string>()
    let isClosed = false

    const memoryOf = (request: InstanceRequest): Memory => {
      const found = memories.get(request.name)
      if (found?.uid === request.uid) return found
      clearTimeout(found?.timer)
      const { uid } = request
      const made = { uid, timer: undefined, suspicion: undefined, isPodGone: false, lastPod: undefined, failures: 0 }
      memories.set(request.name, made)
      return made
    }

    const forget = (name: string) => {
      clearTimeout(memories.get(name)?.timer)
      memories.delete(name)
    }

    const wakeIn = (name: string, memory: Memory, ms: number) => {
      clearTimeout(memory.timer)
      if (!Number.isFinite(ms)) return
      memory.timer = setTimeout(() => look(name), Math.min(timerMaxMs, Math.max(1, ms)))
      memory.timer.unref()
    }

    const writeStatus = (request: InstanceRequest, status: NewStatus) =>
      api
        .call({
          method: "PATCH",
          path: `${paths.requests}/${request.name}/status`,
          query: { fieldManager: Names.fieldManager, force: "true" },
          contentType: "application/apply-patch+yaml",
          body: statusOf(request, status, Date.now())
        })
        .pipe(Effect.map(requests.note))

    const createPod = (request: InstanceRequest) =>
      api.call({ method: "POST", path: paths.pods, body: options.podOf(request) }).pipe(
        Effect.map(pods.note),
        Effect.catch((failure: ApiFailure) => {
          if (failure.status === 409) return confirm(request)
          const error = refusalOf(request, failure)
          return error === undefined ? failure : writeStatus(request, refused(request, error, Date.now()))
        })
      )

    const confirm = (request: InstanceRequest) => {
      const onFound = (object: unknown): void => {
        const pod = decodePod(object)
        if (pod?.ownerUids.includes(request.uid) !== true) memoryOf(request).isPodGone = true
        if (pod !== undefined) pods.note(object)
        look(request.name)
      }
      return Effect.map(api.find({ method: "GET", path: `${paths.pods}/${Names.podName(request.name)}` }), onFound)
    }

    const deletePod = (request: InstanceRequest, uid: string, graceSeconds: number) =>
      api
        .find({
          method: "DELETE",
          path: `${paths.pods}/${Names.podName(request.name)}`,
          body: { apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: graceSeconds, preconditions: { uid } }
        })
        .pipe(
          // Whether it is gone at once or in its grace: the watch says so. One that was gone before has no event.
          Effect.map((object) => (object === undefined ? look(request.name) : undefined))
        )

    const perform = (request: InstanceRequest, action: Action): Effect.Effect<void, ApiFailure> => {
      switch (action._tag) {
        case "CreatePod":
          return createPod(request)
        case "ConfirmPodGone":
          return confirm(request)
        case "DeletePod":
          return deletePod(request, action.uid, action.graceSeconds)
        case "WriteStatus":
          return writeStatus(request, action.status)
        case "DeleteChart":
          return deleteChart(options, request)
        case "Release":
          return release(options, request)
      }
    }

    const reconcile = Effect.fnUntraced(function* (name: string) {
      const request = requests.get(name)
      if (request === undefined) return forget(name)
      if (!options.isActing()) return
      const memory = memoryOf(request)
      const pod = pods.get(Names.podName(name))
      if (pod?.ownerUids.includes(request.uid) === true) memory.lastPod = pod
      const nowMs = Date.now()
      const { isPodGone, lastPod, suspicion } = memory
      const { thresholds, failureKeptMs } = options
      const chart = request.spec.chart === undefined ? undefined : options.chartOf(request)
      const next = plan(request, pod, { nowMs, thresholds, suspicion, isPodGone, lastPod, failureKeptMs, chart })
      memory.suspicion = next.suspicion
      for (const action of next.actions) yield* perform(request, action)
      memory.failures = 0
      wakeIn(name, memory, next.wakeAtMs - nowMs)
    })

    const failed = (name: string, failure: ApiFailure) => {
      // It changed meanwhile: what it is now has come, or comes.
      if (failure.status === 409 || failure.status === 404) return wakeAfterFailure(name)
      return Effect.andThen(
        Effect.logWarning(`a request of the Kubernetes backend is tried again: ${failure.message}`, { name }),
        wakeAfterFailure(name)
      )
    }

    const wakeAfterFailure = (name: string) =>
      Effect.sync(() => {
        const memory = memories.get(name)
        if (memory === undefined) return
        memory.failures++
        wakeIn(name, memory, Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(10, memory.failures)))
      })

    const work = () => {
      for (const name of waiting) {
        if (busy.size >= atOnceMax || isClosed) return
        if (busy.has(name)) continue
        waiting.delete(name)
        busy.add(name)
        const done = Effect.sync(() => {
          busy.delete(name)
          work()
        })
        run(
          reconcile(name).pipe(
            Effect.catch((failure: ApiFailure) => failed(name, failure)),
            Effect.tapCause((cause) =>
              Effect.logError("the reconciler of the Kubernetes backend broke", cause, { name })
            ),
            Effect.ensuring(done)
          )
        )
      }
    }

    const look = (name: string) => {
      if (isClosed) return
      waiting.add(name)
      // Changes that come together are one look.
      setImmediate(work)
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const name of [...memories.keys()]) forget(name)
      })
    )
    return {
      look,
      podGone: (pod) => {
        const memory = memories.get(Names.requestNameOf(pod.name))
        if (memory !== undefined && pod.ownerUids.includes(memory.uid)) memory.lastPod = pod
      }
    }
  })

/** Takes the finalizer off and deletes it: of this life only. */
export const release = (
  { api, paths }: Pick<Options, "api" | "paths">,
  request: Pick<InstanceRequest, "name" | "uid" | "isDeleting" | "spec">
): Effect.Effect<void, ApiFailure> => {
  const path = `${paths.requests}/${request.name}`
  const { uid } = request
  const unhold = api.find({
    method: "PATCH",
    path,
    contentType: "application/merge-patch+json",
    body: { metadata: { uid, finalizers: null } }
  })
  const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background", preconditions: { uid } }
  const remove = api.find({ method: "DELETE", path, body })
  const released = request.isDeleting ? unhold : Effect.andThen(unhold, remove)
  // Of a launch that never got further there may be a chart that was not heard of yet.
  const chart = request.spec.chart === undefined ? Effect.void : deleteChart({ api, paths }, request)
  return Effect.asVoid(Effect.andThen(chart, released))
}

const deleteChart = (
  { api, paths }: Pick<Options, "api" | "paths">,
  { name, uid }: Pick<InstanceRequest, "name" | "uid">
): Effect.Effect<void, ApiFailure> => {
  const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" }
  const path = `${paths.miniServices}/${Names.chartName(name, uid)}`
  return Effect.asVoid(api.find({ method: "DELETE", path, body }))
}

/** What the server says about the object itself; undefined: it may take it another time. */
export const refusalOf = (
  { spec: { instanceId } }: { readonly spec: { readonly instanceId: string } },
  failure: ApiFailure
): LaunchError | undefined => {
  const { status, detail } = failure
  if (status === 403 && quotaWords.test(detail))
    return new QuotaExceeded({ instanceId, detail, quota: "of the namespace" })
  if (status === 400 || status === 413 || status === 422) {
    return new BadSpec({ instanceId, detail: `${detail}: change it in the deployment`, field: "spec" })
  }
  return undefined
}
