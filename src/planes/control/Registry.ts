/**
 * Functions, their immutable versions, and how each version is deployed: stored in the key-value store, answered from
 * memory.
 *
 * Keys: `functions/{id}`, `function-names/{tenant}/{name}`, `versions/{id}`, `version-counters/{functionId}`,
 * `deployments/{versionId}`; values are JSON.
 *
 * Laws (`property-tests/Registry.laws.test.ts`): R1 two functions of a tenant never share a name, however many registries write to the
 * store. R2 what a change answered is what the next read and the routing table say, at once. R3 a version never changes
 * and its number never comes again within its function. R4 a refused change changes nothing. R5 a change cut off in the
 * middle leaves nothing that blocks the same change later.
 *
 * A function exists while its name points to it, so that one compare-and-set decides: creating writes the record and
 * then the name, deleting frees the name and then clears up. What a crash leaves in between belongs to nobody, is seen
 * by nobody, and is removed by a later start (R5).
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Semaphore from "effect/Semaphore"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import { KeyValue } from "../fabric/KeyValue.ts"
import * as ChartCheck from "./ChartCheck.ts"
import {
  type ConcurrentChange,
  FunctionNameTaken,
  FunctionNotFound,
  NotDeployed,
  RegistryFull,
  SpecInvalid,
  StillDeployed,
  VersionNotFound,
  VersionOfAnotherFunction
} from "./ControlErrors.ts"
import {
  type DeploymentRecord,
  DeploymentSpec,
  FunctionId,
  FunctionRecord,
  VersionId,
  type VersionRecord,
  VersionSpec
} from "./Domain.ts"
import * as RegistryStore from "./RegistryStore.ts"
import * as RegistryTable from "./RegistryTable.ts"
import type { RoutingTable } from "./RoutingTable.ts"
import { nameKey } from "./registry/RegistryRecords.ts"
import type { Stored } from "./registry/StoredRecords.ts"
import * as VersionNumbers from "./registry/VersionNumbers.ts"

/** Everything is this tenant's until accounts exist. */
export const defaultTenant = "default"

/** Per store; 100,000 are measured to fit into 512 MB. */
export const functionCountMax = 200_000
export const versionsPerFunctionMax = 10_000
/** Longest list in one answer. */
export const pageSizeMax = 1_000

/** The store failed: nothing happened, or nobody knows. */
export type StoreFailure = RegistryStore.StoreFailure
type WriteFailure = ConcurrentChange | StoreFailure

export interface Page<A> {
  readonly items: ReadonlyArray<A>
  /** Give it as `after` to go on; null at the end. */
  readonly next: string | null
}

