/**
 * Makes clusters have what their `MiniService`s say, while this process leads: a namespace of its own, quotas, a network
 * policy, and the chart's objects by server-side apply; tells how far it is; and takes all of it away at the end.
 *
 * Laws: H4 it does the same again at any time, after any crash, and nothing is there twice. H5 a namespace that it has not
 * made is not touched. H6 a final phase is not left, and what runs is not stopped by a rendering that is refused. H7 at the
 * end its namespace is gone before it is.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { isDeepStrictEqual } from "node:util"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as ChartRules from "../../../core/chart/ChartRules.ts"
import * as Fields from "../../../core/chart/Fields.ts"
import type { Api, ApiFailure } from "../Api.ts"
import * as Informer from "../Informer.ts"
import * as Names from "../Names.ts"
import { type Health, healthOf } from "./Health.ts"
import * as MiniService from "./MiniService.ts"
import { networkPolicyOf, quotasOf } from "./Namespace.ts"
import * as Render from "./Render.ts"

export interface Options {
  readonly api: Api
  readonly cluster: string
  readonly isActing: () => boolean
  readonly idleMs?: number
  /** From the making until it must run, milliseconds. Default: 3 hours. */
  readonly pendingMs?: number
  /** Which nodes the pods of a chart may stand on. Absent = any. */
  readonly placeOf?: (spec: MiniService.Spec) => ChartRules.Place
  /** Where the Secrets are that pods of a chart get their images with, by `placeOf`: they are copied to its namespace. */
  readonly pullSecretsFrom?: string
  /** Of one that was made for a request: whether that one is still there. Absent = it is. */
  readonly isWanted?: (service: MiniService.MiniService) => Effect.Effect<boolean, ApiFailure>
  /** Something about this one changed. */
  readonly onChange?: (service: MiniService.MiniService) => void
  /** Between looks at one that does not run yet, milliseconds. Default: 2,000. */
  readonly lookMs?: number
}

export interface Controller {
  /** As last seen. */
  readonly get: (name: string) => MiniService.MiniService | undefined
  readonly lookAtAll: () => void
}

export const path = Names.pathsOf("").miniServices
const finalizer = `${Names.group}/miniservice`
const serviceLabel = `${Names.group}/miniservice`

const pendingMsDefault = 180 * 60_000
const lookMsDefault = 2_000
/** A launch may still be on its way, whose request this agent has not heard of. */
const orphanAfterMs = 60_000
/** So much more seldom is one looked at that runs: each 30 s. */
const runningFactor = 15
const atOnceMax = 4

/** It will not be had, however often it is tried. */
class Refused extends Data.TaggedError("Refused")<{ readonly detail: string }> {}

