/**
 * The laws of every backend once more, of instances that were zygotes.
 *
 * @module
 */
import * as PooledBackend from "./PooledBackend.ts"
import { harnessOf } from "./processHarness.ts"
import * as ProcessTree from "./processTree.ts"
import { runLaws } from "./runLaws.ts"

/** Files that instances were started with, by what stands in their environment. */
const entries: Array<{ readonly environment: string; readonly entry: string }> = []

/** A zygote shows the environment that it had while it waited, but its name is that of its function. */
const countProcesses = (text: string): number => {
  const files = entries.filter(({ environment }) => environment.includes(text)).map(({ entry }) => entry)
  return ProcessTree.countProcesses(
    (command, environment) => environment.includes(text) || files.some((file) => command.includes(file))
  )
}

const specOf: typeof PooledBackend.entrySpec = (instanceId, script, environment, nodeFlags) => {
  const spec = PooledBackend.entrySpec(instanceId, script, environment, nodeFlags)
  const isZygote = (nodeFlags ?? []).length === 0
  if (isZygote) entries.push({ environment: JSON.stringify(environment), entry: spec.command.at(-1) ?? "" })
  return spec
}

runLaws({
  ...harnessOf({
    name: "process, with zygotes",
    make: (instancesMax) => PooledBackend.make({ instancesMax, zygotes: 2 }),
    specOf,
    cannotStart: { workingDirectory: "/nowhere/at/all" }
  }),
  countProcesses
})