export class Registry extends Context.Service<
  Registry,
  {
    /** Fails with `FunctionNameTaken` when the tenant has the name in use. */
    readonly createFunction: (options: {
      readonly tenant: string
      readonly name: string
    }) => Effect.Effect<FunctionRecord, FunctionNameTaken | RegistryFull | SpecInvalid | WriteFailure>
    readonly getFunction: (tenant: string, id: string) => Effect.Effect<FunctionRecord, FunctionNotFound>
    /** By id or by name; an id wins. */
    readonly findFunction: (tenant: string, idOrName: string) => Effect.Effect<FunctionRecord, FunctionNotFound>
    /** In order of name. `limit`: 1 to `pageSizeMax`. */
    readonly listFunctions: (options: {
      readonly tenant: string
      readonly prefix?: string
      /** Name after which to go on. */
      readonly after?: string
      readonly limit: number
    }) => Page<FunctionRecord>
    /** Its number is one more than the highest there ever was of the function. It is neither deployed nor active. */
    readonly createVersion: (options: {
      readonly tenant: string
      readonly functionId: string
      readonly spec: VersionSpec
    }) => Effect.Effect<VersionRecord, FunctionNotFound | RegistryFull | SpecInvalid | WriteFailure>
    readonly getVersion: (tenant: string, id: string) => Effect.Effect<VersionRecord, VersionNotFound>
    /** Newest first. `after`: a version id. */
    readonly listVersions: (options: {
      readonly tenant: string
      readonly functionId: string
      readonly after?: string
      readonly limit: number
    }) => Effect.Effect<Page<VersionRecord>, FunctionNotFound>
    /**
     * Deploys, or replaces the deployment's spec as a whole and keeps its generation. The first deployed version of a
     * function becomes its active one.
     */
    readonly deploy: (options: {
      readonly tenant: string
      readonly versionId: string
      readonly spec: DeploymentSpec
    }) => Effect.Effect<DeploymentRecord, VersionNotFound | SpecInvalid | WriteFailure>
    readonly getDeployment: (
      tenant: string,
      versionId: string
    ) => Effect.Effect<DeploymentRecord, VersionNotFound | NotDeployed>
    /** Generation + 1: instances of older generations drain and are replaced. */
    readonly restart: (
      tenant: string,
      versionId: string
    ) => Effect.Effect<DeploymentRecord, VersionNotFound | NotDeployed | WriteFailure>
    /** Undeploying what is not deployed succeeds. The version and its being active stay. */
    readonly undeploy: (tenant: string, versionId: string) => Effect.Effect<void, VersionNotFound | WriteFailure>
    /** From now on calls that name no version go to this one; null: to none. */
    readonly setActive: (options: {
      readonly tenant: string
      readonly functionId: string
      readonly versionId: string | null
    }) => Effect.Effect<FunctionRecord, FunctionNotFound | VersionNotFound | VersionOfAnotherFunction | WriteFailure>
    /** Refused with `StillDeployed` unless `force`, which undeploys first. An active one leaves the function without. */
    readonly deleteVersion: (options: {
      readonly tenant: string
      readonly versionId: string
      readonly force: boolean
    }) => Effect.Effect<void, VersionNotFound | StillDeployed | WriteFailure>
    /** With all its versions. Refused with `StillDeployed` unless `force`, which undeploys them first. */
    readonly deleteFunction: (options: {
      readonly tenant: string
      readonly functionId: string
      readonly force: boolean
    }) => Effect.Effect<void, FunctionNotFound | StillDeployed | WriteFailure>
    /** Complete from the start: everything that was stored is in it before the registry is handed out. */
    readonly routing: (tenant: string) => RoutingTable
  }
