/**
 * Finds a nats-server that is new enough, or gets the pinned one: on the PATH, in the cache, built with Go, or the
 * official release whose SHA-256 is checked. What was got is kept in a cache folder outside the tree.
 *
 * @module
 */
import { execFile, execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import * as fs from "node:fs/promises"
import { homedir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { isOlder } from "../../src/planes/fabric/nats/Safety.ts"

/** The newest release when this was written. */
export const pinnedVersion = "2.15.2"

const goPackage = "github.com/nats-io/nats-server/v2"
const releasesUrl = "https://github.com/nats-io/nats-server/releases/download"
const buildLimitMs = 20 * 60_000
const downloadLimitMs = 120_000

const run = promisify(execFile)

export interface Found {
  readonly path: string
  readonly version: string
  readonly how: "PATH" | "cache" | "go" | "release"
}

export const cacheFolder = (environment: NodeJS.ProcessEnv = process.env): string =>
  join(
    environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"),
    "millrace",
    "services",
    `nats-server-${pinnedVersion}`
  )

const versionOf = (path: string): string | undefined => {
  try {
    const text = execFileSync(path, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    return /v(\d+\.\d+\.\d+\S*)/.exec(text)?.[1]
  } catch {
    return undefined
  }
}

/** What is there already; never downloads or builds. */
export const locate = (environment: NodeJS.ProcessEnv = process.env): Found | undefined => {
  const candidates = [
    ...(environment["PATH"] ?? "")
      .split(":")
      .map((folder) => ({ path: join(folder, "nats-server"), how: "PATH" }) as const),
    { path: join(cacheFolder(environment), "nats-server"), how: "cache" } as const
  ]
  for (const { path, how } of candidates) {
    const version = existsSync(path) ? versionOf(path) : undefined
    if (version !== undefined && !isOlder(version, pinnedVersion)) return { path, version, how }
  }
  return undefined
}

/** Named only when it is whole, so that nobody meets half of it. */
const keep = async (from: string): Promise<string> => {
  const folder = cacheFolder()
  await fs.mkdir(folder, { recursive: true })
  const path = join(folder, "nats-server")
  await fs.copyFile(from, `${path}.${process.pid}`)
  await fs.chmod(`${path}.${process.pid}`, 0o755)
  await fs.rename(`${path}.${process.pid}`, path)
  return path
}

const inTemporaryFolder = async <A>(body: (folder: string) => Promise<A>): Promise<A> => {
  await fs.mkdir(cacheFolder(), { recursive: true })
  const folder = await fs.mkdtemp(join(cacheFolder(), "getting-"))
  try {
    return await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

const buildWithGo = () =>
  inTemporaryFolder(async (folder) => {
    // Nobody waits for a build so much that everything else on the machine should.
    await run("nice", ["-n", "15", "go", "install", `${goPackage}@v${pinnedVersion}`], {
      env: { ...process.env, GOBIN: folder, GOFLAGS: "-mod=mod" },
      timeout: buildLimitMs
    })
    return keep(join(folder, "nats-server"))
  })

const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" }

const download = async (url: string): Promise<Buffer> => {
  const response = await fetch(url, { signal: AbortSignal.timeout(downloadLimitMs) })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  return Buffer.from(await response.arrayBuffer())
}

/** The release's own list of sums decides. `baseUrl`: where the releases lie, another one for a mirror. */
export const downloadRelease = (baseUrl: string = releasesUrl): Promise<string> =>
  inTemporaryFolder(async (folder) => {
    const name = `nats-server-v${pinnedVersion}-${process.platform}-${architectures[process.arch] ?? process.arch}`
    const [sums, archive] = [
      (await download(`${baseUrl}/v${pinnedVersion}/SHA256SUMS`)).toString(),
      await download(`${baseUrl}/v${pinnedVersion}/${name}.tar.gz`)
    ]
    const expected = sums
      .split("\n")
      .map((line) => line.trim().split(/\s+\*?/))
      .find(([, file]) => file === `${name}.tar.gz`)?.[0]
    const actual = createHash("sha256").update(archive).digest("hex")
    if (expected !== actual) throw new Error(`${name}.tar.gz has SHA-256 ${actual} and should have ${expected}`)
    await fs.writeFile(join(folder, "archive.tar.gz"), archive)
    await run("tar", ["-xzf", join(folder, "archive.tar.gz"), "-C", folder])
    return keep(join(folder, name, "nats-server"))
  })

/** Finds or gets it; fails with everything that was tried. `baseUrl`: as for a release. */
export const obtain = async (say: (line: string) => void, baseUrl?: string): Promise<Found> => {
  const found = locate()
  if (found !== undefined) return found
  const faults: Array<string> = []
  for (const [how, get] of [["go", buildWithGo] as const, ["release", () => downloadRelease(baseUrl)] as const]) {
    try {
      say(how === "go" ? `building nats-server ${pinnedVersion} with Go` : `downloading nats-server ${pinnedVersion}`)
      const path = await get()
      const version = versionOf(path)
      if (version === undefined) throw new Error(`${path} does not tell its version`)
      return { path, version, how }
    } catch (error) {
      faults.push(`${how}: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`)
    }
  }
  throw new Error(`no nats-server ${pinnedVersion} or newer can be had (${faults.join("; ")})`)
}
