/** `millrace deploy`: brings what millrace.json says into the running platform. @module */
import * as Effect from "effect/Effect"
import type { DeploymentView, FunctionView } from "../../planes/control/ControlViews.ts"
import type { DeploymentSpec, VersionRecord } from "../../planes/control/Domain.ts"
import { CommandFailed, exitCodes, type Input, isSet } from "../Command.ts"
import * as FunctionFile from "../FunctionFile.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

/** How long the platform may take until the new version gets the calls. */
const routableMsMax = 10_000
const askAgainMs = 50

/** Same members, same values, whatever their order. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([left], [right]) => (left < right ? -1 : 1)))
      : member
  )
const same = (left: unknown, right: unknown) => canonical(left) === canonical(right)

const orUndefined = async <A>(kind: string, promise: Promise<A>): Promise<A | undefined> => {
  try {
    return await promise
  } catch (error) {
    if (error instanceof CommandFailed && error.kind === kind) return undefined
    throw error
  }
}

const loadFile = (directory: string) =>
  Effect.runPromise(
    Effect.match(FunctionFile.load(directory), {
      onFailure: ({ message }) => new CommandFailed({ kind: "function-file-invalid", message }),
      onSuccess: (file) => file
    })
  )

const functionPath = (name: string) => `/v1/functions/${encodeURIComponent(name)}`
const deploymentPath = (versionId: string) => `/v1/versions/${versionId}/deployment`

const deployed = (platform: Platform.RunningPlatform, versionId: string) =>
  orUndefined("not-deployed", Platform.api<DeploymentView>(platform, "GET", deploymentPath(versionId)))

/** The active version when it is what the file says, else a new one. */
const ensureVersion = async (
  platform: Platform.RunningPlatform,
  owner: FunctionView,
  file: FunctionFile.FunctionFile
): Promise<VersionRecord> => {
  const { activeVersionId } = owner
  const active =
    activeVersionId === null
      ? undefined
      : await Platform.api<VersionRecord>(platform, "GET", `/v1/versions/${activeVersionId}`)
  if (active !== undefined && same(active.spec, file.version)) return active
  return Platform.api<VersionRecord>(platform, "POST", `${functionPath(file.name)}/versions`, file.version)
}

/** It finishes what it has; without a minimum its instances then go. */
const retire = async (platform: Platform.RunningPlatform, versionId: string) => {
  const before = await deployed(platform, versionId)
  if (before === undefined || before.spec.minInstances === 0) return
  const spec: DeploymentSpec = { ...before.spec, minInstances: 0 }
  await Platform.api(platform, "PUT", deploymentPath(versionId), spec)
}

const untilRoutable = async (platform: Platform.RunningPlatform, name: string, versionId: string) => {
  const deadline = performance.now() + routableMsMax
  for (;;) {
    const { active } = await Platform.api<FunctionView>(platform, "GET", functionPath(name))
    if (active?.versionId === versionId && active.deployment !== null) return
    if (performance.now() > deadline) {
      throw new CommandFailed({
        kind: "not-routable",
        message:
          `${name} is deployed, but calls still go to ${active?.versionId ?? "no version"} after ` +
          `${routableMsMax / 1_000} s: see \`millrace functions show ${name}\``
      })
    }
    await new Promise((resolve) => setTimeout(resolve, askAgainMs))
  }
}

export const run = async (input: Input): Promise<number> => {
  const file = await loadFile(input.positionals[0] ?? ".")
  if (file instanceof CommandFailed) throw file
  const platform = Platform.find(input)
  const { name } = file
  const owner =
    (await orUndefined("function-not-found", Platform.api<FunctionView>(platform, "GET", functionPath(name)))) ??
    (await Platform.api<FunctionView>(platform, "POST", "/v1/functions", { name }))
  const version = await ensureVersion(platform, owner, file)
  const before = await deployed(platform, version.id)
  if (before === undefined || !same(before.spec, file.deployment)) {
    await Platform.api(platform, "PUT", deploymentPath(version.id), file.deployment)
  }
  const replaced = owner.activeVersionId
  if (replaced !== version.id) {
    await Platform.api(platform, "PUT", `${functionPath(name)}/active-version`, { versionId: version.id })
    if (replaced !== null) await retire(platform, replaced)
  }
  await untilRoutable(platform, name, version.id)

  const url = `${platform.gateway}/f/${name}/`
  const curl = file.curl?.replaceAll("{url}", `${platform.gateway}/f/${name}`) ?? `curl ${url}`
  const unchanged = replaced === version.id && before !== undefined && same(before.spec, file.deployment)
  if (isSet(input, "json")) {
    Output.json({ name, functionId: owner.id, versionId: version.id, number: version.number, unchanged, url, curl })
  } else {
    Output.line(`${name} version ${version.number} is ${unchanged ? "deployed already" : "deployed"}: ${url}`)
    Output.line(`  ${curl}`)
  }
  return exitCodes.ok
}
