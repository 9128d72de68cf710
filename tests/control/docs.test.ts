import { readFileSync } from "node:fs"
import { Effect, Result } from "effect"
import { OpenApi } from "effect/http-api"
import { assert, describe, it } from "vitest"
import { commands } from "../../src/cli/Commands.ts"
import { ControlApi } from "../../src/planes/control/ControlApi.ts"
import { deploymentDefaults } from "../../src/planes/control/Domain.ts"
import * as Problem from "../../src/planes/control/Problem.ts"

const read = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8")

describe("docs/control-api.md", () => {
  const text = read("control-api.md")

  it("lists exactly the routes that there are", () => {
    const documented = [...text.matchAll(/^\| `([A-Z]+) (\/\S*)`/gm)].map(([, method, path]) => `${method} ${path}`)
    const served = Object.entries(OpenApi.fromApi(ControlApi).paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`)
    )
    assert.sameMembers(documented, [...served, "GET /healthz"])
  })

  it("lists every failure with its status", () => {
    for (const [tag, { status }] of Object.entries({ ...Problem.controlErrors, ...Problem.serverErrors })) {
      const name = Problem.typeOf(tag).replace("urn:millrace:problem:", "")
      const row = text.split("\n").find((line) => line.startsWith("|") && line.includes(`\`${name}\``))
      assert.include(row ?? `no row for ${name}`, `| ${status}`)
    }
  })

  it("lists every member of a deployment", () => {
    for (const member of Object.keys(deploymentDefaults)) assert.include(text, `\`${member}\``)
    assert.include(text, `| ${deploymentDefaults.requestTimeoutMs} |`)
    assert.include(text, `| ${deploymentDefaults.bodyBytesMax} |`)
  })
})

describe("docs/cli.md", () => {
  const text = read("cli.md")

  it("lists every command", () => {
    const documented = [...text.matchAll(/^\| `millrace ([a-z-]+)/gm)].map(([, name]) => name)
    assert.sameMembers(
      documented,
      commands.map(({ name }) => name)
    )
  })

  it("shows a millrace.json that is valid", async () => {
    const FunctionFile = await import("../../src/cli/FunctionFile.ts")
    const { mkdtempSync, rmSync, writeFileSync } = await import("node:fs")
    const { tmpdir } = await import("node:os")
    const { join } = await import("node:path")
    const directory = mkdtempSync(join(tmpdir(), "millrace-docs-"))
    writeFileSync(join(directory, "server.ts"), "")
    const examples = [...text.matchAll(/^```json\n(.*?)^```/gms)].map(([, json]) => json ?? "")
    assert.strictEqual(examples.length, 2)
    for (const json of examples) {
      writeFileSync(join(directory, "millrace.json"), json)
      const loaded = Effect.runSync(Effect.result(FunctionFile.load(directory)))
      assert.isTrue(Result.isSuccess(loaded), Result.isFailure(loaded) ? loaded.failure.message : "")
    }
    rmSync(directory, { recursive: true })
  })
})
