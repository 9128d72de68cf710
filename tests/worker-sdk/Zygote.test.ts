import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Duplex } from "node:stream"
import { text } from "node:stream/consumers"
import { afterAll, assert, describe, it } from "vitest"

const main = resolve(import.meta.dirname, "../../dist/worker-sdk/zygote-main.js")
const directory = mkdtempSync(join(tmpdir(), "millrace-zygote-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe("a zygote", () => {
  it("Z1: nothing of the environment that it was started with is left in the function's", async () => {
    const entry = join(directory, "entry.mjs")
    writeFileSync(entry, "console.log(JSON.stringify(process.env))\n")
    const zygote = spawn(process.execPath, [main], {
      env: { PATH: "/usr/bin", SECRET_OF_ANOTHER: "1" },
      stdio: ["ignore", "pipe", "inherit", "pipe"]
    })
    const [, stdout, , channel] = zygote.stdio
    assert(channel instanceof Duplex && stdout !== null)
    await new Promise((ready) => channel.once("data", ready))
    const handOver = Buffer.from(
      JSON.stringify({ words: [entry], workingDirectory: directory, environment: { ONLY: "this" } })
    )
    const length = Buffer.alloc(4)
    length.writeUInt32LE(handOver.length)
    channel.write(Buffer.concat([length, handOver]))
    assert.deepStrictEqual(JSON.parse(await text(stdout)), { ONLY: "this" })
  })
})
