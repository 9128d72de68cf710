/**
 * The laws of every backend once more, of instances that were zygotes.
 *
 * @module
 */
import { backendLaws, obedient } from "./backendLaws.ts"
import * as PooledBackend from "./PooledBackend.ts"
import { isAlive } from "./waitFor.ts"

backendLaws("process, with zygotes", {
  layer: (options) => PooledBackend.layer({ ...options, zygotes: 2 }),
  spec: PooledBackend.entrySpec,
  failingSpec: (instanceId) => ({
    ...PooledBackend.entrySpec(instanceId, obedient),
    workingDirectory: "/nowhere/at/all"
  }),
  addedVariables: ["PATH", "HOME", "TMPDIR", "LANG", "MILLRACE_BACKEND_ID"],
  isRunning: isAlive
})
