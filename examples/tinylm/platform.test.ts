import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as TestPlatform from "../../tests/support/TestPlatform.ts"

let test: TestPlatform.TestPlatform

beforeAll(async () => {
  test = await TestPlatform.start()
})
afterAll(() => test.close())

describe("tinylm on the platform", () => {
  it("wakes from zero, answers, and goes back to zero", async () => {
    const fn = await test.deployExample("tinylm")
    expect(TestPlatform.liveInstances(test, fn)).toEqual([])
    const generate = (body: object, init: RequestInit = {}) =>
      fetch(`${fn.url}/generate`, { method: "POST", body: JSON.stringify(body), ...init })
    const whole = await generate({ prompt: "And God said", maxTokens: 16, temperature: 0 })
    const answer: { text: string } = JSON.parse(await whole.text())
    const streamed = await generate({ prompt: "And God said", maxTokens: 16, temperature: 0, stream: true })
    const events = (await streamed.text()).split("\n\n").filter((event) => event !== "")
    expect(events.at(-1)).toBe("data: [DONE]")
    const tokens = events.slice(0, -1).map((event): string => JSON.parse(event.slice("data: ".length)).token)
    expect(tokens.join("")).toBe(answer.text)
    expect(tokens.length).toBeGreaterThan(5)
    await TestPlatform.atZero(test, fn)
  }, 60_000)

  it("stops in mid-decode when the caller who asked for that leaves", async () => {
    // One instance, so that its statistics are those of the call.
    const fn = await test.deployExample("tinylm", { maxInstances: 1 })
    const stats = async (): Promise<{ running: number; decodedTokens: number; cancelled: number }> =>
      JSON.parse(await (await fetch(`${fn.url}/stats`)).text())
    const before = await stats()
    const leave = new AbortController()
    const response = await fetch(`${fn.url}/generate`, {
      method: "POST",
      headers: { "millrace-on-disconnect": "cancel" },
      body: JSON.stringify({ prompt: "And God said", maxTokens: 4000, temperature: 0, stream: true }),
      signal: leave.signal
    })
    await response.body?.getReader().read()
    leave.abort()
    let now = before
    const after = await TestPlatform.eventually("the decode is cancelled", async () => {
      now = await stats()
      if (now.cancelled === before.cancelled + 1 && now.running === 0) return now
      throw new Error(JSON.stringify({ before, now }))
    })
    expect(after.decodedTokens - before.decodedTokens).toBeLessThan(4000)
  })
})
