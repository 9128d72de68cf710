import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as TestPlatform from "../../tests/support/TestPlatform.ts"

let test: TestPlatform.TestPlatform

beforeAll(async () => {
  test = await TestPlatform.start()
})
afterAll(() => test.close())

describe("wrapped on the platform", () => {
  it("wakes from zero, answers, and goes back to zero", async () => {
    const fn = await test.deployExample("wrapped")
    expect(TestPlatform.liveInstances(test, fn)).toEqual([])
    const response = await fetch(`${fn.url}/statistics`, { method: "POST", body: "one two three\nfour\n" })
    expect(response.status).toBe(200)
    expect(JSON.parse(await response.text())).toMatchObject({ lines: 2, words: 4 })
    expect((await fetch(`${fn.url}/nothing-here`)).status).toBe(404)
    await TestPlatform.atZero(test, fn)
  }, 60_000)
})
