/**
 * Throws the corpus of bodies (and a few queries) at the control API: each is refused with the place that is wrong, and
 * what is stored stays as it was. One JSON object a line in `control/bodies.jsonl`: `is` says what is wrong, `FILL` in
 * the body stands for `fill[0]` repeated, `latin1` for bytes that are no text.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { type Answer, call } from "../platform/support/Client.ts"
import { givenGround, settled, worksAsEver } from "./support/Ground.ts"
import { problemOf } from "./support/Problem.ts"

interface Row {
  readonly is: string
  /** Method and path; VERSION stands for a version that is deployed. */
  readonly route: string
  readonly body: string
  readonly fill?: readonly [string, number]
  readonly latin1?: true
  readonly contentType?: string
  readonly status: number
  /** The first thing that is wrong. */
  readonly pointer?: string
}

const rows = readFileSync(join(import.meta.dirname, "control/bodies.jsonl"), "utf8")
  .trim()
  .split("\n")
  // Every line is written by hand in this shape.
  .map((line) => JSON.parse(line) as Row)

const ground = givenGround()

const send = (route: string, body: Buffer | undefined, contentType = "application/json"): Promise<Answer> => {
  const { test, fn } = ground()
  const token = readFileSync(join(test.stateDirectory, "admin-token"), "utf8").trim()
  const [method = "", path = ""] = route.replace("VERSION", fn.versionId).split(" ")
  return call(`${test.platform.controlUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(contentType === "" ? {} : { "content-type": contentType })
    },
    ...(body === undefined ? {} : { body })
  })
}

/** Everything that this API can change. */
const stored = async (): Promise<ReadonlyArray<string>> => {
  const answers: Array<string> = []
  for (const path of ["/v1/functions", "/v1/functions/corpus/versions", "/v1/versions/VERSION/deployment"]) {
    const json = (await send(`GET ${path}`, undefined)).json()
    answers.push(JSON.stringify([json["items"], json["spec"], json["generation"]]))
  }
  return answers
}

describe("a body for the control API", () => {
  it.each(rows)("that is or has $is ($route): $status", async (row) => {
    const text = row.fill === undefined ? row.body : row.body.replace("FILL", row.fill[0].repeat(row.fill[1]))
    const bytes = Buffer.from(text, row.latin1 === true ? "latin1" : "utf8")
    const before = await stored()
    const answer = await send(row.route, row.route.startsWith("GET") ? undefined : bytes, row.contentType)
    const headers = { "content-type": String(answer.headers["content-type"]) }
    expect(answer.status, answer.text).toBe(row.status)
    problemOf({ status: answer.status, headers, body: answer.text })
    if (row.pointer !== undefined) {
      const errors = answer.json()["errors"] as ReadonlyArray<{ in: string; pointer: string; detail: string }>
      expect(errors[0]).toMatchObject({ in: "body", pointer: row.pointer })
      expect(errors[0]?.detail.length).toBeGreaterThan(10)
    }
    expect(await stored()).toEqual(before)
  })

  afterAll(async () => {
    await worksAsEver(ground())
    await settled(ground().test)
  })
})

it("has at least a hundred cases, each of its own", () => {
  expect(rows.length).toBeGreaterThanOrEqual(100)
  expect(new Set(rows.map(({ is, route }) => `${is} ${route}`)).size).toBe(rows.length)
})
