/**
 * What each route of the control API does. Failures leave here as problems; nothing is decided here that the registry or
 * the sources do not decide.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { RequestFilter } from "../invocation/RequestDirectory.ts"
import type { ClusterOrder } from "./ClusterOrders.ts"
import { ControlApi } from "./ControlApi.ts"
import { ClusterNotFound, type ControlError, InstanceNotFound, RequestEnded, RequestNotFound } from "./ControlErrors.ts"
import * as ControlLogs from "./ControlLogs.ts"
import {
  ClusterOrdersSource,
  DeadLettersSource,
  InstancesSource,
  LogsSource,
  RequestsSource
} from "./ControlSources.ts"
import type { DeploymentView, Explanation, FunctionView } from "./ControlViews.ts"
import { type DeploymentRecord, deploymentDefaults, type FunctionRecord } from "./Domain.ts"
import * as Explain from "./Explain.ts"
import * as Problem from "./Problem.ts"
import { defaultTenant, pageSizeMax, Registry } from "./Registry.ts"

const tenant = defaultTenant
const pageSizeDefault = 100

interface Incoming {
  readonly request: HttpServerRequest.HttpServerRequest
}

/** The failure as the problem that the caller sees. */
const answered = <A, E extends ControlError, R>(
  effect: Effect.Effect<A, E, R>,
  { request }: Incoming
): Effect.Effect<A, Problem.ProblemOf<E>, R> =>
  Effect.mapError(effect, (error) => Problem.fromControlError(error, pathOf(request)))

const pathOf = (request: HttpServerRequest.HttpServerRequest) => {
  const query = request.url.indexOf("?")
  return query === -1 ? request.url : request.url.slice(0, query)
}

const given = <K extends string, A>(key: K, value: A | undefined): { readonly [P in K]?: A } =>
  // An object with this one key, or without it: both are of the type.
  (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: A }

/** Views are made of three sources; what one does not know is null, never zero. */
const makeViews = Effect.gen(function* () {
  const registry = yield* Registry
  const instances = yield* InstancesSource
  const requests = yield* RequestsSource

  /** An invocation plane that is away leaves them unknown, and takes nothing else from the answer. */
  const backlogs = requests.backlog.pipe(
    Effect.catch(() => Effect.succeed([])),
    Effect.map((all) => new Map(all.map((figures) => [figures.versionId, figures])))
  )

  const functionView = Effect.fnUntraced(function* (record: FunctionRecord, given?: Effect.Success<typeof backlogs>) {
    const versionId = record.activeVersionId
    if (versionId === null) return { ...record, active: null } satisfies FunctionView
    const version = yield* Effect.option(registry.getVersion(tenant, versionId))
    if (Option.isNone(version)) return { ...record, active: null } satisfies FunctionView
    const deployed = registry.routing(tenant).byVersionId(versionId)?.deployment !== undefined
    const known = given ?? (yield* backlogs)
    return {
      ...record,
      active: {
        versionId,
        number: version.value.number,
        deployment: deployed ? instances.deploymentStatus(versionId) : null,
        backlog: known.get(versionId) ?? null
      }
    } satisfies FunctionView
  })

  const deploymentView = (record: DeploymentRecord) =>
    Effect.map(
      backlogs,
      (known): DeploymentView => ({
        ...record,
        status: instances.deploymentStatus(record.versionId),
        backlog: known.get(record.versionId) ?? null
      })
    )

  return { backlogs, functionView, deploymentView }
})

