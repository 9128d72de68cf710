import { expect, it } from "vitest"
import { AnswerCache } from "./AnswerCache.ts"
import { Entry } from "./Entry.ts"

const answered = (sequence: number, bytes: number, answerPosition: number | undefined): Entry => {
  const entry = new Entry({
    arrived: {
      _tag: "Arrived",
      nowMs: 0,
      sequence,
      requestId: `request-${sequence}`,
      tenant: "t",
      version: "v",
      mode: "async",
      durability: "accepted",
      deadlineMs: 1,
      sizeBytes: 0,
      maxAttempts: 1
    },
    functionId: "f",
    functionName: "fn",
    receivedMs: 0,
    head: { method: "GET", path: "/", headers: [] },
    body: { kind: "inline", bytes: new Uint8Array(0) },
    caller: undefined
  })
  entry.answer = { status: 200, headers: [], body: { kind: "inline", bytes: new Uint8Array(bytes) } }
  if (answerPosition !== undefined) entry.answerPosition = answerPosition
  return entry
}

it("keeps the latest answers within its bound, and none that cannot be read back is let go", () => {
  const cache = new AnswerCache(10_000)
  const unstored = answered(0, 1_000, undefined)
  cache.stored(unstored)
  const entries = Array.from({ length: 50 }, (_, index) => answered(index + 1, 1_000, index))
  for (const entry of entries) {
    cache.stored(entry)
    expect(cache.bytes).toBeLessThanOrEqual(10_000)
  }
  const held = entries.filter(({ answer }) => answer !== undefined)
  expect(held).toEqual(entries.slice(-held.length))
  expect(held.length).toBeGreaterThan(5)
  expect(unstored.answer).toBeDefined()
})

it("counts an answer once, and nothing of what was dropped", () => {
  const cache = new AnswerCache(10_000)
  const entry = answered(1, 1_000, 0)
  cache.stored(entry)
  const once = cache.bytes
  cache.stored(entry)
  expect(cache.bytes).toBe(once)
  cache.drop(entry)
  cache.drop(entry)
  expect([cache.bytes, entry.answer]).toEqual([0, undefined])
})
