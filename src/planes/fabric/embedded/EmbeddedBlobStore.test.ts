import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import type { BlobStore } from "../BlobStore.ts"
import * as EmbeddedBlobStore from "./EmbeddedBlobStore.ts"

const text = async (blobs: BlobStore["Service"], id: string): Promise<string> => {
  const parts: Array<Uint8Array> = []
  for await (const part of blobs.read(id)) parts.push(part)
  return Buffer.concat(parts).toString()
}

describe("a folder of blobs that several processes share", () => {
  let folder = ""
  const partial = () => join(folder, "blobs-partial")
  const open = () => Effect.runPromise(EmbeddedBlobStore.make(folder, { isShared: true }))
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "millrace-blobs-"))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it("keeps what one is writing while another starts", async () => {
    const one = await open()
    const writer = await one.create("a")
    await writer.write(Buffer.from("begun "))
    const other = await open()
    await writer.write(Buffer.from("and ended"))
    await writer.finish()
    assert.strictEqual(await text(other, "a"), "begun and ended")
  })

  it("lets a blob be written again whose first writer died in the middle of it", async () => {
    const dead = await (await open()).create("a")
    await dead.write(Buffer.from("half"))
    const other = await open()
    const writer = await other.create("a")
    await writer.write(Buffer.from("whole"))
    await writer.finish()
    assert.strictEqual(await text(other, "a"), "whole")
  })

  it("removes at a start what nobody has touched for a day, and nothing else", async () => {
    await open()
    const nowSeconds = Date.now() / 1000
    for (const [name, hours] of [
      ["old", 25],
      ["young", 23]
    ] as const) {
      writeFileSync(join(partial(), name), "half")
      utimesSync(join(partial(), name), nowSeconds, nowSeconds - hours * 3600)
    }
    await open()
    assert.deepStrictEqual(readdirSync(partial()), ["young"])
  })

  it("of one process alone is cleaned at its start", async () => {
    await open()
    writeFileSync(join(partial(), "young"), "half")
    await Effect.runPromise(EmbeddedBlobStore.make(folder, { isShared: false }))
    assert.deepStrictEqual(readdirSync(partial()), [])
  })
})
