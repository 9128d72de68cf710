/**
 * The registry in memory: what the key-value store holds about functions, versions and deployments, as maps, kept
 * current by watching. Reads never wait and never scan; a route that is asked for is kept until something under it changes,
 * or many others were asked for.
 *
 * Laws (`property-tests/Registry.laws.test.ts`): T1 after any sequence of changes, each read equals what a fold over the store's
 * entries gives. T2 a change of a route tells its version to the listeners, and nothing else is told. T3 the order in
 * which changes of different areas arrive does not matter for the end.
 *
 * @module
 */
import type { Change } from "../fabric/KeyValue.ts"
import type { DeploymentRecord, FunctionRecord, VersionRecord } from "./Domain.ts"
import type { Route, RoutingTable } from "./RoutingTable.ts"
import { formatId } from "./registry/IdRows.ts"
import { type Area, type Records, textOf } from "./registry/RecordTexts.ts"
import { FunctionRecords, makeTenants, type NameRecord, NameRecords, nameKey } from "./registry/RegistryRecords.ts"
import { DeploymentRecords, VersionRecords } from "./registry/SpecRecords.ts"
import type { Stored, StoredChunk, StoredRecords } from "./registry/StoredRecords.ts"

export { type Area, areas } from "./registry/RecordTexts.ts"

export interface RegistryTable {
  /** Of everything that is there in this area, in no order. */
  readonly keys: (area: Area) => ReadonlyArray<string>
  /** Only while its name points to it. */
  readonly function: (id: string) => Stored<FunctionRecord> | undefined
  /** The record, whether its name points to it or not. */
  readonly functionRecord: (id: string) => Stored<FunctionRecord> | undefined
  readonly name: (tenant: string, name: string) => Stored<NameRecord> | undefined
  readonly version: (id: string) => Stored<VersionRecord> | undefined
  readonly deployment: (versionId: string) => Stored<DeploymentRecord> | undefined
  /** Ids, oldest first. */
  readonly versionsOf: (functionId: string) => ReadonlyArray<string>
  readonly functionCount: () => number
  /** What belongs to no existing function: cut-off creations and deletions. Scans everything. */
  readonly leftOvers: () => {
    readonly functions: ReadonlyArray<FunctionRecord>
    readonly versions: ReadonlyArray<VersionRecord>
  }
  /** Names of a tenant in order, from the first one after `after` that starts with `prefix`, at most `limit`. */
  readonly names: (options: {
    readonly tenant: string
    readonly prefix: string
    readonly after: string
    readonly limit: number
  }) => ReadonlyArray<string>
  readonly routing: (tenant: string) => RoutingTable
  /** Answers the key and the reason when the stored value cannot be read; the table then acts as if it was not there. */
  readonly apply: (area: Area, change: Change) => Unreadable | undefined
  readonly count: (area: Area) => number
  /** All of the area, in no order; see `StoredRecords.chunks`. */
  readonly chunks: (area: Area, rowsMax: number) => Iterable<StoredChunk>
  /** What `chunks` gave, before anybody reads; `CaughtUp` ends it. Answers what cannot be read. */
  readonly load: (area: Area, chunk: StoredChunk) => ReadonlyArray<Unreadable>
}

export interface Unreadable {
  readonly key: string
  readonly reason: string
}

const routesMaxDefault = 32_768

const utf8 = (bytes: Uint8Array): string =>
  (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).toString("utf8")

/** So many are put in their places one by one. */
const looseMax = 32

/** Strings in order, without repeats. Where the store does not list in order they are put in order when they are read. */
const makeSortedNames = () => {
  let names: Array<string> = []
  const loose = new Set<string>()
  const settle = () => {
    if (loose.size > looseMax) names = [...new Set([...names, ...loose])].sort()
    else {
      for (const name of loose) {
        const index = indexOf(name)
        if (names[index] !== name) names.splice(index, 0, name)
      }
    }
    loose.clear()
  }
  const indexOf = (name: string): number => {
    if (names.length === 0 || names[names.length - 1]! < name) return names.length
    let low = 0
    let high = names.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (names[middle]! < name) low = middle + 1
      else high = middle
    }
    return low
  }
  return {
    settle,
    add: (name: string) => {
      if (names.length === 0 || names[names.length - 1]! < name) names.push(name)
      else loose.add(name)
    },
    remove: (name: string) => {
      loose.delete(name)
      const index = indexOf(name)
      if (names[index] === name) names.splice(index, 1)
    },
    from: (start: string, prefix: string, limit: number): ReadonlyArray<string> => {
      settle()
      const found: Array<string> = []
      for (let index = indexOf(start); index < names.length && found.length < limit; index++) {
        const name = names[index]!
        if (!name.startsWith(prefix)) break
        found.push(name)
      }
      return found
    }
  }
}

