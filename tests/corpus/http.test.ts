/**
 * Throws the HTTP corpus at the gateway: the statuses are as the RFCs say, a refusal says what to change and closes what
 * it cannot trust, nothing of it is enqueued, and a request hidden in another one never runs.
 */
import { afterAll, describe, expect, it } from "vitest"
import type { TestPlatform } from "../support/TestPlatform.ts"
import { chunks } from "./http/chunks.ts"
import type { HttpCase } from "./http/HttpCase.ts"
import { lengths } from "./http/lengths.ts"
import { lines } from "./http/lines.ts"
import { targets } from "./http/targets.ts"
import { exchange, healthSentinel, type RawAnswer } from "./support/Exchange.ts"
import { givenGround, settled, traces, worksAsEver } from "./support/Ground.ts"
import { problemOf } from "./support/Problem.ts"

const ground = givenGround()

const groups = { lengths, chunks, lines, targets }

const looksAt = (answer: RawAnswer | undefined, sees: NonNullable<HttpCase["sees"]>) => {
  const seen = JSON.parse(answer?.body ?? "{}") as { url: string; body: string; headers: Array<[string, string]> }
  if (sees.url !== undefined) expect(seen.url.replace(/^https?:\/\/[^/]*/, "")).toBe(sees.url)
  if (sees.body !== undefined) expect(seen.body).toBe(sees.body)
  const headers = Object.fromEntries(seen.headers)
  expect(headers).toMatchObject(sees.headers ?? {})
  for (const name of sees.without ?? []) expect(Object.keys(headers)).not.toContain(name)
}

describe.each(Object.entries(groups))("%s", (_, cases) => {
  it.each(cases)("$name: $statuses", async ({ bytes, statuses, isEnded = false, sees }) => {
    const { test } = ground()
    const before = await settled(test)
    const hiddenBefore = hiddenRan(test)
    const seen = await exchange(test.platform.gatewayUrl, bytes, {
      count: statuses.length,
      isEnded,
      sentinel: healthSentinel
    })
    const { answers } = seen
    expect(seen.rest).toBe("")
    const said = seen.isClosed ? answers : answers.slice(0, -1)
    expect(said.map(({ status }) => status)).toEqual(statuses)
    if (!seen.isClosed) expect(answers.at(-1)?.body).toBe('{"status":"OK"}\n')
    for (const answer of said) if (answer.status >= 400) problemOf(answer)
    // Nobody knows where the next request of such a connection begins.
    const last = said.at(-1)
    if (last !== undefined && [400, 413, 431, 501, 505].includes(last.status) && isParsersWord(last)) {
      expect([last.headers["connection"], seen.isClosed]).toEqual(["close", true])
    }
    if (sees !== undefined)
      looksAt(
        said.find(({ status }) => status === 200),
        sees
      )
    const called = said.filter(({ status, headers }) => status === 200 && headers["nvcf-reqid"] !== undefined).length
    const after = await settled(test)
    if (called === 0) expect(after).toEqual(before)
    else expect(after.requests - before.requests).toBe(called)
    expect(hiddenRan(test)).toBe(hiddenBefore)
  })

  afterAll(() => worksAsEver(ground()))
})

/** How often a request that was hidden in another one was taken for one. */
const hiddenRan = ({ platform }: TestPlatform): number =>
  platform.directory.list({ limit: 1000 }).filter(({ path }) => path === "/hidden").length

const isParsersWord = ({ body }: RawAnswer) => body.includes("urn:millrace:problem:bad-http")

it("has at least eighty cases, each with its own name", () => {
  const names = Object.values(groups).flatMap((cases) => cases.map(({ name }) => name))
  expect(names.length).toBeGreaterThanOrEqual(80)
  expect(new Set(names).size).toBe(names.length)
  expect(traces(ground().test).pending).toBe(0)
})
