/**
 * An image of the Node that runs Millrace, made from this machine's own files: Node, the libraries it is linked with, a
 * shell, and a user that is not root. Nothing is fetched from anywhere. For Linux with a Node that is linked as usual; on
 * others name an image, such as `node:24-slim`.
 *
 * @module
 */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import type { Asked, DockerClient } from "./DockerClient.ts"
import * as Tar from "./Tar.ts"

/** The user and group in it; the backend's default is the same. */
export const user = "65532:65532"

/** Where Node is in it, and in the PATH that the daemon gives. */
const nodePath = "usr/local/bin/node"

/** Libraries that the dynamic linker would load, and the linker itself. */
const librariesOf = (program: string): ReadonlyArray<string> => {
  const output = execFileSync("ldd", [program], { encoding: "utf8" })
  return [...output.matchAll(/(?:=> |^\s*)(\/[^\s]+) \(0x/gm)].map(([, path = ""]) => path)
}

/** Of the C library, and beside it: native addons are linked with them. */
const besideLibc = [
  "libresolv.so.2",
  "librt.so.1",
  "libutil.so.1",
  "libnss_files.so.2",
  "libnss_dns.so.2",
  "libatomic.so.1"
]

const companionsOf = (libraries: ReadonlyArray<string>): ReadonlyArray<string> => {
  const libc = libraries.find((path) => basename(path) === "libc.so.6")
  return libc === undefined
    ? []
    : besideLibc.map((name) => join(dirname(libc), name)).filter((path) => existsSync(path))
}

const fileEntry = (source: string, path: string): Tar.TarEntry => {
  const real = realpathSync(source)
  return { kind: "file", path, mode: 0o755, source: real, size: statSync(real).size }
}

const folder = (path: string, mode = 0o755): Tar.TarEntry => ({ kind: "folder", path, mode })

const texts: ReadonlyArray<Tar.TarEntry> = [
  ["etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nfunction:x:65532:65532:function:/tmp:/sbin/nologin\n"],
  ["etc/group", "root:x:0:\nfunction:x:65532:\n"],
  ["etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"]
].map(([path = "", content = ""]) => ({ kind: "text", path, mode: 0o644, content }))

const entriesOf = (node: string): ReadonlyArray<Tar.TarEntry> => {
  const linked = librariesOf(node)
  const libraries = [...new Set([...linked, ...librariesOf("/bin/sh"), ...companionsOf(linked)])]
  const files = [
    fileEntry(node, nodePath),
    fileEntry("/bin/sh", "bin/sh"),
    ...libraries.map((path) => fileEntry(path, path.slice(1)))
  ]
  const folders = new Set<string>()
  for (const { path } of [...files, ...texts]) {
    for (let parent = dirname(path); parent !== "."; parent = dirname(parent)) folders.add(parent)
  }
  return [...[...folders].toSorted().map((path) => folder(path)), folder("tmp", 0o1777), ...texts, ...files]
}

/** Changes when one of the files does. */
const tagOf = (node: string, entries: ReadonlyArray<Tar.TarEntry>): string => {
  const hash = createHash("sha256").update(node)
  for (const entry of entries) {
    const facts = entry.kind === "file" ? statSync(entry.source) : undefined
    hash.update(`${entry.path}\0${entry.mode}\0${facts?.size}\0${facts?.mtimeMs}\0`)
  }
  return `millrace-node:${process.versions.node}-${hash.digest("hex").slice(0, 12)}`
}

/** Its name; made when the daemon does not have it. Throws, as a defect, where the machine's own Node cannot be packed. */
export const ensure = (client: DockerClient, node: string = process.execPath): Asked<string> =>
  Effect.suspend(() => {
    const entries = entriesOf(node)
    const name = tagOf(node, entries)
    return Effect.flatMap(client.hasImage(name), (has) =>
      Effect.as(has ? Effect.void : client.importImage(Tar.pack(entries), name), name)
    )
  })
