import { readFileSync } from "node:fs"
import sharp from "sharp"
import { assert, describe, it } from "vitest"
import { handle } from "./Handler.ts"
import * as Thumbnail from "./Thumbnail.ts"

const harbour = readFileSync(new URL("./harbour.jpg", import.meta.url))

const post = (query: string, body: Uint8Array<ArrayBuffer> | ReadableStream) =>
  handle(new Request(`http://thumbnail/${query}`, { method: "POST", body, duplex: "half" }))

const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer())
const errorOf = async (response: Response): Promise<string> => JSON.parse(await response.text()).error

/** Mean difference of two pictures of one size, per channel, 0 to 255. */
const difference = async (a: Buffer, b: Buffer) => {
  const [left, right] = await Promise.all([a, b].map((picture) => sharp(picture).removeAlpha().raw().toBuffer()))
  assert.strictEqual(left!.length, right!.length)
  return left!.reduce((sum, value, at) => sum + Math.abs(value - right![at]!), 0) / left!.length
}

describe("thumbnail", () => {
  it("a JPEG comes back as a WebP of the width asked for, and shows the same picture", async () => {
    const response = await post("?width=200", harbour)
    assert.strictEqual(response.status, 200)
    assert.strictEqual(response.headers.get("content-type"), "image/webp")
    const thumbnail = await bytesOf(response)
    const { format, width, height } = await sharp(thumbnail).metadata()
    assert.deepStrictEqual([format, width, height], ["webp", 200, 133])
    assert.isBelow(thumbnail.length, harbour.length / 4)
    const reference = await sharp(harbour).resize(200).png().toBuffer()
    assert.isBelow(await difference(thumbnail, reference), 8)
    assert.isAbove(await difference(thumbnail, await sharp(reference).flip().toBuffer()), 30)
  })

  it("a small picture is not enlarged, and 320 is the width that nobody asked for", async () => {
    assert.strictEqual((await post("?width=4096", harbour)).headers.get("x-width"), "1024")
    assert.strictEqual((await post("", harbour)).headers.get("x-width"), "320")
  })

  it("a picture that the camera marked as turned comes out upright", async () => {
    const turned = Uint8Array.from(await sharp(harbour).withMetadata({ orientation: 6 }).jpeg().toBuffer())
    const response = await post("?width=200", turned)
    assert.deepStrictEqual([response.headers.get("x-width"), response.headers.get("x-height")], ["200", "300"])
  })

  it("a width that makes no sense is 400", async () => {
    for (const width of ["15", "4097", "12.5", "wide", "-200"]) {
      assert.strictEqual((await post(`?width=${width}`, harbour)).status, 400, width)
    }
  })

  it("what is not a picture, or only the first half of one, is 415", async () => {
    const text = await post("", new TextEncoder().encode("just words"))
    assert.strictEqual(text.status, 415)
    assert.match(await errorOf(text), /not a picture/)
    assert.strictEqual((await post("", new Uint8Array())).status, 415)
    const cutOff = await post("", harbour.subarray(0, harbour.length / 2))
    assert.strictEqual(cutOff.status, 415)
    assert.match(await errorOf(cutOff), /jpeg cannot be decoded/)
  })

  it("a small file that unpacks to too many pixels is 413 and is not unpacked", async () => {
    const svg = new TextEncoder().encode(`<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="9000"/>`)
    const response = await post("", svg)
    assert.strictEqual(response.status, 413)
    assert.match(await errorOf(response), /81000000 pixels/)
  })

  it("a body without an end is 413 as soon as it passes the limit", async () => {
    let sent = 0
    const endless = new ReadableStream({
      pull: (controller) => {
        sent += 1_048_576
        controller.enqueue(new Uint8Array(1_048_576))
      }
    })
    assert.strictEqual((await post("", endless)).status, 413)
    assert.isAtMost(sent, Thumbnail.bodyBytesMax + 4 * 1_048_576)
  })

  it("another method is 405 and names the right one", async () => {
    const response = await handle(new Request("http://thumbnail/"))
    assert.deepStrictEqual([response.status, response.headers.get("allow")], [405, "POST"])
  })
})
