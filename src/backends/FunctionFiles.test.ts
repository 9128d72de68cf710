import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { collect } from "./FunctionFiles.ts"

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "mr-files-"))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const write = (path: string, content: string | object = "") => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), typeof content === "string" ? content : JSON.stringify(content))
}
const found = (words: ReadonlyArray<string> = ["node", "./server.ts"]) => {
  const collected = collect(join(root, "f"), words)
  const names = (items: typeof collected.own) => items.map(({ path }) => relative(root, path)).toSorted()
  return { own: names(collected.own), packages: names(collected.packages), root: collected.root, collected }
}

describe("what a function needs", () => {
  it("is its folder, what it imports beside it, and the packages that are named, with theirs", () => {
    write("package.json", { name: "site", devDependencies: { unused: "1" } })
    write(
      "f/server.ts",
      `import { a } from "one"\nimport x from "../shared/x.ts"\nconst two = await import("@s/two/deep")`
    )
    write("f/server.test.ts", `import "unused"`)
    write("f/.env", "SECRET=1")
    write("shared/x.ts", `import "three"`)
    write("node_modules/one/package.json", { name: "one", dependencies: { inner: "1" } })
    write("node_modules/one/node_modules/inner/index.js")
    write("node_modules/@s/two/deep.js")
    write("node_modules/three/index.js")
    write("node_modules/unused/index.js")
    const { own, packages, root: common } = found()
    expect(own).toEqual(["f/server.test.ts", "f/server.ts", "shared/x.ts"])
    expect(packages).toEqual([
      "node_modules/@s/two/deep.js",
      "node_modules/one/node_modules/inner/index.js",
      "node_modules/one/package.json",
      "node_modules/three/index.js",
      "package.json"
    ])
    expect(common).toBe(root)
  })

  it("packages in a folder of modules that is a link are found through it, wherever all of it stands", () => {
    write("f/server.ts", `import "one"`)
    write("store/node_modules/one/index.js")
    symlinkSync(join(root, "store/node_modules"), join(root, "f/node_modules"))
    const { packages, collected } = found()
    expect(packages).toEqual(["f/node_modules", "store/node_modules/one/index.js"])
    expect(collected.packages.find(({ path }) => path.endsWith("f/node_modules"))?.target).toBe("../store/node_modules")
  })

  it("ends when function and packages have nothing in common but the root", () => {
    write("packages/one/index.js")
    mkdirSync(join(root, "f/node_modules"), { recursive: true })
    // On another file system, such as one in memory, it has another first folder.
    const elsewhere = mkdtempSync("/dev/shm/mr-files-")
    try {
      writeFileSync(join(elsewhere, "index.js"), "")
      symlinkSync(elsewhere, join(root, "f/node_modules/one"))
      write("f/server.ts", `import "one"`)
      expect(found().root).toBe("/")
    } finally {
      rmSync(elsewhere, { recursive: true, force: true })
    }
  }, 5_000)

  it("is, of the package that it lives in, what is published", () => {
    write("package.json", { name: "kit", exports: "./dist/index.js", files: ["dist"], dependencies: { dep: "1" } })
    write("dist/index.js")
    write("src/secret.ts")
    write("node_modules/dep/index.js")
    write("f/server.ts", `import "kit"`)
    expect(found().packages).toEqual(["dist/index.js", "node_modules/dep/index.js", "package.json"])
  })

  it("follows a linked package to where it is, and names the places that must be seen", () => {
    write("store/one/index.js")
    mkdirSync(join(root, "node_modules"))
    symlinkSync("../store/one", join(root, "node_modules/one"))
    write("f/server.ts", `import "one"`)
    const { packages, collected } = found()
    expect(packages).toEqual(["node_modules/one", "store/one/index.js"])
    expect(collected.places.map((path) => relative(root, path)).toSorted()).toEqual([
      "f",
      "node_modules/one",
      "store/one"
    ])
  })

  it("takes the package of a program outside its folder", () => {
    write("package.json", { name: "tool", exports: "./x", files: ["bin"] })
    write("bin/run.js")
    write("f/start.sh")
    expect(found(["node", "../bin/run.js", "sh", "start.sh"])).toMatchObject({
      own: ["f/start.sh"],
      packages: ["bin/run.js", "package.json"]
    })
  })
})