const functionsLive = HttpApiBuilder.group(
  ControlApi,
  "functions",
  Effect.fnUntraced(function* (handlers) {
    const registry = yield* Registry
    const instances = yield* InstancesSource
    const logs = yield* LogsSource
    const views = yield* makeViews
    const find = (reference: string) => registry.findFunction(tenant, reference)

    const listFunctions = Effect.fnUntraced(function* (query: {
      readonly name?: string
      readonly prefix?: string
      readonly after?: string
      readonly limit?: number
    }) {
      const known = yield* views.backlogs
      if (query.name !== undefined) {
        const found = yield* Effect.option(registry.findFunction(tenant, query.name))
        const named = Option.filter(found, ({ name }) => name === query.name)
        return {
          items: yield* Effect.forEach(Option.toArray(named), (one) => views.functionView(one, known)),
          next: null
        }
      }
      const { items, next } = registry.listFunctions({
        tenant,
        limit: query.limit ?? pageSizeDefault,
        ...given("prefix", query.prefix),
        ...given("after", query.after)
      })
      return { items: yield* Effect.forEach(items, (one) => views.functionView(one, known)), next }
    })

    const functionLogs = Effect.fnUntraced(function* (reference: string, follow: boolean) {
      const { id } = yield* find(reference)
      const instanceIds = instances.instances().flatMap((one) => (one.functionId === id ? [one.instanceId] : []))
      if (!follow) return { items: yield* ControlLogs.tail(logs, instanceIds) }
      const accepts = (instanceId: string) => instances.instance(instanceId)?.functionId === id
      return ControlLogs.follow(logs, { instanceIds, accepts })
    })

    return handlers.handleAll({
      createFunction: (incoming) =>
        registry.createFunction({ tenant, name: incoming.payload.name }).pipe(
          Effect.flatMap((record) => views.functionView(record)),
          (effect) => answered(effect, incoming)
        ),
      listFunctions: ({ query }) => listFunctions(query),
      getFunction: (incoming) =>
        answered(
          Effect.flatMap(find(incoming.params.function), (record) => views.functionView(record)),
          incoming
        ),
      deleteFunction: (incoming) =>
        Effect.flatMap(find(incoming.params.function), ({ id }) =>
          registry.deleteFunction({ tenant, functionId: id, force: incoming.query.force === "true" })
        ).pipe((effect) => answered(effect, incoming)),
      setActiveVersion: (incoming) =>
        Effect.flatMap(find(incoming.params.function), ({ id }) =>
          registry.setActive({ tenant, functionId: id, versionId: incoming.payload.versionId })
        ).pipe(
          Effect.flatMap((record) => views.functionView(record)),
          (effect) => answered(effect, incoming)
        ),
      functionLogs: (incoming) =>
        answered(functionLogs(incoming.params.function, incoming.query.follow === "true"), incoming)
    })
  })
)

const versionsLive = HttpApiBuilder.group(
  ControlApi,
  "versions",
  Effect.fnUntraced(function* (handlers) {
    const registry = yield* Registry
    const find = (reference: string) => registry.findFunction(tenant, reference)
    return handlers.handleAll({
      createVersion: (incoming) =>
        Effect.flatMap(find(incoming.params.function), ({ id }) =>
          registry.createVersion({ tenant, functionId: id, spec: incoming.payload })
        ).pipe((effect) => answered(effect, incoming)),
      listVersions: (incoming) =>
        Effect.flatMap(find(incoming.params.function), ({ id }) =>
          registry.listVersions({
            tenant,
            functionId: id,
            limit: incoming.query.limit ?? pageSizeDefault,
            ...given("after", incoming.query.after)
          })
        ).pipe((effect) => answered(effect, incoming)),
      getVersion: (incoming) => answered(registry.getVersion(tenant, incoming.params.versionId), incoming),
      deleteVersion: (incoming) =>
        answered(
          registry.deleteVersion({
            tenant,
            versionId: incoming.params.versionId,
            force: incoming.query.force === "true"
          }),
          incoming
        )
    })
  })
)

