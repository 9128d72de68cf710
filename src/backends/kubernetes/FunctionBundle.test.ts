import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { spec } from "../../../tests/backends/kubernetes/objects.ts"
import * as FunctionBundle from "./FunctionBundle.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mr-bundle-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (path: string, content: string | Buffer = "") => {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
}

const { image: _image, ...plain } = spec({ command: ["node", "./server.ts"] })

const pack = (command = plain.command, make = FunctionBundle.make()) => {
  const packed = make({ ...plain, command }, join(folder, "f"), "node:24")
  if (!("spec" in packed)) throw packed
  return packed
}

/** As the init container does it. */
const unpack = (content: Buffer) => {
  const to = join(folder, "unpacked")
  const from = join(folder, "bundle.gz")
  writeFileSync(from, content)
  const { status, stderr } = spawnSync(process.execPath, ["-e", FunctionBundle.unpack, from, to], { encoding: "utf8" })
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" })
  return to
}

const treeOf = (path: string): ReadonlyArray<string> =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    // It follows links, too.
    .filter((entry) => !entry.isDirectory() && !lstatSync(entry.parentPath).isSymbolicLink())
    .map((entry) => {
      const file = join(entry.parentPath, entry.name)
      const what = entry.isSymbolicLink() ? `-> ${readlinkSync(file)}` : readFileSync(file, "utf8")
      return `${relative(path, file)} ${(lstatSync(file).mode & 0o111) === 0 ? "" : "x "}${what}`
    })
    .toSorted()

describe("the bundle of a function", () => {
  it("B2: unpacked, also twice, it is what was packed: paths, contents, modes and links", () => {
    write("f/server.ts", `import "one"\nimport "../shared/x.ts"`)
    write("f/start.sh", "#!/bin/sh")
    chmodSync(join(folder, "f/start.sh"), 0o700)
    write("shared/x.ts", "x")
    write("store/one/index.js", "one")
    mkdirSync(join(folder, "f/node_modules"))
    symlinkSync("../../store/one", join(folder, "f/node_modules/one"))
    const { bundle, spec: inside } = pack()
    unpack(bundle.content)
    expect(treeOf(unpack(bundle.content))).toEqual([
      "f/node_modules/one x -> ../../store/one",
      'f/server.ts import "one"\nimport "../shared/x.ts"',
      "f/start.sh x #!/bin/sh",
      "shared/x.ts x",
      "store/one/index.js one"
    ])
    expect(inside).toMatchObject({
      image: "node:24",
      workingDirectory: "/app/f",
      command: ["node", "./server.ts"],
      bundle: bundle.digest
    })
  })

  it("B1: its name follows from the content alone, and a change makes another", () => {
    write("f/server.ts", "1")
    const first = pack().bundle
    utimesSync(join(folder, "f/server.ts"), 1, 1)
    expect(pack().bundle.digest).toBe(first.digest)
    write("f/server.ts", "2")
    expect(pack().bundle.digest).not.toBe(first.digest)
  })

  it("is made once for files that did not change", () => {
    write("f/server.ts", "1")
    const make = FunctionBundle.make()
    expect(pack(plain.command, make).bundle).toBe(pack(plain.command, make).bundle)
    write("f/server.ts", "22")
    expect(pack(plain.command, make).bundle.digest).toBe(pack().bundle.digest)
  })

  it("paths of this machine in the command become those inside; its Node becomes the image's", () => {
    write("f/server.ts", "")
    const { spec: inside } = pack([process.execPath, join(folder, "f/server.ts"), "--flag"])
    expect(inside.command).toEqual(["node", "/app/server.ts", "--flag"])
  })

  it("holds of the SDK what a worker loads, and no more, unless the command is Millrace's own", () => {
    write("f/server.ts", `import "millrace/worker"`)
    write("f/node_modules/millrace/package.json", `{ "name": "millrace" }`)
    write("f/node_modules/millrace/dist/worker-sdk/index.js", `import { x } from "./Worker.js"`)
    write("f/node_modules/millrace/dist/worker-sdk/Worker.js", `await import("../core/small.js")`)
    write("f/node_modules/millrace/dist/core/small.js")
    write("f/node_modules/millrace/dist/planes/large.js")
    const names = (command?: ReadonlyArray<string>) =>
      treeOf(unpack(pack(command).bundle.content)).map((line) => line.split(" ")[0])
    expect(names()).toEqual([
      "node_modules/millrace/dist/core/small.js",
      "node_modules/millrace/dist/worker-sdk/Worker.js",
      "node_modules/millrace/dist/worker-sdk/index.js",
      "node_modules/millrace/package.json",
      "server.ts"
    ])
    write("f/node_modules/millrace/dist/cli/main.js")
    expect(names(["node", "node_modules/millrace/dist/cli/main.js"])).toContain(
      "node_modules/millrace/dist/planes/large.js"
    )
  })

  it("B3: what is too large for a ConfigMap is refused, with what to do", () => {
    write("f/server.ts", "")
    write("f/weights.bin", randomBytes(FunctionBundle.bundleBytesMax + 1))
    expect(() => pack()).toThrow(/1048576 compressed.*make an image/)
    write("f/weights.bin", Buffer.alloc(40 * 1024 * 1024))
    expect(() => pack()).toThrow(/make an image/)
    expect(() => pack(["node", "x"], FunctionBundle.make())).toThrow()
  })

  it("a folder that cannot be read is the spec's mistake, named", () => {
    expect(() => pack()).toThrow(/working ?directory.*ENOENT/i)
  })
})