export const make = (options: {
  readonly onListenerFailure: (failure: unknown) => void
  /** Kept of those that are called or run; the one built first goes first, and is built again when it is wanted. Default 32,768. */
  readonly routesMax?: number
}): RegistryTable => {
  const { routesMax = routesMaxDefault } = options
  const tenants = makeTenants()
  const names = new NameRecords()
  const functions = new FunctionRecords(tenants, names)
  const sortedNames = makeSortedNames()
  const versions = new VersionRecords(tenants)
  const deployments = new DeploymentRecords(tenants)
  const routes = new Map<string, Route>()
  /** Answers of `byName`, by tenant and name, until anything changes: a warm call costs one look-up. */
  const named = new Map<string, Map<string, Route>>()
  const listeners = new Set<(versionId: string) => void>()

  const living = (id: string): Stored<FunctionRecord> | undefined => {
    const stored = functions.get(id)
    if (stored === undefined) return undefined
    const { tenant, name } = stored.value
    return names.get(nameKey(tenant, name))?.value.functionId === id ? stored : undefined
  }

  const routeOf = (versionId: string): Route | undefined => {
    const known = routes.get(versionId)
    if (known !== undefined) return known
    const version = versions.get(versionId)?.value
    if (version === undefined) return undefined
    const owner = living(version.functionId)?.value
    if (owner === undefined) return undefined
    const deployment = deployments.get(versionId)?.value
    const route: Route = {
      tenant: version.tenant,
      functionId: owner.id,
      functionName: owner.name,
      versionId,
      version: version.spec,
      deployment: deployment === undefined ? undefined : { spec: deployment.spec, generation: deployment.generation }
    }
    routes.set(versionId, route)
    if (routes.size > routesMax) for (const oldest of routes.keys()) if (routes.delete(oldest)) break
    return route
  }

  const tell = (versionId: string) => {
    for (const listener of [...listeners]) {
      try {
        listener(versionId)
      } catch (failure) {
        options.onListenerFailure(failure)
      }
    }
  }

  const changed = (versionIds: Iterable<string>) => {
    if (routes.size === 0 && listeners.size === 0) return
    const touched = [...new Set(versionIds)]
    for (const versionId of touched) routes.delete(versionId)
    for (const versionId of touched) tell(versionId)
  }

  const versionIdsOf = (functionId: string) => versions.of(functionId)

  /** Routes and listeners there are only once all is loaded: until then nothing is told. */
  const isAnyoneThere = () => routes.size > 0 || listeners.size > 0

  const functionSet = (id: string, before: FunctionRecord | undefined) => {
    const after = functions.get(id)?.value
    if (before?.name === after?.name && before !== undefined && after !== undefined) {
      // Only the choice of the active version can differ: the routes that calls without a version take.
      if (before.activeVersionId === after.activeVersionId) return
      changed([before.activeVersionId, after.activeVersionId].filter((versionId) => versionId !== null))
      return
    }
    changed(versionIdsOf(id))
  }

  const nameSet = (key: string, before: NameRecord | undefined) => {
    const after = names.get(key)?.value.functionId
    if (before?.functionId === after) return
    changed([before?.functionId, after].flatMap((id) => (id === undefined ? [] : versionIdsOf(id))))
  }

  /** `onSet`: what the record was; it may be there still. */
  const set = <A extends object>(
    records: StoredRecords<A>,
    id: string,
    change: Exclude<Change, { readonly _tag: "CaughtUp" }>,
    onSet: (id: string, before: A | undefined) => void
  ) => {
    const before = isAnyoneThere() ? records.get(id)?.value : undefined
    let reason: string | undefined
    if (change._tag === "Deleted") records.remove(id)
    else reason = records.put(id, utf8(change.entry.value), change.entry.revision)
    if (isAnyoneThere()) onSet(id, before)
    return reason === undefined || change._tag === "Deleted" ? undefined : { key: change.entry.key, reason }
  }

  const setName = (key: string, change: Exclude<Change, { readonly _tag: "CaughtUp" }>) => {
    const unreadable = set(names, key, change, nameSet)
    if (names.has(key)) sortedNames.add(names.keptKey(key) ?? key)
    else sortedNames.remove(key)
    return unreadable
  }

  const apply: RegistryTable["apply"] = (area, change) => {
    if (change._tag === "CaughtUp") {
      sortedNames.settle()
      return undefined
    }
    if (named.size > 0) named.clear()
    const id = (change._tag === "Put" ? change.entry.key : change.key).slice(area.length + 1)
    switch (area) {
      case "functions":
        return set(functions, id, change, functionSet)
      case "function-names":
        return setName(id, change)
      case "versions":
        return set(versions, id, change, () => changed([id]))
      case "deployments":
        return set(deployments, id, change, () => changed([id]))
    }
  }

  const byFunctionId = (functionId: string): Route | undefined => {
    const active = living(functionId)?.value.activeVersionId
    const route = active === undefined || active === null ? undefined : routeOf(active)
    return route?.functionId === functionId ? route : undefined
  }

  const remember = (tenant: string, name: string, route: Route) => {
    const routes = named.get(tenant) ?? new Map<string, Route>()
    if (routes.size >= routesMax) routes.clear()
    routes.set(name, route)
    named.set(tenant, routes)
  }

  const onChange = (listener: (versionId: string) => void) => {
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
    }
  }

  const recordsOf: { readonly [A in Area]: StoredRecords<Records[A]> } = {
    functions,
    "function-names": names,
    versions,
    deployments
  }

  const chunksOf = <A extends Area>(area: A, rowsMax: number): Iterable<StoredChunk> => {
    const records: StoredRecords<Records[A]> = recordsOf[area]
    return records.chunks(rowsMax, textOf[area])
  }

  const load: RegistryTable["load"] = (area, chunk) => {
    const unreadable = recordsOf[area].putChunk(chunk)
    if (area === "function-names") {
      // Of odd ones the texts are keys and values in turn.
      const keys = chunk.form === "usual" ? chunk.texts : chunk.texts.filter((_, index) => index % 2 === 0)
      for (const key of keys) if (names.has(key)) sortedNames.add(names.keptKey(key) ?? key)
    }
    return unreadable.map(({ id, reason }) => ({ key: `${area}/${id}`, reason }))
  }

  return {
    keys: (area) => recordsOf[area].ids().map((id) => `${area}/${id}`),
    function: living,
    functionRecord: (id) => functions.get(id),
    name: (tenant, name) => names.get(nameKey(tenant, name)),
    version: (id) => versions.get(id),
    deployment: (versionId) => deployments.get(versionId),
    versionsOf: versionIdsOf,
    functionCount: () => names.size,
    leftOvers: () => ({
      functions: functions.withoutName(),
      versions: versions.withoutFunction((functionId) =>
        typeof functionId === "string"
          ? living(functionId) !== undefined
          : (functions.hasName(functionId) ?? living(formatId(functionId)) !== undefined)
      )
    }),
    names: ({ tenant, prefix, after, limit }) => {
      const scope = nameKey(tenant, "")
      // The character after every one that a name may contain makes `after` itself fall out.
      const start = after === "" || after < prefix ? scope + prefix : `${scope}${after}\u0000`
      return sortedNames.from(start, scope + prefix, limit).map((key) => key.slice(scope.length))
    },
    routing: (tenant) => ({
      byName: (name) => {
        const known = named.get(tenant)?.get(name)
        if (known !== undefined) return known
        const owner = names.get(nameKey(tenant, name))
        const route = owner === undefined ? undefined : byFunctionId(owner.value.functionId)
        if (route !== undefined) remember(tenant, name, route)
        return route
      },
      byFunctionId: (functionId) => {
        const route = byFunctionId(functionId)
        return route?.tenant === tenant ? route : undefined
      },
      byVersionId: (versionId) => {
        const route = routeOf(versionId)
        return route?.tenant === tenant ? route : undefined
      },
      deployedVersionIds: (isWanted = () => true) => deployments.versionIds(tenant, isWanted),
      onChange
    }),
    apply,
    count: (area) => recordsOf[area].size,
    chunks: chunksOf,
    load
  }
}
