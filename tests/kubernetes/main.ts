/**
 * `npm run test:kubernetes`: builds a Kubernetes for the tests if this machine has none yet, then runs the suites.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import { buildBinaries, findBinaries } from "./Binaries.ts"

if (findBinaries() === undefined) {
  console.log(
    "building etcd, the Kubernetes control plane and KWOK from source, once on this machine: 10 to 40 minutes"
  )
  buildBinaries()
}
const { status } = spawnSync("vitest", ["run", "--config", "vitest.kubernetes.config.ts", ...process.argv.slice(2)], {
  stdio: "inherit"
})
process.exit(status ?? 1)