const deploymentsLive = HttpApiBuilder.group(
  ControlApi,
  "deployments",
  Effect.fnUntraced(function* (handlers) {
    const registry = yield* Registry
    const views = yield* makeViews
    return handlers.handleAll({
      deploy: (incoming) =>
        registry
          .deploy({
            tenant,
            versionId: incoming.params.versionId,
            spec: { ...deploymentDefaults, ...incoming.payload }
          })
          .pipe(Effect.flatMap(views.deploymentView), (effect) => answered(effect, incoming)),
      getDeployment: (incoming) =>
        registry
          .getDeployment(tenant, incoming.params.versionId)
          .pipe(Effect.flatMap(views.deploymentView), (effect) => answered(effect, incoming)),
      undeploy: (incoming) => answered(registry.undeploy(tenant, incoming.params.versionId), incoming),
      restart: (incoming) =>
        registry
          .restart(tenant, incoming.params.versionId)
          .pipe(Effect.flatMap(views.deploymentView), (effect) => answered(effect, incoming))
    })
  })
)

const runtimeLive = HttpApiBuilder.group(
  ControlApi,
  "runtime",
  Effect.fnUntraced(function* (handlers) {
    const registry = yield* Registry
    const instances = yield* InstancesSource
    const logs = yield* LogsSource
    const clusterOrders = yield* ClusterOrdersSource

    const instanceOf = (instanceId: string) =>
      Effect.suspend(() => {
        const found = instances.instance(instanceId)
        return found === undefined ? Effect.fail(new InstanceNotFound({ instanceId })) : Effect.succeed(found)
      })

    const orderCluster = Effect.fnUntraced(function* (cluster: string, order: ClusterOrder) {
      const found = instances.clusters().find(({ name }) => name === cluster)
      if (found === undefined) return yield* new ClusterNotFound({ cluster })
      yield* clusterOrders.set(cluster, order)
      return { ...found, ...order }
    })

    const functionIdOf = (reference: string | undefined) =>
      reference === undefined
        ? Effect.succeed(undefined)
        : Effect.map(registry.findFunction(tenant, reference), ({ id }) => id)

    const instanceLogs = Effect.fnUntraced(function* (instanceId: string, follow: boolean) {
      yield* instanceOf(instanceId)
      if (!follow) return { items: yield* ControlLogs.tail(logs, [instanceId]) }
      return ControlLogs.follow(logs, { instanceIds: [instanceId], accepts: (id) => id === instanceId })
    })

    return handlers.handleAll({
      listInstances: (incoming) =>
        answered(
          Effect.map(functionIdOf(incoming.query.function), (functionId) => ({
            items: instances
              .instances(given("versionId", incoming.query.versionId))
              .filter((one) => functionId === undefined || one.functionId === functionId)
              .filter((one) => incoming.query.state === undefined || one.state === incoming.query.state)
          })),
          incoming
        ),
      getInstance: (incoming) => answered(instanceOf(incoming.params.instanceId), incoming),
      instanceLogs: (incoming) =>
        answered(instanceLogs(incoming.params.instanceId, incoming.query.follow === "true"), incoming),
      listClusters: () => Effect.sync(() => ({ items: instances.clusters() })),
      cordonCluster: (incoming) =>
        answered(orderCluster(incoming.params.cluster, { cordoned: true, draining: false }), incoming),
      drainCluster: (incoming) =>
        answered(orderCluster(incoming.params.cluster, { cordoned: true, draining: true }), incoming),
      uncordonCluster: (incoming) =>
        answered(orderCluster(incoming.params.cluster, { cordoned: false, draining: false }), incoming),
      listDecisions: ({ query }) =>
        Effect.sync(() => ({
          items: instances.decisions({
            limit: query.limit ?? pageSizeDefault,
            ...given("versionId", query.versionId)
          })
        }))
    })
  })
)

