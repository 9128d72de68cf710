/**
 * Functions that are a folder of this machine, for `millrace dev`: what they need (`FunctionFiles`) as one compressed text
 * that a ConfigMap can hold, and the small program that unpacks it in the Pod, in an image that has Node. Of the SDK only
 * what a worker loads.
 *
 * Laws: B1 the same files give the same name. B2 what is unpacked is what was packed: paths, contents, modes, links. B3
 * what does not fit is refused, and nothing is left out silently.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import { dirname, join, posix, relative, resolve, sep } from "node:path"
import { gzipSync } from "node:zlib"
import type { InstanceSpec } from "../ComputeBackend.ts"
import * as FunctionFiles from "../FunctionFiles.ts"
import { BadSpec } from "../LaunchError.ts"

export interface Bundle {
  /** Of its content. */
  readonly digest: string
  readonly content: Buffer
}

/** A spec as it is inside the Pod, with its bundle. */
export interface Packed {
  readonly spec: InstanceSpec & { readonly image: string; readonly bundle: string }
  readonly bundle: Bundle
}

/** What the server takes as one ConfigMap. */
export const bundleBytesMax = 1024 * 1024
/** Before compression: what a machine holds in memory for it. */
const sourceBytesMax = 32 * 1024 * 1024

/** Where the function's files are inside, below it as here. */
export const root = "/app"
export const key = "function.json.gz"

/** Arguments: the bundle, and where to. Also over what an earlier try has left. CommonJS, any Node. */
export const unpack = `
const fs = require("node:fs"), path = require("node:path"), zlib = require("node:zlib")
const [from, to] = process.argv.slice(1)
for (const { name, mode, target, content } of JSON.parse(zlib.gunzipSync(fs.readFileSync(from)))) {
  const file = path.join(to, name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.rmSync(file, { force: true })
  if (target === undefined) fs.writeFileSync(file, Buffer.from(content, "base64"), { mode })
  else fs.symlinkSync(target, file)
}
`

const specifiers = /\b(?:from|import)\s*\(?\s*["'](\.[^"'\n]+)["']/g

/** The built SDK and what it loads, without the rest of Millrace. */
const sdkFiles = (folder: string): ReadonlySet<string> => {
  const found = new Set<string>([join(folder, "package.json")])
  const scan = (path: string) => {
    if (found.has(path) || statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return
    found.add(path)
    for (const [, specifier = ""] of readFileSync(path, "utf8").matchAll(specifiers)) {
      scan(resolve(dirname(path), specifier))
    }
  }
  scan(join(folder, "dist/worker-sdk/index.js"))
  return found
}

const sdkFolderOf = (packages: ReadonlyArray<FunctionFiles.Item>): string | undefined => {
  const manifest = packages.find(
    ({ path, target }) =>
      target === undefined &&
      path.endsWith(`${sep}package.json`) &&
      /"name": *"millrace"/.test(readFileSync(path, "utf8"))
  )
  return manifest === undefined ? undefined : dirname(manifest.path)
}

const needed = (packages: ReadonlyArray<FunctionFiles.Item>, words: ReadonlyArray<string>) => {
  const folder = sdkFolderOf(packages)
  // A command that is Millrace's own needs all of it.
  if (folder === undefined || words.some((word) => word.startsWith(join(folder, "dist") + sep))) return packages
  const wanted = sdkFiles(folder)
  const nested = `${sep}node_modules${sep}`
  return packages.filter(
    ({ path }) => !path.startsWith(folder + sep) || path.includes(nested, folder.length) || wanted.has(path)
  )
}

interface Kept {
  readonly facts: string
  readonly bundle: Bundle
}

/** Remembers the last bundle of each function, so that a start without a change reads no file. */
export const make = (functionsMax = 256) => {
  const kept = new Map<string, Kept>()

  const bundleOf = (functionId: string, from: string, items: ReadonlyArray<FunctionFiles.Item>): Bundle | number => {
    const facts = items.map(({ path, mode, size, mtimeMs, target }) => [path, mode, size, mtimeMs, target]).join("\n")
    const last = kept.get(functionId)
    if (last?.facts === facts) return last.bundle
    const bytes = items.reduce((sum, { size }) => sum + size, 0)
    if (bytes > sourceBytesMax) return bytes
    const entries = items.map(({ path, mode, target }) => ({
      name: relative(from, path).split(sep).join("/"),
      mode: (mode & 0o111) === 0 ? 0o644 : 0o755,
      ...(target === undefined ? { content: readFileSync(path).toString("base64") } : { target })
    }))
    const content = gzipSync(JSON.stringify(entries), { level: 9 })
    const digest = createHash("sha256").update(JSON.stringify(entries)).digest("hex").slice(0, 32)
    if (content.byteLength > bundleBytesMax) return content.byteLength
    kept.delete(functionId)
    const bundle = { digest, content }
    kept.set(functionId, { facts, bundle })
    for (const oldest of kept.keys()) {
      if (kept.size <= functionsMax) break
      kept.delete(oldest)
    }
    return bundle
  }

  return (spec: InstanceSpec, directory: string, image: string): Packed | BadSpec => {
    const { instanceId } = spec
    const bad = (detail: string) => new BadSpec({ instanceId, field: "workingDirectory", detail })
    try {
      // The image has a Node of its own.
      const outside = spec.command.map((word, index) => (index === 0 && word === process.execPath ? "node" : word))
      const words = outside.map((word) => (/[/\\]/.test(word) ? resolve(directory, word) : word))
      const { root: from, own, packages } = FunctionFiles.collect(directory, outside)
      const items = [...needed(packages, words), ...own].toSorted((a, b) => (a.path < b.path ? -1 : 1))
      const bundle = bundleOf(spec.functionId, from, items)
      if (typeof bundle === "number") {
        return bad(
          `${directory} and its packages are ${bundle} bytes, and ${bundleBytesMax} compressed, ${sourceBytesMax} before ` +
            "that, are the most that are sent: make an image of it, and name that in the version"
        )
      }
      const inside = (path: string) => posix.join(root, ...relative(from, path).split(sep))
      const command = outside.map((word) => (word.startsWith(from + sep) ? inside(word) : word))
      return {
        spec: { ...spec, image, command, workingDirectory: inside(directory), bundle: bundle.digest },
        bundle
      }
    } catch (cause) {
      return bad(cause instanceof Error ? cause.message : String(cause))
    }
  }
}
