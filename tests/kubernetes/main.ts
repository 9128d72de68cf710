/**
 * `npm run test:kubernetes`: builds a Kubernetes for the tests if this machine has none yet, then runs the suites. Where it
 * cannot be built they are skipped, aloud; where nothing may be missing (`MILLRACE_FAULT_TOOLS=required`) that is a failure.
 * With `--build` it builds and runs nothing.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import { skipWithout } from "../faults/Tools.ts"
import { buildBinaries, findBinaries } from "./Binaries.ts"

/** Why there is none, if so. */
const missing = (): string | undefined => {
  if (findBinaries() !== undefined) return undefined
  console.log(
    "building etcd, the Kubernetes control plane and KWOK from source, once on this machine: 10 to 60 minutes"
  )
  try {
    buildBinaries()
    return undefined
  } catch (error) {
    return `a control plane built by Go: ${error instanceof Error ? error.message : String(error)}`
  }
}

const why = missing()
if (!skipWithout("the suites on a real Kubernetes", why) && !process.argv.includes("--build")) {
  const args = ["run", "--config", "vitest.kubernetes.config.ts", ...process.argv.slice(2)]
  process.exitCode = spawnSync("vitest", args, { stdio: "inherit" }).status ?? 1
}
