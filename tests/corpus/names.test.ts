/**
 * Throws the corpus of names at everything that takes one: the control API (in bodies and in paths), the gateway, the
 * file `millrace.json` and the command line. Each is refused with its reason before anything is stored.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { CommandFailed, type Input } from "../../src/cli/Command.ts"
import * as Functions from "../../src/cli/commands/functions.ts"
import * as FunctionFile from "../../src/cli/FunctionFile.ts"
import { type Answer, call } from "../platform/support/Client.ts"
import { badNames, goodNames } from "./names/names.ts"
import { givenGround, settled, worksAsEver } from "./support/Ground.ts"
import { problemOf } from "./support/Problem.ts"

const ground = givenGround()

const asRaw = ({ status, headers, text }: Answer) => ({
  status,
  headers: { "content-type": String(headers["content-type"]) },
  body: text
})

const control = (method: string, path: string, body?: unknown) => {
  const { platform, stateDirectory } = ground().test
  const token = readFileSync(join(stateDirectory, "admin-token"), "utf8").trim()
  return call(`${platform.controlUrl}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
}

const functionCount = async () => (await control("GET", "/v1/functions")).json()["items"]

/** Half a surrogate pair cannot be in a URL. */
const encoded = (name: string) => encodeURIComponent(name.toWellFormed())

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-names-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(badNames)("$is", ({ name, isLabel = false }) => {
  it("is no name of a function in a body, and the reason points at it", async () => {
    const before = await functionCount()
    const answer = await control("POST", "/v1/functions", { name })
    expect(problemOf(asRaw(answer)).kind).toBe("request-not-valid")
    expect(answer.status).toBe(400)
    const errors = [{ in: "body", pointer: "/name", detail: expect.stringContaining("1 to 63 of a-z") }]
    expect(answer.json()["errors"]).toMatchObject(errors)
    expect(await functionCount()).toEqual(before)
  })

  it("is no instance type, kind of GPU or cluster unless it is harmless in a subject", async () => {
    const path = `/v1/versions/${ground().fn.versionId}/deployment`
    const before = (await control("GET", path)).json()["spec"]
    const wrong = [
      [{ clusters: [name] }, "/clusters/0", /^[A-Za-z0-9_-]*$/.test(name)],
      [{ instanceType: name }, "/instanceType", isLabel],
      [{ gpu: { kind: name, count: 0 } }, "/gpu/kind", isLabel]
    ] as const
    for (const [body, pointer, isHarmless] of wrong) {
      if (isHarmless && isLabel) continue
      const answer = await control("PUT", path, body)
      expect([answer.status, problemOf(asRaw(answer)).kind]).toEqual([400, "request-not-valid"])
      expect(answer.json()["errors"]).toMatchObject([
        { in: "body", pointer, detail: expect.stringContaining("1 to 63 of A-Z") }
      ])
    }
    expect((await control("GET", path)).json()["spec"]).toEqual(before)
  })

  it("finds nothing as a part of a path of the control API", async () => {
    for (const path of ["functions", "versions", "instances", "requests", "dead-letters"]) {
      const answer = await control("GET", `/v1/${path}/${encoded(name)}`)
      // Without a name it is the list; a path that is too long has a status of its own.
      if (name === "" || name === "." || name === "..") expect([200, 404]).toContain(answer.status)
      else expect([400, 404, 414]).toContain(answer.status)
      if (answer.status >= 400) problemOf(asRaw(answer))
    }
    const forced = await control("DELETE", `/v1/functions/${encoded(name)}?force=true`)
    expect([400, 404, 405, 414]).toContain(forced.status)
  })

  it("is no function to the gateway", async () => {
    const before = await settled(ground().test)
    const answer = await call(`${ground().test.platform.gatewayUrl}/f/${encoded(name)}/inspect`, { body: "x" })
    expect([404, 414]).toContain(answer.status)
    problemOf(asRaw(answer))
    expect(await settled(ground().test)).toEqual(before)
  })

  it("is refused by the file of a function and by the command line, in words for a terminal", async () => {
    writeFileSync(join(folder, FunctionFile.fileName), JSON.stringify({ name, command: ["node"] }))
    const wrong = await Effect.runPromise(Effect.flip(FunctionFile.load(folder)))
    expect(wrong.issues.join()).toMatch(/^name: /)
    const { stateDirectory } = ground().test
    const input: Input = { values: { state: stateDirectory }, positionals: ["show", name.toWellFormed()], rest: [] }
    const failed = await Functions.run(input).then(
      () => undefined,
      (error: unknown) => error
    )
    expect(failed).toBeInstanceOf(CommandFailed)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    expect(String(failed)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
  })
})

describe("after all that", () => {
  it("odd names that are good are taken, and the next call is as good as the first", async () => {
    for (const name of goodNames) {
      expect((await control("POST", "/v1/functions", { name })).status).toBe(201)
      expect((await control("GET", `/v1/functions/${name}`)).json()["name"]).toBe(name)
      // It has no version: known to the control API, unknown to callers.
      expect((await call(`${ground().test.platform.gatewayUrl}/f/${name}/`)).status).toBe(404)
    }
    await worksAsEver(ground())
    expect(badNames.length).toBeGreaterThanOrEqual(100)
    expect(new Set(badNames.map(({ name }) => name)).size).toBe(badNames.length)
  })
})
