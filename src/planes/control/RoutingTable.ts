/**
 * What a gateway must know to admit a call, always in memory, fed by watching the registry. Synchronous on purpose: it
 * is read once per request.
 *
 * @module
 */
import type { DeploymentSpec, VersionSpec } from "./Domain.ts"

export interface Route {
  readonly tenant: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  readonly version: VersionSpec
  /** Absent: the version exists and is not deployed. */
  readonly deployment: { readonly spec: DeploymentSpec; readonly generation: number } | undefined
}

export interface RoutingTable {
  /** The active version of the function. */
  readonly byName: (name: string) => Route | undefined
  readonly byFunctionId: (functionId: string) => Route | undefined
  readonly byVersionId: (versionId: string) => Route | undefined
  /** Those with such a spec, for a reader that starts; not for hot paths. `isWanted`: asked once of equal specs; default all. */
  readonly deployedVersionIds: (isWanted?: (spec: DeploymentSpec) => boolean) => ReadonlyArray<string>
  /** Called after every change of a route, with the version it touches. */
  readonly onChange: (listener: (versionId: string) => void) => () => void
}
