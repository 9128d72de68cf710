/**
 * Brings the packages of this example, which are not among Millrace's own.
 *
 * `node examples/ocr/install.ts` installs them when they are absent; a test calls `ensureInstalled` and skips itself
 * with the reason when there is no registry to be reached.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

const directory = fileURLToPath(new URL(".", import.meta.url))

/** Undefined when the packages are there, otherwise a sentence on why not. Fails when npm fails for another cause. */
export const ensureInstalled = async (): Promise<string | undefined> => {
  if (await isInstalled()) return undefined
  // No scripts: this example needs none, and npm would build Millrace, which the packages link to.
  const quickly = ["--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
  const npm = spawn("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", ...quickly], {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  npm.stdout.on("data", (chunk) => (output += chunk))
  npm.stderr.on("data", (chunk) => (output += chunk))
  const [exitCode] = await once(npm, "close")
  if (exitCode === 0) return undefined
  const unreachable = output.match(
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED/
  )
  if (unreachable !== null) return `npm cannot reach a registry (${unreachable[0]})`
  throw new Error(`npm ci in ${directory} ended with ${exitCode}:\n${output}`)
}

/** npm writes what it installed beside it, in the shape of the lock file. */
const isInstalled = async (): Promise<boolean> => {
  const [wanted, present] = await Promise.all([
    versions(`${directory}/package-lock.json`),
    versions(`${directory}/node_modules/.package-lock.json`).catch(() => new Map<string, string>())
  ])
  return [...wanted].every(([path, version]) => present.get(path) === version)
}

const versions = async (lockFile: string): Promise<ReadonlyMap<string, string>> => {
  const { packages } = JSON.parse(await readFile(lockFile, "utf8"))
  const installed = Object.entries<{ readonly version?: string }>(packages)
  return new Map(
    installed.flatMap(([path, { version }]) =>
      path.startsWith("node_modules/") && version !== undefined ? [[path, version]] : []
    )
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const missing = await ensureInstalled()
  console.log(missing ?? "the packages of examples/ocr are installed")
  process.exitCode = missing === undefined ? 0 : 1
}