>()("millrace/planes/control/Registry") {
  static layer(options: RegistryOptions = {}): Layer.Layer<Registry, FabricUnavailable, KeyValue> {
    return Layer.effect(Registry, make(options))
  }
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const specInvalid = (what: string) => (error: Schema.SchemaError) =>
  new SpecInvalid({
    what,
    issues: formatIssues(error.issue).issues.map(({ path, message }) => ({
      path: (path ?? []).map((segment) => String(typeof segment === "object" ? segment.key : segment)).join("."),
      message
    }))
  })

const now = Effect.map(Clock.currentTimeMillis, (ms) => DateTime.formatIso(DateTime.makeUnsafe(ms)))

/** Younger left-overs may be a creation that another process is in the middle of. */
const leftOverAgeMs = 3_600_000
/** Locks, so that changes of one thing in this process wait for each other instead of colliding. */
const stripeCount = 64

export interface RegistryOptions extends Pick<RegistryStore.StoreOptions, "snapshots"> {
  readonly makeId?: () => string
}

export const make = Effect.fnUntraced(function* (options: RegistryOptions = {}) {
  const makeId = options.makeId ?? randomUUID
  const keyValue = yield* KeyValue
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const table = RegistryTable.make({
    onListenerFailure: (failure) => runFork(Effect.logError("a listener of the routing table failed", failure))
  })
  const onUnreadable = (unreadable: { readonly key: string; readonly reason: string }) =>
    runFork(Effect.logError("a stored record cannot be read and is treated as absent", unreadable))
  const { put, remove, settled } = yield* RegistryStore.make({ ...options, keyValue, table, onUnreadable })
  const numbers = VersionNumbers.make({
    keyValue,
    highestOf: (functionId) =>
      Math.max(0, ...table.versionsOf(functionId).map((versionId) => table.version(versionId)?.value.number ?? 0)),
    onUnreadable
  })

  const stripes = yield* Effect.all(Array.from({ length: stripeCount }, () => Semaphore.make(1)))
  const locked = (key: string) => stripes[stripeOf(key)]!.withPermits(1)

  const functionOf = (tenant: string, id: string): Effect.Effect<Stored<FunctionRecord>, FunctionNotFound> =>
    Effect.suspend(() => {
      const stored = table.function(id)
      return stored?.value.tenant === tenant
        ? Effect.succeed(stored)
        : Effect.fail(new FunctionNotFound({ reference: id }))
    })

  const versionOf = (tenant: string, id: string): Effect.Effect<VersionRecord, VersionNotFound> =>
    Effect.suspend(() => {
      const stored = table.version(id)?.value
      return stored?.tenant === tenant && table.function(stored.functionId) !== undefined
        ? Effect.succeed(stored)
        : Effect.fail(new VersionNotFound({ versionId: id }))
    })

  const deploymentOf = (
    tenant: string,
    versionId: string
  ): Effect.Effect<Stored<DeploymentRecord>, VersionNotFound | NotDeployed> =>
    Effect.flatMap(versionOf(tenant, versionId), () => {
      const stored = table.deployment(versionId)
      return stored === undefined ? Effect.fail(new NotDeployed({ versionId })) : Effect.succeed(stored)
    })

  const removeRecord = (functionId: string) =>
    settled(
      `functions/${functionId}`,
      Effect.suspend(() =>
        remove(
          "functions",
          functionId,
          table.functionRecord(functionId),
          () => table.functionRecord(functionId) === undefined
        )
      )
    )

  const removeVersion = (versionId: string) =>
    settled(
      `versions/${versionId}`,
      Effect.suspend(() =>
        remove("versions", versionId, table.version(versionId), () => table.version(versionId) === undefined)
      )
    )

  const writeActive = Effect.fnUntraced(function* (functionId: string, versionId: VersionId | null) {
    const stored = table.function(functionId)
    if (stored === undefined) return yield* new FunctionNotFound({ reference: functionId })
    if (stored.value.activeVersionId === versionId) return stored.value
    const value: FunctionRecord = { ...stored.value, activeVersionId: versionId }
    return yield* put("functions", functionId, value, stored.revision)
  })

  const createFunctionOnce = Effect.fnUntraced(function* (tenant: string, name: string) {
    const value = yield* Schema.decodeUnknownEffect(FunctionRecord)({
      id: makeId(),
      tenant,
      name,
      createdAt: yield* now,
      activeVersionId: null
    }).pipe(Effect.mapError(specInvalid("the function")))
    const owner = table.name(tenant, name)
    if (owner !== undefined) return yield* new FunctionNameTaken({ name, functionId: owner.value.functionId })
    if (table.functionCount() >= functionCountMax) {
      return yield* new RegistryFull({ what: "functions", limit: functionCountMax })
    }
    yield* put("functions", value.id, value, 0)
    CrashPoint.hit("registry.create.beforeName")
    const named = put("function-names", nameKey(tenant, name), { functionId: value.id }, 0)
    // Without its name the record is invisible; when clearing it up fails too, a later start does it.
    yield* Effect.tapError(named, (error) =>
      error._tag === "OutcomeUnknown" ? Effect.void : Effect.ignore(removeRecord(value.id))
    )
    return value
  })

  const createVersion = Effect.fnUntraced(function* (tenant: string, functionId: string, spec: VersionSpec) {
    yield* Schema.decodeUnknownEffect(VersionSpec)(spec).pipe(Effect.mapError(specInvalid("the version")))
    const refused = yield* ChartCheck.issuesOf(spec.chart)
    if (refused.length > 0) return yield* new SpecInvalid({ what: "the version", issues: refused })
    yield* functionOf(tenant, functionId)
    if (table.versionsOf(functionId).length >= versionsPerFunctionMax) {
      return yield* new RegistryFull({ what: `versions of function ${functionId}`, limit: versionsPerFunctionMax })
    }
    const number = yield* numbers.next(functionId)
    CrashPoint.hit("registry.version.afterNumber")
    const value: VersionRecord = {
      id: VersionId.make(makeId()),
      functionId: FunctionId.make(functionId),
      tenant,
      number,
      createdAt: yield* now,
      spec
    }
    return yield* settled(`versions/${value.id}`, put("versions", value.id, value, 0))
  })

  const deployOnce = Effect.fnUntraced(function* (tenant: string, versionId: string, spec: DeploymentSpec) {
    yield* Schema.decodeUnknownEffect(DeploymentSpec)(spec).pipe(Effect.mapError(specInvalid("the deployment")))
    const version = yield* versionOf(tenant, versionId)
    const before = table.deployment(versionId)
    const value: DeploymentRecord = {
      versionId: version.id,
      functionId: version.functionId,
      tenant,
      generation: before?.value.generation ?? 1,
      createdAt: before?.value.createdAt ?? (yield* now),
      spec
    }
    return yield* put("deployments", versionId, value, before?.revision ?? 0)
  })

  const deploy = Effect.fnUntraced(function* (tenant: string, versionId: string, spec: DeploymentSpec) {
    const deployed = yield* settled(`deployments/${versionId}`, deployOnce(tenant, versionId, spec))
    CrashPoint.hit("registry.deploy.beforeActive")
    const owner = table.function(deployed.functionId)
    if (owner !== undefined && owner.value.activeVersionId === null) {
      const activate = settled(`functions/${deployed.functionId}`, writeActive(deployed.functionId, deployed.versionId))
      // Deleted meanwhile: then there is nothing to activate.
      yield* Effect.catchTag(activate, "FunctionNotFound", () => Effect.void)
    }
    return deployed
  })

  const restartOnce = Effect.fnUntraced(function* (tenant: string, versionId: string) {
    const stored = yield* deploymentOf(tenant, versionId)
    const value: DeploymentRecord = { ...stored.value, generation: stored.value.generation + 1 }
    return yield* put("deployments", versionId, value, stored.revision)
  })

  const removeDeployment = (versionId: string) =>
    settled(
      `deployments/${versionId}`,
      Effect.suspend(() =>
        remove("deployments", versionId, table.deployment(versionId), () => table.deployment(versionId) === undefined)
      )
    )

  const setActiveOnce = Effect.fnUntraced(function* (tenant: string, functionId: string, versionId: string | null) {
    yield* functionOf(tenant, functionId)
    if (versionId === null) return yield* writeActive(functionId, null)
    const version = yield* versionOf(tenant, versionId)
    if (version.functionId !== functionId) return yield* new VersionOfAnotherFunction({ versionId, functionId })
    return yield* writeActive(functionId, version.id)
  })

  const deleteVersion = Effect.fnUntraced(function* (tenant: string, versionId: string, force: boolean) {
    const version = yield* versionOf(tenant, versionId)
    if (table.deployment(versionId) !== undefined) {
      if (!force) return yield* new StillDeployed({ what: `version ${versionId}`, versionIds: [versionId] })
      yield* removeDeployment(versionId)
    }
    const clear = Effect.suspend(() =>
      table.function(version.functionId)?.value.activeVersionId === versionId
        ? writeActive(version.functionId, null)
        : Effect.void
    )
    yield* Effect.catchTag(settled(`functions/${version.functionId}`, clear), "FunctionNotFound", () => Effect.void)
    yield* removeVersion(versionId)
  })

  const deleteFunction = Effect.fnUntraced(function* (tenant: string, functionId: string, force: boolean) {
    const { value } = yield* functionOf(tenant, functionId)
    const versionIds = table.versionsOf(functionId)
    const deployed = versionIds.filter((versionId) => table.deployment(versionId) !== undefined)
    if (deployed.length > 0 && !force) {
      return yield* new StillDeployed({ what: `function ${value.name}`, versionIds: deployed })
    }
    yield* Effect.forEach(deployed, removeDeployment, { concurrency: 16, discard: true })
    const key = nameKey(tenant, value.name)
    yield* settled(
      `function-names/${key}`,
      Effect.suspend(() => {
        const owner = table.name(tenant, value.name)
        // Gone already: the name may by now belong to another function, which keeps it.
        return owner?.value.functionId === functionId
          ? remove("function-names", key, owner, () => table.function(functionId) === undefined)
          : Effect.void
      })
    )
    yield* Effect.forEach(versionIds, removeVersion, { concurrency: 16, discard: true })
    yield* numbers.forget(functionId)
    yield* removeRecord(functionId)
  })

  const sweep = Effect.gen(function* () {
    const oldest = DateTime.formatIso(DateTime.makeUnsafe((yield* Clock.currentTimeMillis) - leftOverAgeMs))
    const leftOvers = table.leftOvers()
    const versions = leftOvers.versions.filter(({ createdAt }) => createdAt < oldest)
    const functions = leftOvers.functions.filter(({ createdAt }) => createdAt < oldest)
    yield* Effect.forEach(versions, ({ id }) => Effect.andThen(removeDeployment(id), removeVersion(id)), {
      discard: true
    })
    yield* Effect.forEach(functions, ({ id }) => Effect.andThen(numbers.forget(id), removeRecord(id)), {
      discard: true
    })
  })
  yield* Effect.catch(sweep, (error) =>
    Effect.logWarning("left-overs could not be removed", { message: error.message })
  )

  const findFunction = (tenant: string, idOrName: string) =>
    Effect.suspend(() => {
      const byId = table.function(idOrName)
      const id = byId?.value.tenant === tenant ? idOrName : table.name(tenant, idOrName)?.value.functionId
      const stored = id === undefined ? undefined : table.function(id)
      return stored === undefined
        ? Effect.fail(new FunctionNotFound({ reference: idOrName }))
        : Effect.succeed(stored.value)
    })

  const listFunctions = (options: { tenant: string; prefix?: string; after?: string; limit: number }) => {
    const limit = pageSize(options.limit)
    const names = table.names({
      tenant: options.tenant,
      prefix: options.prefix ?? "",
      after: options.after ?? "",
      limit: limit + 1
    })
    const page = names.slice(0, limit)
    const items = page.flatMap((name) => {
      const owner = table.name(options.tenant, name)
      const stored = owner === undefined ? undefined : table.function(owner.value.functionId)
      return stored === undefined ? [] : [stored.value]
    })
    return { items, next: names.length > limit ? page[page.length - 1]! : null }
  }

  const listVersions = Effect.fnUntraced(function* (options: {
    tenant: string
    functionId: string
    after?: string
    limit: number
  }) {
    yield* functionOf(options.tenant, options.functionId)
    const limit = pageSize(options.limit)
    const newestFirst = table.versionsOf(options.functionId).toReversed()
    const start = options.after === undefined ? 0 : newestFirst.indexOf(options.after) + 1
    const page = newestFirst.slice(start, start + limit)
    const items = page.flatMap((id) => {
      const stored = table.version(id)
      return stored === undefined ? [] : [stored.value]
    })
    return { items, next: start + limit < newestFirst.length ? page[page.length - 1]! : null }
  })

  return Registry.of({
    createFunction: ({ tenant, name }) =>
      settled(
        `function-names/${tenant}/${name}`,
        Effect.suspend(() => createFunctionOnce(tenant, name))
      ).pipe(locked(name)),
    getFunction: (tenant, id) => Effect.map(functionOf(tenant, id), ({ value }) => value),
    findFunction,
    listFunctions,
    createVersion: ({ tenant, functionId, spec }) => createVersion(tenant, functionId, spec).pipe(locked(functionId)),
    getVersion: versionOf,
    listVersions,
    deploy: ({ tenant, versionId, spec }) =>
      Effect.flatMap(versionOf(tenant, versionId), ({ functionId }) =>
        deploy(tenant, versionId, spec).pipe(locked(functionId))
      ),
    getDeployment: (tenant, versionId) => Effect.map(deploymentOf(tenant, versionId), ({ value }) => value),
    restart: (tenant, versionId) =>
      Effect.flatMap(versionOf(tenant, versionId), ({ functionId }) =>
        settled(
          `deployments/${versionId}`,
          Effect.suspend(() => restartOnce(tenant, versionId))
        ).pipe(locked(functionId))
      ),
    undeploy: (tenant, versionId) =>
      Effect.flatMap(versionOf(tenant, versionId), ({ functionId }) =>
        removeDeployment(versionId).pipe(locked(functionId))
      ),
    setActive: ({ tenant, functionId, versionId }) =>
      settled(
        `functions/${functionId}`,
        Effect.suspend(() => setActiveOnce(tenant, functionId, versionId))
      ).pipe(locked(functionId)),
    deleteVersion: ({ tenant, versionId, force }) =>
      Effect.flatMap(versionOf(tenant, versionId), ({ functionId }) =>
        deleteVersion(tenant, versionId, force).pipe(locked(functionId))
      ),
    deleteFunction: ({ tenant, functionId, force }) =>
      deleteFunction(tenant, functionId, force).pipe(locked(functionId)),
    routing: table.routing
  })
})

const pageSize = (limit: number) => Math.max(1, Math.min(pageSizeMax, Math.floor(limit)))

/** FNV-1a: spreads ids and names evenly over the locks. */
const stripeOf = (key: string): number => {
  let hash = 0x811c9dc5
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193)
  return (hash >>> 0) % stripeCount
}