export const start = (options: Options): Effect.Effect<Controller, ApiFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const { api, cluster, isActing } = options
    const pendingMs = options.pendingMs ?? pendingMsDefault
    const lookMs = options.lookMs ?? lookMsDefault
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const timers = new Map<string, NodeJS.Timeout>()
    const waiting = new Set<string>()
    const busy = new Set<string>()
    let isClosed = false

    const apply = (target: string, body: unknown) =>
      api.call({
        method: "PATCH",
        path: target,
        query: { fieldManager: Names.fieldManager, force: "true" },
        contentType: "application/apply-patch+yaml",
        body
      })

    const plurals = new Map<string, string>()
    /** Of a kind beside the usual ones, as the server tells it. */
    const pluralOf = Effect.fnUntraced(function* (apiVersion: string, kind: string) {
      const key = `${apiVersion} ${kind}`
      const known = ChartRules.kinds[key] ?? plurals.get(key)
      if (known !== undefined) return known
      const answer = yield* api.find({ method: "GET", path: rootOf(apiVersion) })
      const found = Fields.list(answer, "resources").find(
        (one) => Fields.text(one, "kind") === kind && Fields.text(one, "name")?.includes("/") === false
      )
      const name = Fields.text(found, "name")
      if (name === undefined) return undefined
      plurals.set(key, name)
      return name
    })

    const pathOf = Effect.fnUntraced(function* (namespace: string, { apiVersion, kind, name }: MiniService.ObjectName) {
      const plural = yield* pluralOf(apiVersion, kind)
      return plural === undefined ? undefined : `${rootOf(apiVersion)}/namespaces/${namespace}/${plural}/${name}`
    })

    const writeStatus = (service: MiniService.MiniService, status: MiniService.Status) => {
      if (isDeepStrictEqual(status, service.status)) return Effect.void
      const body = {
        ...head,
        metadata: { name: service.name, uid: service.uid, resourceVersion: service.resourceVersion },
        status
      }
      return Effect.map(apply(`${path}/${service.name}/status`, body), services.note)
    }

    const statusAfter = (
      service: MiniService.MiniService,
      phase: MiniService.Phase,
      seen: ReadonlyArray<Omit<MiniService.Condition, "lastTransitionTime">>,
      more: Partial<MiniService.Status> = {}
    ): MiniService.Status => {
      const nowMs = Date.now()
      const at = { lastPhaseTransitionTime: new Date(nowMs).toISOString() }
      const conditions = seen.reduce<ReadonlyArray<MiniService.Condition>>(
        (all, one) => MiniService.withCondition(all, one, nowMs),
        service.status.conditions ?? []
      )
      return { ...service.status, ...(phase === service.phase ? {} : at), phase, ...more, conditions }
    }

    const fail = (service: MiniService.MiniService, type: string, message: string) => {
      const hasRun = service.phase === "Running"
      return writeStatus(
        service,
        statusAfter(
          service,
          // What runs goes on; only what it was asked for in addition is refused.
          type === "InstallSuccessful" && hasRun ? "Running" : hasRun ? "Failed" : "InstallFailed",
          [{ type, status: "False", reason: "Refused", message: message.slice(0, 2_000) }],
          { observedGeneration: service.generation }
        )
      )
    }

    const ownerOf = ({ name, uid }: MiniService.MiniService) => ({
      ...head,
      name,
      uid,
      controller: true,
      blockOwnerDeletion: true
    })
    const labelsOf = ({ name }: MiniService.MiniService) => ({
      ...Names.labelsOfCluster(cluster),
      [serviceLabel]: Names.labelOf(name)
    })
    const namespacePath = ({ spec }: MiniService.MiniService) => `/api/v1/namespaces/${spec.namespace}`
    const isOwned = (object: unknown, { uid }: MiniService.MiniService) =>
      Fields.list(object, "metadata", "ownerReferences").some((one) => Fields.text(one, "uid") === uid)

    const ensureNamespace = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      const { namespace } = service.spec
      const labels = { ...labelsOf(service), "pod-security.kubernetes.io/enforce": "baseline" }
      const metadata = { name: namespace, labels, ownerReferences: [ownerOf(service)] }
      const body = { apiVersion: "v1", kind: "Namespace", metadata }
      const made = yield* Effect.result(api.call({ method: "POST", path: "/api/v1/namespaces", body }))
      if (Result.isSuccess(made)) return
      if (made.failure.status !== 409) return yield* made.failure
      const found = yield* api.find({ method: "GET", path: namespacePath(service) })
      if (found !== undefined && !isOwned(found, service)) {
        return yield* new Refused({
          detail: `the namespace ${namespace} is there and is not of this MiniService: name another`
        })
      }
    })

    const copyPullSecrets = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      const { pullSecretsFrom } = options
      if (pullSecretsFrom === undefined) return
      for (const name of options.placeOf?.(service.spec).pullSecrets ?? []) {
        const found = yield* api.find({ method: "GET", path: `/api/v1/namespaces/${pullSecretsFrom}/secrets/${name}` })
        if (found === undefined) {
          return yield* new Refused({
            detail: `the pull secret ${name} of the agent's settings is not in its namespace ${pullSecretsFrom}: make it there`
          })
        }
        const { namespace } = service.spec
        const metadata = { name, namespace, labels: labelsOf(service), ownerReferences: [ownerOf(service)] }
        const { type, data } = Fields.record(found)
        const body = { apiVersion: "v1", kind: "Secret", metadata, type, data }
        yield* apply(`/api/v1/namespaces/${namespace}/secrets/${name}`, body)
      }
    })

    const rendered = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      const { helmChartConfig, validationPolicy } = service.spec
      const documents = yield* Render.render(helmChartConfig)
      const objects = ChartRules.read(documents)
      if (typeof objects === "string") return yield* new Refused({ detail: objects })
      const name = validationPolicy?.name ?? "Default"
      const policy = { name, extraKubernetesTypes: validationPolicy?.extraKubernetesTypes ?? [] }
      const wrong = ChartRules.violations(objects, helmChartConfig, policy)
      if (wrong.length > 0) return yield* new Refused({ detail: wrong.join("; ") })
      const place = options.placeOf?.(service.spec)
      const safe = name === "Default" ? objects.map(ChartRules.madeSafe) : objects
      return place === undefined ? safe : safe.map((object) => ChartRules.placed(object, place))
    })

    const install = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      if (service.phase === "") return yield* writeStatus(service, statusAfter(service, "Installing", []))
      const objects = yield* rendered(service)
      yield* ensureNamespace(service)
      yield* copyPullSecrets(service)
      const { namespace } = service.spec
      const around = [...quotasOf(service.spec), networkPolicyOf(service.spec)]
      for (const { target, body } of around) yield* apply(`${target.replace("{namespace}", namespace)}`, body)
      const names: Array<MiniService.ObjectName> = []
      for (const object of objects) {
        const named = { apiVersion: object.apiVersion, kind: object.kind, name: object.metadata.name }
        const target = yield* pathOf(namespace, named)
        if (target === undefined)
          return yield* new Refused({
            detail: `${named.kind} ${named.name}: the cluster does not have ${named.apiVersion} ${named.kind}`
          })
        const labels = { ...Fields.record(object.metadata["labels"]), ...labelsOf(service) }
        const metadata = { ...object.metadata, namespace, labels, ownerReferences: [ownerOf(service)] }
        const applied = yield* Effect.result(apply(target, { ...object, metadata }))
        if (Result.isFailure(applied)) {
          const { status, message } = applied.failure
          // The server has looked at it and says no; quotas may have room later.
          if (status === 400 || status === 422 || (status === 403 && !message.includes("exceeded quota")))
            return yield* new Refused({ detail: message })
          return yield* applied.failure
        }
        names.push(named)
      }
      for (const old of service.status.objects ?? []) {
        if (names.some((one) => one.kind === old.kind && one.name === old.name)) continue
        const target = yield* pathOf(namespace, old)
        if (target !== undefined) yield* api.find({ method: "DELETE", path: target, body: background })
      }
      yield* writeStatus(
        service,
        statusAfter(
          service,
          service.phase === "Running" ? "Running" : "Installed",
          [{ type: "InstallSuccessful", status: "True", reason: "Applied", message: `${names.length} objects` }],
          {
            observedGeneration: service.generation,
            revision: (service.status.revision ?? 0) + 1,
            renderedDetails: detailsOf(objects),
            objects: names
          }
        )
      )
    })

    const observe = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      const { namespace } = service.spec
      const unhealthy: Array<string> = []
      let failed: string | undefined
      for (const named of service.status.objects ?? []) {
        const target = yield* pathOf(namespace, named)
        const object = target === undefined ? undefined : yield* api.find({ method: "GET", path: target })
        const { is, why }: Health = healthOf(named.kind, object)
        const line = `${named.kind} ${named.name}: ${why}`
        if (is !== "healthy") unhealthy.push(line)
        if (is === "failed") failed ??= line
      }
      if (failed !== undefined) return yield* fail(service, "ObjectsHealthy", failed)
      const isHealthy = unhealthy.length === 0
      const pods = yield* api.call({ method: "GET", path: `${namespacePath(service)}/pods` })
      const areScheduled = Fields.list(pods, "items").every((pod) => Fields.text(pod, "spec", "nodeName") !== undefined)
      const starting = service.phase === "Installed" && areScheduled ? "Starting" : service.phase
      const phase = isHealthy ? "Running" : starting
      const seen = {
        type: "ObjectsHealthy",
        status: isHealthy ? ("True" as const) : ("False" as const),
        reason: isHealthy ? "Healthy" : "Waiting",
        message: unhealthy.join("; ").slice(0, 2_000)
      }
      yield* writeStatus(service, statusAfter(service, phase, [seen]))
    })

    const remove = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      if (!service.finalizers.includes(finalizer)) return
      const found = yield* api.find({ method: "GET", path: namespacePath(service) })
      if (found !== undefined && isOwned(found, service)) {
        const uid = Fields.text(found, "metadata", "uid")
        if (Fields.text(found, "metadata", "deletionTimestamp") === undefined) {
          yield* api.find({
            method: "DELETE",
            path: namespacePath(service),
            body: { ...background, preconditions: { uid } }
          })
        }
        return
      }
      const finalizers = service.finalizers.filter((one) => one !== finalizer)
      const body = { metadata: { uid: service.uid, resourceVersion: service.resourceVersion, finalizers } }
      yield* api.find({
        method: "PATCH",
        path: `${path}/${service.name}`,
        contentType: "application/merge-patch+json",
        body
      })
    })

    const isOrphan = (service: MiniService.MiniService) =>
      service.spec.icmsRequestName === undefined || Date.now() - service.createdAtMs < orphanAfterMs
        ? Effect.succeed(false)
        : Effect.map(options.isWanted?.(service) ?? Effect.succeed(true), (isWanted) => !isWanted)

    const endOne = ({ name, uid }: MiniService.MiniService) =>
      api.find({ method: "DELETE", path: `${path}/${name}`, body: { ...background, preconditions: { uid } } })

    const reconcile = Effect.fnUntraced(function* (service: MiniService.MiniService) {
      if (service.isDeleting) return yield* remove(service)
      if (!service.finalizers.includes(finalizer)) {
        const body = {
          metadata: { resourceVersion: service.resourceVersion, finalizers: [...service.finalizers, finalizer] }
        }
        const object = yield* api.find({
          method: "PATCH",
          path: `${path}/${service.name}`,
          contentType: "application/merge-patch+json",
          body
        })
        if (object !== undefined) services.note(object)
        return
      }
      if (yield* isOrphan(service)) {
        yield* Effect.logWarning("a MiniService whose request is gone is deleted", { miniService: service.name })
        return yield* endOne(service)
      }
      if (MiniService.isFinal(service.phase)) return
      if (service.phase !== "Running" && Date.now() - service.createdAtMs > pendingMs) {
        return yield* fail(service, "ObjectsHealthy", `it did not run within ${pendingMs} ms`)
      }
      if (service.status.observedGeneration !== service.generation) return yield* install(service)
      yield* observe(service)
    })

    const carryOut = (service: MiniService.MiniService) =>
      Effect.suspend(() => reconcile(service)).pipe(
        Effect.catchTag("RenderFailure", ({ detail, isFinal }) =>
          isFinal
            ? fail(service, "InstallSuccessful", detail)
            : Effect.logWarning(detail, { miniService: service.name })
        ),
        Effect.catchTag("Refused", ({ detail }) => fail(service, "InstallSuccessful", detail)),
        Effect.catch((failure) =>
          // It changed meanwhile: the change has come, or comes.
          failure.status === 409 ? Effect.void : Effect.logWarning(failure.message, { miniService: service.name })
        )
      )

    const isDone = (name: string): boolean => {
      const service = services.get(name)
      if (service === undefined) return true
      const isAlone = service.spec.icmsRequestName === undefined
      return MiniService.isFinal(service.phase) && !service.isDeleting && isAlone
    }

    const look = (name: string) => {
      waiting.add(name)
      pump()
    }

    const pump = () => {
      for (const name of waiting) {
        if (isClosed || busy.size >= atOnceMax) return
        const service = services.get(name)
        if (busy.has(name)) continue
        waiting.delete(name)
        if (service === undefined || !isActing()) continue
        busy.add(name)
        const after = Effect.sync(() => {
          busy.delete(name)
          wake(name)
          pump()
        })
        run(Effect.ensuring(carryOut(service), after))
      }
    }

    const wake = (name: string) => {
      clearTimeout(timers.get(name))
      timers.delete(name)
      if (isClosed || isDone(name)) return
      const service = services.get(name)
      const phase = service?.phase ?? ""
      const isCalm = service?.isDeleting !== true && (phase === "Running" || MiniService.isFinal(phase))
      const ms = isCalm ? runningFactor * lookMs : lookMs
      timers.set(name, setTimeout(() => look(name), ms).unref())
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const timer of timers.values()) clearTimeout(timer)
      })
    )
    const services = yield* Informer.start(api, {
      path,
      labelSelector: Names.selectorOf(Names.labelsOfCluster(cluster)),
      decode: MiniService.decode,
      // The first list comes before there is something to look with.
      onChange: ({ last }) => {
        queueMicrotask(() => look(last.name))
        options.onChange?.(last)
      },
      onGap: () => {},
      ...(options.idleMs === undefined ? {} : { idleMs: options.idleMs })
    })
    return {
      get: services.get,
      lookAtAll: () => {
        for (const { name } of services.all()) look(name)
      }
    }
  })

const head = { apiVersion: Names.apiVersion, kind: "MiniService" }
const background = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" }

const rootOf = (apiVersion: string): string => (apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`)

const detailsOf = (objects: ReadonlyArray<ChartRules.ChartObject>) => {
  const counts = new Map<string, number>()
  for (const { apiVersion, kind } of objects) {
    const gvk = `${apiVersion}/${kind}`
    counts.set(gvk, (counts.get(gvk) ?? 0) + 1)
  }
  return {
    hash: createHash("sha256").update(JSON.stringify(objects)).digest("hex"),
    resources: [...counts].map(([gvk, count]) => ({ gvk, count }))
  }
}
