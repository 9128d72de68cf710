/**
 * Which files of this machine a function needs to run elsewhere: its folder, what it imports from beside its folder, and
 * the packages that it names, with the packages that those name. Found by reading, not by running: nothing of the function
 * is executed here.
 *
 * The layout is kept, so that Node finds each package where it would find it here. Folders and files that begin with a dot
 * stay behind, and so do packages that nothing names.
 *
 * @module
 */
import { type Dirent, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs"
import { isBuiltin } from "node:module"
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path"

export interface Item {
  /** Absolute, on this machine. */
  readonly path: string
  readonly mode: number
  readonly size: number
  readonly mtimeMs: number
  /** Of a symbolic link. */
  readonly target: string | undefined
}

export interface Collected {
  /** The folder that holds all of them. */
  readonly root: string
  readonly own: ReadonlyArray<Item>
  readonly packages: ReadonlyArray<Item>
  /** The function's folder, the folders of its packages, and single files beside: whoever sees these sees all. */
  readonly places: ReadonlyArray<string>
}

export const filesMax = 50_000
export const bytesMax = 1024 * 1024 * 1024

/** The folder needs more than can be sent. */
export class TooMuch extends Error {}

/** Loads none of its own dependencies in a worker that connects over WebSocket. */
const sdkPackage = "millrace"

const isSource = (path: string): boolean => /\.[cm]?[jt]sx?$/.test(path)
/** `from "x"`, `import "x"`, `import("x")` and `require("x")`. */
const specifiers = /\b(?:from|import|require)\s*\(?\s*["']([^"'\n]+)["']/g

const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true
const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** The file that this import means, with the endings that CommonJS leaves out. */
const sourceAt = (path: string): string | undefined =>
  ["", ".js", ".ts", ".cjs", ".json", "/index.js", "/index.ts"].map((end) => path + end).find(isFile)

interface Manifest {
  readonly name?: string
  readonly exports?: unknown
  readonly files?: ReadonlyArray<string>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

/** Of a package as it was published or installed; what cannot be read names nothing. */
const manifestOf = (folder: string): Manifest | undefined => {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  } catch {
    return undefined
  }
}

function* ancestorsOf(folder: string): Generator<string> {
  for (let each = folder; ; each = dirname(each)) {
    yield each
    if (dirname(each) === each) return
  }
}

/** Of a package: from where it is, since all packages may stand below another root. A function's own means what it says. */
const linkTargetOf = (link: string, isOfPackage: boolean): string => {
  const target = readlinkSync(link)
  return isOfPackage && isAbsolute(target) ? relative(dirname(link), target) : target
}

/** A package's folder, its scope's and `node_modules`, as far as they are links. */
function* linksOf(folder: string): Generator<string> {
  for (const each of ancestorsOf(folder)) {
    if (lstatSync(each).isSymbolicLink()) yield each
    if (basename(each) === "node_modules") return
  }
}

const packageNameOf = (specifier: string): string => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")

/**
 * Throws `TooMuch`, and what the system says of a folder that cannot be read. `commandWords`: of the command. `places`: looks
 * for those alone, which is faster, and leaves `packages` empty.
 */
export const collect = (
  directory: string,
  commandWords: ReadonlyArray<string>,
  look: "files" | "places" = "files"
): Collected => {
  const places = new Set<string>([directory])
  const own = new Map<string, Item>()
  const packages = new Map<string, Item>()
  const seenPackages = new Set<string>()
  const scanned = new Set<string>()
  let bytes = 0

  const add = (path: string, into: Map<string, Item>) => {
    if (own.has(path) || packages.has(path)) return
    const facts = lstatSync(path)
    const target = facts.isSymbolicLink() ? linkTargetOf(path, into === packages) : undefined
    const size = target === undefined ? facts.size : 0
    into.set(path, { path, mode: facts.mode, size, mtimeMs: facts.mtimeMs, target })
    bytes += size
    if (own.size + packages.size > filesMax || bytes > bytesMax) {
      throw new TooMuch(
        `${directory} and its packages are more than ${filesMax} files or ${bytesMax >> 20} MiB: make an image of it`
      )
    }
  }

  const walk = (folder: string, into: Map<string, Item>, skip: (entry: Dirent) => boolean) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (skip(entry)) continue
      const path = join(folder, entry.name)
      if (entry.isDirectory()) walk(path, into, skip)
      else if (entry.isFile() || entry.isSymbolicLink()) add(path, into)
    }
  }

  const addPlace = (path: string) => {
    places.add(path)
    if (look === "places") return
    if (lstatSync(path).isDirectory()) walk(path, packages, ({ name }) => name === "node_modules" || name === ".git")
    else add(path, packages)
  }

  const addPackage = (folder: string, fromInside: boolean) => {
    const key = `${folder}\0${fromInside}`
    if (seenPackages.has(key)) return
    seenPackages.add(key)
    const real = realpathSync(folder)
    if (real !== folder) {
      for (const link of linksOf(folder)) addPlace(link)
      return addPackage(real, fromInside)
    }
    const manifest = manifestOf(folder)
    // The function lives in this package: what of it is published is what others would get.
    const published = ["package.json", ...(manifest?.files ?? [])].map((name) => resolve(folder, name))
    for (const path of fromInside ? published.filter((path) => isFolder(path) || isFile(path)) : [folder])
      addPlace(path)
    if (manifest?.name === sdkPackage) return
    const { dependencies, optionalDependencies, peerDependencies } = manifest ?? {}
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }))
      find(name, folder)
  }

  /** As Node looks for it: the package that holds the importer, then `node_modules` of each folder above. */
  const find = (name: string, from: string) => {
    const scope = [...ancestorsOf(from)].find((folder) => isFile(join(folder, "package.json")))
    const manifest = scope === undefined ? undefined : manifestOf(scope)
    if (scope !== undefined && manifest?.name === name && manifest.exports !== undefined) return addPackage(scope, true)
    for (const folder of ancestorsOf(from)) {
      const path = join(folder, "node_modules", name)
      if (isFolder(path)) return addPackage(path, false)
    }
  }

  const scan = (path: string) => {
    if (scanned.has(path) || !isSource(path)) return
    scanned.add(path)
    for (const [, specifier = ""] of readFileSync(path, "utf8").matchAll(specifiers)) {
      if (isBuiltin(specifier) || specifier.startsWith("#")) continue
      if (!specifier.startsWith(".")) {
        if (!specifier.startsWith("/")) find(packageNameOf(specifier), dirname(path))
        continue
      }
      const target = sourceAt(resolve(dirname(path), specifier))
      if (target === undefined) continue
      if (!within(target, directory)) places.add(target)
      add(target, own)
      scan(target)
    }
  }

  walk(directory, own, ({ name }) => name === "node_modules" || name.startsWith(".") || name.endsWith("~"))
  // What it begins with and what that imports; tests beside it import more than it needs.
  const entries = commandWords.map((word) => resolve(directory, word)).filter((path) => own.has(path) && isSource(path))
  const others = [...own.keys()].filter((path) => !/\.test\.[^.]+$/.test(path))
  for (const path of entries.length > 0 ? entries : others) scan(path)
  for (const word of commandWords) {
    const path = resolve(directory, word)
    if (!/[/\\]/.test(word) || within(path, directory) || !isFile(path)) continue
    const home = [...ancestorsOf(dirname(path))].find((folder) => isFile(join(folder, "package.json")))
    if (home === undefined) {
      places.add(path)
      add(path, own)
    } else addPackage(home, within(directory, home))
  }
  for (const folder of ancestorsOf(directory)) {
    // Says whether `.js` means modules.
    const manifest = join(folder, "package.json")
    if (isFile(manifest)) {
      addPlace(manifest)
      break
    }
  }
  let root = directory
  for (const path of [...own.keys(), ...packages.keys()]) while (!within(path, root)) root = dirname(root)
  return { root, own: [...own.values()], packages: [...packages.values()], places: [...places] }
}
