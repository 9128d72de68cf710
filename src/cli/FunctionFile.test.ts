import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Result } from "effect"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { deploymentDefaults } from "../planes/control/Domain.ts"
import * as FunctionFile from "./FunctionFile.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-file-"))
  writeFileSync(join(directory, "server.ts"), "")
})
afterEach(() => rmSync(directory, { recursive: true }))

const load = (content: unknown) => {
  writeFileSync(join(directory, "millrace.json"), typeof content === "string" ? content : JSON.stringify(content))
  return Effect.runSync(Effect.result(FunctionFile.load(directory)))
}

describe("millrace.json", () => {
  it("a name and an entry are enough, the rest has defaults", () => {
    const loaded = load({ name: "hello", entry: "./server.ts", deployment: { idleWindowMs: 2_000 } })
    assert.deepStrictEqual(Result.getOrThrow(loaded), {
      path: join(directory, "millrace.json"),
      directory,
      name: "hello",
      entry: join(directory, "server.ts"),
      curl: undefined,
      version: {
        command: ["node", "./server.ts"],
        workingDirectory: directory,
        environment: {},
        durability: "accepted",
        inferencePath: "/"
      },
      deployment: { ...deploymentDefaults, idleWindowMs: 2_000 }
    })
  })

  it("a chart is taken with the text of its manifests, and an image with its health path", () => {
    writeFileSync(join(directory, "rendered.yaml"), "kind: Pod\n")
    const chart = { manifests: "./rendered.yaml", serviceName: "front", servicePort: 80 }
    assert.deepInclude(Result.getOrThrow(load({ name: "a", chart })).version, {
      command: [],
      chart: { ...chart, manifests: "kind: Pod\n" }
    })
    const health = { port: 8000, path: "/health" }
    assert.deepInclude(Result.getOrThrow(load({ name: "a", image: "b:1", health })).version, { image: "b:1", health })
  })

  it.each([
    [
      "a chart beside an image",
      { name: "a", image: "b:1", chart: { url: "u", serviceName: "s", servicePort: 1 } },
      "chart"
    ],
    [
      "manifests that are not there",
      { name: "a", chart: { manifests: "./no.yaml", serviceName: "s", servicePort: 1 } },
      "chart.manifests: the file"
    ],
    ["text that is not JSON", "{ name: 1 }", "it is not JSON"],
    ["neither command nor entry", { name: "a" }, "command or entry"],
    ["both command and entry", { name: "a", entry: "./server.ts", command: ["x"] }, "not both"],
    ["an entry that is not there", { name: "a", entry: "./sever.ts" }, "there is no file"],
    ["an empty command", { name: "a", command: [] }, "command"],
    ["a file for an image", { name: "a", entry: "./a.ts", image: "b:1" }, "image"],
    ["an image that is no name", { name: "a", image: "b 1" }, "image"],
    ["a name with capitals", { name: "Hello", command: ["x"] }, "name: "],
    ["a misspelt field", { name: "a", command: ["x"], durabilty: "always" }, "durabilty"],
    [
      "a misspelt deployment field",
      { name: "a", command: ["x"], deployment: { maxInstance: 1 } },
      "deployment.maxInst"
    ],
    [
      "a minimum above the maximum",
      { name: "a", command: ["x"], deployment: { minInstances: 9 } },
      "deployment.minInst"
    ],
    ["a variable that is no text", { name: "a", command: ["x"], environment: { A: 1 } }, "environment.A"],
    ["a curl line that moves the cursor", { name: "a", command: ["x"], curl: "curl \u001b[2J" }, "curl"],
    ["a list", [], "millrace.json"]
  ])("%s is refused, and the message names the file and the field", (_, content, expected) => {
    const loaded = load(content)
    assert.isTrue(Result.isFailure(loaded))
    if (!Result.isFailure(loaded)) return
    assert.include(loaded.failure.message, join(directory, "millrace.json"))
    assert.include(loaded.failure.message, expected)
  })

  it("a folder without the file says how to make one", () => {
    const loaded = Effect.runSync(Effect.flip(FunctionFile.load(directory)))
    assert.include(loaded.message, "millrace init")
  })
})
