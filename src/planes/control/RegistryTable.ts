/**
 * The registry in memory: what the key-value store holds about functions, versions and deployments, as maps, kept
 * current by watching. Reads never wait and never scan; a route is built once and kept until something under it changes.
 *
 * Laws (`property-tests/Registry.laws.test.ts`): T1 after any sequence of changes, each read equals what a fold over the store's
 * entries gives. T2 a change of a route tells its version to the listeners, and nothing else is told. T3 the order in
 * which changes of different areas arrive does not matter for the end.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Change } from "../fabric/KeyValue.ts"
import { DeploymentRecord, FunctionRecord, VersionRecord } from "./Domain.ts"
import type { Route, RoutingTable } from "./RoutingTable.ts"

export const areas = ["functions", "function-names", "versions", "version-counters", "deployments"] as const
export type Area = (typeof areas)[number]

/** Who owns a name. A function exists as long as a name says so; a record without one is what a cut-off change left. */
export const NameRecord = Schema.Struct({ functionId: Schema.String })
export const CounterRecord = Schema.Struct({ last: Schema.Int })

export interface Stored<A> {
  readonly value: A
  readonly revision: number
}

export const nameKey = (tenant: string, name: string): string => `${tenant}/${name}`

export interface RegistryTable {
  /** Only while its name points to it. */
  readonly function: (id: string) => Stored<FunctionRecord> | undefined
  /** The record, whether its name points to it or not. */
  readonly functionRecord: (id: string) => Stored<FunctionRecord> | undefined
  readonly name: (tenant: string, name: string) => Stored<typeof NameRecord.Type> | undefined
  readonly version: (id: string) => Stored<VersionRecord> | undefined
  readonly counter: (functionId: string) => Stored<typeof CounterRecord.Type> | undefined
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
  readonly apply: (area: Area, change: Change) => { readonly key: string; readonly reason: string } | undefined
}

const decoders = {
  functions: Schema.decodeUnknownResult(Schema.fromJsonString(FunctionRecord)),
  "function-names": Schema.decodeUnknownResult(Schema.fromJsonString(NameRecord)),
  versions: Schema.decodeUnknownResult(Schema.fromJsonString(VersionRecord)),
  "version-counters": Schema.decodeUnknownResult(Schema.fromJsonString(CounterRecord)),
  deployments: Schema.decodeUnknownResult(Schema.fromJsonString(DeploymentRecord))
} satisfies Record<Area, unknown>

const text = new TextDecoder()

