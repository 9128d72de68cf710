/**
 * Makes the registry say what a function's file says: creates what is missing, and leaves alone what is right already, so
 * that a restart of Millrace keeps ids and URLs.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { FunctionRecord, VersionRecord } from "../../planes/control/Domain.ts"
import { defaultTenant, type Registry } from "../../planes/control/Registry.ts"
import type { FunctionFile } from "../FunctionFile.ts"

export interface RegisteredFunction {
  readonly file: FunctionFile
  readonly record: FunctionRecord
  readonly version: VersionRecord
  /** The version that was active before, still deployed: requests may wait for it. */
  readonly replacedVersionId: string | undefined
}

/** Same members, same values, whatever their order. */
const same = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b)

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member
  )

export const register = Effect.fnUntraced(function* (registry: Registry["Service"], file: FunctionFile) {
  const tenant = defaultTenant
  const { name, version: spec, deployment } = file
  const record = yield* registry
    .findFunction(tenant, name)
    .pipe(Effect.catchTag("FunctionNotFound", () => registry.createFunction({ tenant, name })))
  const active =
    record.activeVersionId === null
      ? undefined
      : yield* registry
          .getVersion(tenant, record.activeVersionId)
          .pipe(Effect.catchTag("VersionNotFound", () => Effect.succeed(undefined)))
  const unchanged = active !== undefined && same(active.spec, spec)
  const version = unchanged ? active : yield* registry.createVersion({ tenant, functionId: record.id, spec })
  const deployed = yield* registry
    .getDeployment(tenant, version.id)
    .pipe(Effect.catchTag("NotDeployed", () => Effect.succeed(undefined)))
  if (deployed === undefined || !same(deployed.spec, deployment)) {
    yield* registry.deploy({ tenant, versionId: version.id, spec: deployment })
  }
  if (!unchanged) {
    yield* registry.setActive({ tenant, functionId: record.id, versionId: version.id })
  }
  const replacedVersionId = unchanged ? undefined : active?.id
  const registered: RegisteredFunction = { file, record, version, replacedVersionId }
  return registered
})
