import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { describe, expect, it } from "vitest"

/** Which top folders a top folder of `src` may import (beside itself). */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  core: [],
  backends: ["core"],
  "worker-sdk": ["core"],
  planes: ["core", "backends", "worker-sdk"],
  lab: ["core"],
  cli: ["core", "backends", "worker-sdk", "planes", "lab"]
}

/** Effect's data modules: values without a runtime. */
const coreEffectModules = new Set(
  [
    "Data",
    "Match",
    "Schema",
    "Option",
    "Result",
    "Order",
    "HashMap",
    "HashSet",
    "Duration",
    "Equal",
    "Hash",
    "Array"
  ].map((name) => `effect/${name}`)
)

const root = resolve(import.meta.dirname, "../..")
const source = join(root, "src")

interface Import {
  readonly from: string
  readonly specifier: string
  readonly typeOnly: boolean
}

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => join(source, file))

const importsOf = (file: string): ReadonlyArray<Import> => {
  const text = readFileSync(file, "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    // Files that the CLI writes for its users hold imports of their own.
    .replace(/`[^`]*`/g, "``")
  const found: Array<Import> = []
  const statement = /^(?:import|export)\s+(type\s+)?(?:[\w*${},\s]*?from\s+)?"([^"]+)"/gm
  for (const [, typeOnly, specifier] of text.matchAll(statement)) {
    found.push({ from: file, specifier: specifier ?? "", typeOnly: typeOnly !== undefined })
  }
  for (const [, specifier] of text.matchAll(/\bimport\("([^"]+)"\)/g)) {
    found.push({ from: file, specifier: specifier ?? "", typeOnly: true })
  }
  return found
}

const imports = files.flatMap(importsOf)
const local = imports.filter(({ specifier }) => specifier.startsWith("."))
const targetOf = ({ from, specifier }: Import) => resolve(dirname(from), specifier)
const folderOf = (file: string) => relative(source, file).split("/")[0] ?? ""
const show = ({ from, specifier }: Import) => `${relative(root, from)} imports ${specifier}`

describe("the import direction", () => {
  it("reads a plausible number of imports", () => {
    expect(files.length).toBeGreaterThan(50)
    expect(local.length).toBeGreaterThan(100)
  })

  it("points inward: core ← backends, worker-sdk, lab ← planes ← cli", () => {
    const wrong = local.filter((imported) => {
      const folder = folderOf(imported.from)
      const target = folderOf(targetOf(imported))
      // src/index.ts is a public door: it re-exports and belongs to no folder.
      if (folder === target || folder.endsWith(".ts")) return false
      return !(allowed[folder] ?? []).includes(target)
    })
    expect(wrong.map(show)).toEqual([])
  })

  it("keeps every file of the core free of Node, of Effect's runtime and of other packages", () => {
    const wrong = imports.filter(
      ({ from, specifier }) =>
        folderOf(from) === "core" && !specifier.startsWith(".") && !coreEffectModules.has(specifier)
    )
    expect(wrong.map(show)).toEqual([])
  })

  it("keeps clocks and randomness out of the core", () => {
    const wrong = files.filter(
      (file) =>
        folderOf(file) === "core" &&
        /\b(?:Date\.now|new Date\(|Math\.random|setTimeout|setInterval|performance\.now)\b/.test(
          readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")
        )
    )
    expect(wrong).toEqual([])
  })

  it("lets planes see backends through the contract only", () => {
    const wrong = local.filter(
      (imported) =>
        folderOf(imported.from) === "planes" &&
        folderOf(targetOf(imported)) === "backends" &&
        !/\/backends\/(?:ComputeBackend|LaunchError)\.ts$/.test(targetOf(imported))
    )
    expect(wrong.map(show)).toEqual([])
  })

  it("has no cycle", () => {
    const graph = new Map<string, ReadonlyArray<string>>()
    for (const file of files) {
      graph.set(file, local.filter(({ from, typeOnly }) => from === file && !typeOnly).map(targetOf))
    }
    const done = new Set<string>()
    const cycleFrom = (file: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
      const at = path.indexOf(file)
      if (at >= 0) return [...path.slice(at), file]
      if (done.has(file)) return undefined
      for (const next of graph.get(file) ?? []) {
        const cycle = cycleFrom(next, [...path, file])
        if (cycle !== undefined) return cycle
      }
      done.add(file)
      return undefined
    }
    const cycles = files.map((file) => cycleFrom(file, [])).filter((cycle) => cycle !== undefined)
    expect(cycles.map((cycle) => cycle.map((file) => relative(root, file)).join(" → "))).toEqual([])
  })

  it("resolves every local import to a file with its extension", () => {
    const known = new Set(files)
    expect(local.filter((imported) => !known.has(targetOf(imported))).map(show)).toEqual([])
  })
})
