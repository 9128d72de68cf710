/**
 * The programs that tests start by the hundred, each put into few files: to find and read 440 modules takes Node more
 * processor time than all that most of them do. `makePrograms.ts` makes them after the build; where a source has changed
 * since, or none were made, the same programs run from the files that they were made of.
 *
 * @module
 */
import { globSync, readFileSync, statSync } from "node:fs"
import { join, relative } from "node:path"

const root = join(import.meta.dirname, "../..")

/** Relative to the root. */
const entries = ["dist/cli/main.js", "tests/chaos/platformMain.ts", "tests/gateways/gatewayMain.ts"] as const
export type Entry = (typeof entries)[number]

/** Of each program: how it is called in `folder`. */
export const names: Readonly<Record<Entry, string>> = {
  "dist/cli/main.js": "cli",
  "tests/chaos/platformMain.ts": "chaos-platform",
  "tests/gateways/gatewayMain.ts": "gateway"
}

export const folder = join(root, "tests/.tmp/programs")
/** Written last: what was there of sources when they were made. */
export const stampFile = join(folder, "stamp")

/** Of all that programs are made of: how many files there are, and when the last one changed. */
export const stamp = (): string => {
  const files = globSync(
    ["src/**/*.ts", "tests/{chaos,gateways,support}/**/*.ts", "dist/cli/main.js", "package-lock.json"],
    { cwd: root, exclude: ["**/*.test.ts"] }
  )
  const latestMs = files.reduce((latest, file) => Math.max(latest, statSync(join(root, file)).mtimeMs), 0)
  return `${files.length} ${latestMs}`
}

export const areCurrent = (): boolean => {
  try {
    return readFileSync(stampFile, "utf8") === stamp()
  } catch {
    return false
  }
}

let isCurrent: boolean | undefined

/** What `node` is to be given to run the program. */
export const wordsOf = (entry: Entry): ReadonlyArray<string> => {
  isCurrent ??= areCurrent()
  if (isCurrent) return [join(folder, `${names[entry]}.js`)]
  const file = join(root, entry)
  return entry.endsWith(".ts") ? ["--conditions=millrace-source", file] : [file]
}

/** Of a source, as it was built. */
export const builtOf = (file: string): string | null => {
  const inside = relative(join(root, "src"), file)
  return inside.startsWith("..") ? null : join(root, "dist", inside.replace(/\.ts$/, ".js"))
}
