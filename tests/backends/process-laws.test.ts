/**
 * The laws of every backend once more, of instances that were zygotes.
 *
 * @module
 */
import * as PooledBackend from "./PooledBackend.ts"
import { harnessOf } from "./processHarness.ts"
import { runLaws } from "./runLaws.ts"

runLaws(
  harnessOf({
    name: "process, with zygotes",
    make: (instancesMax) => PooledBackend.make({ instancesMax, zygotes: 2 }),
    specOf: PooledBackend.entrySpec,
    cannotStart: { workingDirectory: "/nowhere/at/all" }
  })
)