/** Strings in order, without repeats; the store lists in order, so loading only ever appends. */
const makeSortedNames = () => {
  const names: Array<string> = []
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
    add: (name: string) => {
      const index = indexOf(name)
      if (names[index] !== name) names.splice(index, 0, name)
    },
    remove: (name: string) => {
      const index = indexOf(name)
      if (names[index] === name) names.splice(index, 1)
    },
    from: (start: string, prefix: string, limit: number): ReadonlyArray<string> => {
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

export const make = (options: { readonly onListenerFailure: (failure: unknown) => void }): RegistryTable => {
  const functions = new Map<string, Stored<FunctionRecord>>()
  const names = new Map<string, Stored<typeof NameRecord.Type>>()
  const sortedNames = makeSortedNames()
  const versions = new Map<string, Stored<VersionRecord>>()
  const counters = new Map<string, Stored<typeof CounterRecord.Type>>()
  const deployments = new Map<string, Stored<DeploymentRecord>>()
  /** By function; in order of version number. */
  const versionsByFunction = new Map<string, Array<{ readonly id: string; readonly number: number }>>()
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
    const touched = [...new Set(versionIds)]
    for (const versionId of touched) routes.delete(versionId)
    for (const versionId of touched) tell(versionId)
  }

  const versionIdsOf = (functionId: string) => (versionsByFunction.get(functionId) ?? []).map(({ id }) => id)

  const linkVersion = (record: VersionRecord) => {
    const siblings = versionsByFunction.get(record.functionId) ?? []
    let index = siblings.length
    while (index > 0 && siblings[index - 1]!.number > record.number) index--
    siblings.splice(index, 0, { id: record.id, number: record.number })
    versionsByFunction.set(record.functionId, siblings)
  }

  const unlinkVersion = (record: VersionRecord) => {
    const rest = (versionsByFunction.get(record.functionId) ?? []).filter(({ id }) => id !== record.id)
    if (rest.length === 0) versionsByFunction.delete(record.functionId)
    else versionsByFunction.set(record.functionId, rest)
  }

  const setFunction = (id: string, stored: Stored<FunctionRecord> | undefined) => {
    const before = functions.get(id)?.value
    if (stored === undefined) functions.delete(id)
    else functions.set(id, stored)
    const after = stored?.value
    if (before?.name === after?.name && before !== undefined && after !== undefined) {
      // Only the choice of the active version can differ: the routes that calls without a version take.
      if (before.activeVersionId === after.activeVersionId) return
      changed([before.activeVersionId, after.activeVersionId].filter((versionId) => versionId !== null))
      return
    }
    changed(versionIdsOf(id))
  }

  const setVersion = (id: string, stored: Stored<VersionRecord> | undefined) => {
    const before = versions.get(id)?.value
    if (before !== undefined) unlinkVersion(before)
    if (stored === undefined) versions.delete(id)
    else {
      versions.set(id, stored)
      linkVersion(stored.value)
    }
    changed([id])
  }

  const setDeployment = (versionId: string, stored: Stored<DeploymentRecord> | undefined) => {
    if (stored === undefined) deployments.delete(versionId)
    else deployments.set(versionId, stored)
    changed([versionId])
  }

  const setName = (key: string, stored: Stored<typeof NameRecord.Type> | undefined) => {
    const before = names.get(key)?.value.functionId
    if (stored === undefined) {
      names.delete(key)
      sortedNames.remove(key)
    } else {
      names.set(key, stored)
      sortedNames.add(key)
    }
    const after = stored?.value.functionId
    if (before === after) return
    changed([before, after].flatMap((id) => (id === undefined ? [] : versionIdsOf(id))))
  }

  const setCounter = (functionId: string, stored: Stored<typeof CounterRecord.Type> | undefined) => {
    if (stored === undefined) counters.delete(functionId)
    else counters.set(functionId, stored)
  }

  const read = <A>(
    decode: (json: string) => Result.Result<A, Schema.SchemaError>,
    change: Change & { readonly _tag: "Put" }
  ): Result.Result<Stored<A>, string> =>
    Result.match(decode(text.decode(change.entry.value)), {
      onFailure: (error) => Result.fail(error.message),
      onSuccess: (value) => Result.succeed({ value, revision: change.entry.revision })
    })

  const put = <A>(
    set: (id: string, stored: Stored<A> | undefined) => void,
    decode: (json: string) => Result.Result<A, Schema.SchemaError>,
    id: string,
    change: Exclude<Change, { readonly _tag: "CaughtUp" }>
  ) => {
    if (change._tag === "Deleted") {
      set(id, undefined)
      return undefined
    }
    const stored = read(decode, change)
    if (Result.isSuccess(stored)) {
      set(id, stored.success)
      return undefined
    }
    set(id, undefined)
    return { key: change.entry.key, reason: stored.failure }
  }

  const apply: RegistryTable["apply"] = (area, change) => {
    if (change._tag === "CaughtUp") return undefined
    named.clear()
    const id = (change._tag === "Put" ? change.entry.key : change.key).slice(area.length + 1)
    switch (area) {
      case "functions":
        return put(setFunction, decoders.functions, id, change)
      case "function-names":
        return put(setName, decoders["function-names"], id, change)
      case "versions":
        return put(setVersion, decoders.versions, id, change)
      case "version-counters":
        return put(setCounter, decoders["version-counters"], id, change)
      case "deployments":
        return put(setDeployment, decoders.deployments, id, change)
    }
  }

  const byFunctionId = (functionId: string): Route | undefined => {
    const active = living(functionId)?.value.activeVersionId
    const route = active === undefined || active === null ? undefined : routeOf(active)
    return route?.functionId === functionId ? route : undefined
  }

  const remember = (tenant: string, name: string, route: Route) => {
    const routes = named.get(tenant) ?? new Map<string, Route>()
    routes.set(name, route)
    named.set(tenant, routes)
  }

  const onChange = (listener: (versionId: string) => void) => {
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
    }
  }

  return {
    function: living,
    functionRecord: (id) => functions.get(id),
    name: (tenant, name) => names.get(nameKey(tenant, name)),
    version: (id) => versions.get(id),
    counter: (functionId) => counters.get(functionId),
    deployment: (versionId) => deployments.get(versionId),
    versionsOf: versionIdsOf,
    functionCount: () => names.size,
    leftOvers: () => ({
      functions: [...functions.values()].map(({ value }) => value).filter(({ id }) => living(id) === undefined),
      versions: [...versions.values()]
        .map(({ value }) => value)
        .filter(({ functionId }) => living(functionId) === undefined)
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
      deployedVersionIds: (isWanted = () => true) =>
        [...deployments.values()]
          .filter(({ value }) => value.tenant === tenant && isWanted(value.spec))
          .map(({ value }) => value.versionId),
      onChange
    }),
    apply
  }
}
