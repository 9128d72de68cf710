/**
 * Control groups as a test sees them: what this machine has, and what stands there.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as ControlGroups from "../../src/backends/process/ControlGroups.ts"

const look = (): { readonly whyNot: string | undefined; readonly parents: ReadonlyArray<string> } => {
  const { places, missing } = ControlGroups.claim(randomBytes(4).toString("hex"))
  if (places === undefined) return { whyNot: missing.memory, parents: [] }
  const parents = ControlGroups.directoriesOf(places).map(dirname)
  for (const directory of ControlGroups.directoriesOf(places)) ControlGroups.tryRemove(directory)
  const why = Object.values(missing)
  return { whyNot: why.length === 0 ? undefined : why.join("; "), parents }
}

/** Why instances cannot be limited here in everything; undefined = they can. `parents`: where groups are made. */
export const { whyNot, parents } = look()

/** Directories of all backends of this process, or of the one with this pid. */
export const placesOf = (pid: number): ReadonlyArray<string> =>
  parents.flatMap((parent) =>
    readdirSync(parent)
      .filter((name) => name.startsWith("millrace-") && name.split("-")[2] === String(pid))
      .map((name) => join(parent, name))
  )

/** What a file of the group that this process is in says; the group of the one controller that has such a file. */
export const fileOf = (pid: number, file: string): string | undefined => {
  const paths = readFileSync(`/proc/${pid}/cgroup`, "utf8")
    .split("\n")
    .map((line) => line.split(":").slice(2).join(":"))
  for (const parent of parents) {
    for (const path of paths) {
      // The last two names: the backend's and the instance's.
      const found = join(parent, ...path.split("/").slice(-2), file)
      if (path.includes("millrace-") && existsSync(found)) return readFileSync(found, "utf8")
    }
  }
  return undefined
}
