/**
 * The programs of a real Kubernetes for the tests: our `cluster/` (etcd, kube-apiserver, kube-scheduler and
 * kube-controller-manager in one binary) and KWOK, both built by Go once on a machine and kept in the user's cache folder.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

const source = join(import.meta.dirname, "cluster")
const kubernetesVersion = "1.36.3"
const kwokVersion = "v0.8.0"

export interface Binaries {
  readonly cluster: string
  readonly kwok: string
}

/** Named after what they are made of, so that a change of it builds them anew. */
const folder = (): string => {
  const hash = createHash("sha256").update(kwokVersion)
  for (const file of ["go.mod", "go.sum", "main.go"]) hash.update(readFileSync(join(source, file)))
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache")
  return join(cache, "millrace", "kubernetes", hash.digest("hex").slice(0, 16))
}

/** Undefined: not built on this machine. */
export const findBinaries = (): Binaries | undefined => {
  const binaries = { cluster: join(folder(), "cluster"), kwok: join(folder(), "kwok") }
  return existsSync(binaries.cluster) && existsSync(binaries.kwok) ? binaries : undefined
}

/** Builds what is missing; 10 to 20 minutes on two cores. Throws with the output of Go. */
export const buildBinaries = (): Binaries => {
  const found = findBinaries()
  if (found !== undefined) return found
  const into = folder()
  const building = `${into}.building-${process.pid}`
  mkdirSync(building, { recursive: true })
  const [major, minor] = kubernetesVersion.split(".")
  const version = "k8s.io/component-base/version"
  const flags = [
    "-s -w",
    `-X ${version}.gitVersion=v${kubernetesVersion}`,
    `-X ${version}.gitMajor=${major} -X ${version}.gitMinor=${minor}`
  ]
  try {
    go(["build", "-trimpath", `-ldflags=${flags.join(" ")}`, "-o", join(building, "cluster"), "."], {
      directory: source
    })
    // Not in the source tree: that may be moved under a build that takes so long.
    const kwok = ["install", "-trimpath", "-ldflags=-s -w", `sigs.k8s.io/kwok/cmd/kwok@${kwokVersion}`]
    go(kwok, { directory: building, environment: { GOBIN: building } })
    rmSync(into, { recursive: true, force: true })
    renameSync(building, into)
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
  const built = findBinaries()
  if (built === undefined) throw new Error(`Go ended well, and ${into} has not both programs`)
  return built
}

const go = (
  args: ReadonlyArray<string>,
  {
    directory,
    environment = {}
  }: { readonly directory: string; readonly environment?: Readonly<Record<string, string>> }
): void => {
  const { status, error } = spawnSync("go", args, {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "inherit", "inherit"]
  })
  if (error !== undefined) throw new Error(`go could not be run (${error.message}): install Go 1.26 or newer`)
  if (status !== 0) throw new Error(`go ${args[0]} ended with ${status}: see its output above`)
}
