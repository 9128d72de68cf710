/**
 * Records of the registry as the texts that are stored.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { DeploymentRecord, FunctionRecord, VersionRecord } from "../Domain.ts"
import { NameRecord } from "./RegistryRecords.ts"

/** In this order they are loaded: names share the texts of the functions that were there before. */
export const areas = ["functions", "function-names", "versions", "deployments"] as const
export type Area = (typeof areas)[number]

export interface Records {
  readonly functions: FunctionRecord
  readonly "function-names": NameRecord
  readonly versions: VersionRecord
  readonly deployments: DeploymentRecord
}

export const textOf: { readonly [A in Area]: (value: Records[A]) => string } = {
  functions: Schema.encodeSync(Schema.fromJsonString(FunctionRecord)),
  "function-names": Schema.encodeSync(Schema.fromJsonString(NameRecord)),
  versions: Schema.encodeSync(Schema.fromJsonString(VersionRecord)),
  deployments: Schema.encodeSync(Schema.fromJsonString(DeploymentRecord))
}
