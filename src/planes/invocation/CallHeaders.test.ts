import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as CallHeaders from "./CallHeaders.ts"

const nowMs = 1_700_000_000_000

const parsed = (headers: Record<string, string>) => {
  const value = CallHeaders.parse(headers, [], nowMs)
  if (CallHeaders.isProblem(value)) throw new Error(value.detail)
  return value
}
const refused = (headers: Record<string, string>) => {
  const value = CallHeaders.parse(headers, [], nowMs)
  if (!CallHeaders.isProblem(value)) throw new Error(`accepted ${JSON.stringify(value)}`)
  return value
}

describe("the headers of a call", () => {
  it.each([
    ["30s", 30_000],
    ["1500ms", 1_500],
    ["5m", 300_000],
    ["24h", 86_400_000]
  ])("reads the deadline %s as a time from now", (text, ms) => {
    expect(parsed({ "millrace-deadline": text }).deadlineMs).toBe(nowMs + ms)
  })

  it("reads a deadline as a point in time", () => {
    expect(parsed({ "millrace-deadline": "2023-11-15T12:00:00Z" }).deadlineMs).toBe(Date.UTC(2023, 10, 15, 12))
  })

  it.each([
    "",
    "soon",
    "30",
    "-5s",
    "0s",
    "25h",
    "1e3s",
    "2030-01-31",
    "2030-13-31T12:00:00Z",
    "2030-01-31T12:00:00Z",
    "30s "
  ])("refuses the deadline %j and says what is expected", (text) => {
    const problem = refused({ "millrace-deadline": text })
    expect(problem.status).toBe(400)
    expect(problem.detail).toContain("30s")
    expect(problem.detail).toContain("Nothing was enqueued")
  })

  it.each(["", " ", "a\u0000b", "schlüssel", "x".repeat(256), "a\tb"])("refuses the idempotency key %j", (key) => {
    expect(refused({ "idempotency-key": key }).status).toBe(400)
  })

  it.each(["a", "8e03978e-40d5-43e8-bc93-6894a57f9324", '"quoted"', "x".repeat(255), "a b"])(
    "takes the idempotency key %j",
    (key) => {
      expect(parsed({ "idempotency-key": key }).idempotencyKey).toBe(key)
    }
  )

  it("refuses two idempotency keys, and takes one that only looks like two", () => {
    const two = ["Idempotency-Key", "a", "idempotency-key", "b"]
    expect(CallHeaders.parse({ "idempotency-key": "a, b" }, two, nowMs)).toMatchObject({ status: 400 })
    const one = ["Idempotency-Key", "a, b"]
    expect(CallHeaders.parse({ "idempotency-key": "a, b" }, one, nowMs)).toMatchObject({ idempotencyKey: "a, b" })
  })

  it("answers at once for respond-async, and after the wait for respond-async with wait", () => {
    expect(parsed({ prefer: "respond-async" })).toMatchObject({ respondAsync: true, waitMs: undefined })
    expect(parsed({ prefer: "respond-async, wait=10" })).toMatchObject({ respondAsync: false, waitMs: 10_000 })
    expect(parsed({ prefer: "wait=10" })).toMatchObject({ respondAsync: false, waitMs: undefined })
    expect(parsed({ prefer: "return=minimal" })).toMatchObject({ respondAsync: false })
  })

  it("refuses asset references with 501 and a sentence", () => {
    const problem = refused({ "nvcf-input-asset-references": "x" })
    expect(problem.status).toBe(501)
    expect(problem.detail).toContain("not served")
  })

  it.each([
    ["0", 1_000],
    ["1", 1_000],
    ["3600", 3_600_000]
  ])("reads NVCF-POLL-SECONDS %s", (text, ms) => {
    expect(CallHeaders.parsePollMs({ "nvcf-poll-seconds": text }, true)).toBe(ms)
  })

  it.each(["3601", "-1", "1.5", "x", ""])("refuses NVCF-POLL-SECONDS %j as NVCF does", (text) => {
    expect(CallHeaders.parsePollMs({ "nvcf-poll-seconds": text }, true)).toMatchObject({
      status: 400,
      detail: expect.stringMatching(/^failed to parse poll duration: .*0 to 3600/)
    })
  })

  it("waits 20 minutes by default when exactly an event stream is accepted, else 60 s", () => {
    expect(CallHeaders.parsePollMs({ accept: "text/event-stream" }, true)).toBe(1_200_000)
    expect(CallHeaders.parsePollMs({ accept: "text/event-stream, */*" }, true)).toBe(60_000)
    expect(CallHeaders.parsePollMs({ accept: "text/event-stream" }, false)).toBe(60_000)
  })

  it("forwards repeated headers in order, and nothing hop-by-hop or named by Connection", () => {
    const raw = ["Accept", "a", "X-Twice", "1", "TE", "trailers", "X-Drop", "y", "x-twice", "2", "Upgrade", "h2c"]
    expect(CallHeaders.forwarded(raw, "x-drop, Upgrade")).toEqual([
      ["accept", "a"],
      ["x-twice", "1"],
      ["x-twice", "2"]
    ])
  })

  it("never throws, whatever the headers hold", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), fc.string(), (a, b, c, d) => {
        CallHeaders.parse(
          { prefer: a, "idempotency-key": b, "millrace-deadline": c, "millrace-on-disconnect": d },
          ["Idempotency-Key", b],
          nowMs
        )
      })
    )
  })
})
