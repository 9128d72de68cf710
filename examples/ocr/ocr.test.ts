import { readFileSync } from "node:fs"
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "vitest"
import { ensureInstalled } from "./install.ts"
import type { Reader } from "./Reader.ts"

const notice = readFileSync(new URL("./notice.png", import.meta.url))

describe("ocr", () => {
  let missing: string | undefined
  let reader: Reader | undefined
  let handle: (request: Request) => Promise<Response>

  beforeAll(async () => {
    missing = await ensureInstalled()
    if (missing !== undefined) return
    const [Handler, Reader] = await Promise.all([import("./Handler.ts"), import("./Reader.ts")])
    reader = await Reader.make()
    handle = Handler.make(reader)
  }, 300_000)
  afterAll(() => reader?.close())
  beforeEach((context) => context.skip(missing !== undefined, missing))

  const post = (body: Uint8Array<ArrayBuffer> | ReadableStream) =>
    handle(new Request("http://ocr/", { method: "POST", body, duplex: "half" }))

  it("reads the notice, numbers and punctuation included", async () => {
    const response = await post(notice)
    assert.strictEqual(response.status, 200)
    const { text, confidence } = JSON.parse(await response.text())
    assert.deepStrictEqual(
      text.split("\n").filter((line: string) => line !== ""),
      [
        "THE OLD MILL",
        "Built in 1784 on the river Wear.",
        "The wheel turns when water flows,",
        "and rests when nobody needs flour.",
        "Open Tuesday to Sunday, 9:30 to 17:00",
        "Adults 6.50 Children 3.25",
        "Please keep away from the mill race."
      ]
    )
    assert.isAbove(confidence, 85)
  })

  it("what is not a picture is 415, and the reader reads on afterwards", async () => {
    const [words, nothing, picture] = await Promise.all([
      post(new TextEncoder().encode("just words")),
      post(new Uint8Array()),
      post(notice)
    ])
    assert.deepStrictEqual([words.status, nothing.status, picture.status], [415, 415, 200])
  })

  it("a body without an end is 413", async () => {
    let sent = 0
    const endless = new ReadableStream({
      pull: (controller) => {
        sent += 1_048_576
        controller.enqueue(new Uint8Array(1_048_576))
      }
    })
    assert.strictEqual((await post(endless)).status, 413)
    assert.isAtMost(sent, 14 * 1_048_576)
  })
})
