import { readFileSync } from "node:fs"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as TestPlatform from "../../tests/support/TestPlatform.ts"

let test: TestPlatform.TestPlatform

beforeAll(async () => {
  test = await TestPlatform.start()
})
afterAll(() => test.close())

describe("thumbnail on the platform", () => {
  it("wakes from zero, answers, and goes back to zero", async () => {
    const fn = await test.deployExample("thumbnail")
    expect(TestPlatform.liveInstances(test, fn)).toEqual([])
    const response = await fetch(`${fn.url}/?width=120`, {
      method: "POST",
      headers: { "content-type": "image/jpeg" },
      body: readFileSync(new URL("./harbour.jpg", import.meta.url))
    })
    expect(response.status).toBe(200)
    const metadata = await sharp(Buffer.from(await response.arrayBuffer())).metadata()
    expect([metadata.format, metadata.width]).toEqual(["webp", 120])
    const refused = await fetch(`${fn.url}/`, { method: "POST", body: "no picture" })
    expect(refused.status).toBe(415)
    await TestPlatform.atZero(test, fn)
  }, 60_000)
})