const requestsLive = HttpApiBuilder.group(
  ControlApi,
  "requests",
  Effect.fnUntraced(function* (handlers) {
    const registry = yield* Registry
    const instances = yield* InstancesSource
    const requests = yield* RequestsSource

    const requestOf = (requestId: string) =>
      Effect.flatMap(requests.get(requestId), (found) =>
        found?.tenant === tenant ? Effect.succeed(found) : Effect.fail(new RequestNotFound({ requestId }))
      )

    const cancel = Effect.fnUntraced(function* (requestId: string) {
      const { state } = yield* requestOf(requestId)
      const outcome = yield* requests.cancel(requestId)
      if (outcome === "unknown") return yield* new RequestNotFound({ requestId })
      if (outcome === "ended") {
        return yield* new RequestEnded({ requestId, state: (yield* requests.get(requestId))?.state ?? state })
      }
    })

    const listRequests = Effect.fnUntraced(function* (query: {
      readonly function?: string
      readonly versionId?: string
      readonly state?: RequestFilter["state"]
      readonly limit?: number
    }) {
      const owner = query.function === undefined ? undefined : yield* registry.findFunction(tenant, query.function)
      const items = yield* requests.list({
        tenant,
        limit: query.limit ?? pageSizeDefault,
        ...given("functionId", owner?.id),
        ...given("versionId", query.versionId),
        ...given("state", query.state)
      })
      return { items }
    })

    const explain = Effect.fnUntraced(function* (requestId: string) {
      const request = yield* requestOf(requestId)
      const waitingFor = request.endedAtMs === null ? instances.whyWaiting(request.versionId) : undefined
      const start = request.instanceId === null ? undefined : instances.startTimeline(request.instanceId)
      const decisions = Explain.decisionsDuring(
        request,
        instances.decisions({ versionId: request.versionId, limit: pageSizeMax })
      )
      return {
        request,
        lines: Explain.lines({ request, waitingFor, start, decisions }),
        waitingFor: waitingFor ?? null,
        start: start ?? null,
        decisions,
        deployment:
          registry.routing(tenant).byVersionId(request.versionId)?.deployment === undefined
            ? null
            : instances.deploymentStatus(request.versionId)
      } satisfies Explanation
    })

    return handlers.handleAll({
      listRequests: (incoming) => answered(listRequests(incoming.query), incoming),
      getRequest: (incoming) => answered(requestOf(incoming.params.requestId), incoming),
      cancelRequest: (incoming) => answered(cancel(incoming.params.requestId), incoming),
      cancelRequestByPost: (incoming) => answered(cancel(incoming.params.requestId), incoming),
      explainRequest: (incoming) => answered(explain(incoming.params.requestId), incoming)
    })
  })
)

const deadLettersLive = HttpApiBuilder.group(
  ControlApi,
  "deadLetters",
  Effect.fnUntraced(function* (handlers) {
    const registry = yield* Registry
    const letters = yield* DeadLettersSource

    const listDeadLetters = Effect.fnUntraced(function* (query: {
      readonly function?: string
      readonly versionId?: string
      readonly replayed?: "true" | "false"
      readonly after?: string
      readonly limit?: number
    }) {
      const owner = query.function === undefined ? undefined : yield* registry.findFunction(tenant, query.function)
      return yield* letters.list({
        tenant,
        limit: query.limit ?? pageSizeDefault,
        ...given("functionId", owner?.id),
        ...given("versionId", query.versionId),
        ...given("replayed", query.replayed === undefined ? undefined : query.replayed === "true"),
        ...given("after", query.after)
      })
    })

    return handlers.handleAll({
      listDeadLetters: (incoming) => answered(listDeadLetters(incoming.query), incoming),
      getDeadLetter: (incoming) => answered(letters.get(tenant, incoming.params.requestId), incoming),
      replayDeadLetter: (incoming) =>
        answered(letters.replay(tenant, incoming.params.requestId, incoming.query.versionId), incoming),
      dropDeadLetter: (incoming) => answered(letters.drop(tenant, incoming.params.requestId), incoming)
    })
  })
)

export const layer = Layer.mergeAll(
  functionsLive,
  versionsLive,
  deploymentsLive,
  runtimeLive,
  requestsLive,
  deadLettersLive
)
