import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as TestPlatform from "../../tests/support/TestPlatform.ts"

let test: TestPlatform.TestPlatform

beforeAll(async () => {
  test = await TestPlatform.start()
})
afterAll(() => test.close())

describe("hello on the platform", () => {
  it("wakes from zero, answers, and goes back to zero", async () => {
    const fn = await test.deployExample("hello")
    expect(TestPlatform.liveInstances(test, fn)).toEqual([])
    const cold = await fetch(`${fn.url}/?name=Ada`)
    expect([cold.status, await cold.text()]).toEqual([200, "Hello, Ada!\n"])
    expect(cold.headers.get("server-timing")).toContain("start;dur=")
    const warm = await fetch(`${fn.url}/?name=Bob`)
    expect(await warm.text()).toBe("Hello, Bob!\n")
    expect(warm.headers.get("server-timing")).not.toContain("start;dur=")
    const echoed = await fetch(`${fn.url}/echo`, { method: "POST", body: "to and fro" })
    expect(await echoed.text()).toBe("to and fro")
    const events = await fetch(`${fn.url}/count?n=3&delayMs=5`)
    expect(events.headers.get("content-type")).toContain("text/event-stream")
    expect((await events.text()).match(/^data: /gm)?.length).toBe(3)
    await TestPlatform.atZero(test, fn)
  }, 60_000)
})
