import { readFileSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as TestPlatform from "../../tests/support/TestPlatform.ts"
import { ensureInstalled } from "./install.ts"

const unavailable = await ensureInstalled()
if (unavailable !== undefined) console.log(`ocr on the platform is skipped: ${unavailable}`)

let test: TestPlatform.TestPlatform

beforeAll(async () => {
  test = await TestPlatform.start()
})
afterAll(() => test.close())

describe.skipIf(unavailable !== undefined)("ocr on the platform", () => {
  it("wakes from zero, reads a picture, and goes back to zero", async () => {
    const fn = await test.deployExample("ocr")
    expect(TestPlatform.liveInstances(test, fn)).toEqual([])
    const response = await fetch(fn.url, {
      method: "POST",
      body: readFileSync(new URL("./notice.png", import.meta.url))
    })
    expect(response.status).toBe(200)
    const { text }: { text: string } = JSON.parse(await response.text())
    expect(text.toLowerCase()).toContain("the old mill")
    await TestPlatform.atZero(test, fn)
  }, 120_000)
})
