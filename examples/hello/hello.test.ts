import { assert, describe, it } from "vitest"
import { app } from "./app.ts"

describe("hello", () => {
  it("greets by name, and the world without one", async () => {
    assert.strictEqual(await (await app.request("/?name=Ada")).text(), "Hello, Ada!\n")
    assert.strictEqual(await (await app.request("/")).text(), "Hello, world!\n")
  })

  it("echo gives the first bytes back before the last ones have arrived", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const writer = writable.getWriter()
    const response = await app.request("/echo", {
      method: "POST",
      body: readable,
      duplex: "half",
      headers: { "content-type": "application/x-ndjson" }
    })
    assert.strictEqual(response.headers.get("content-type"), "application/x-ndjson")
    const reader = response.body!.getReader()
    for (const text of ["one\n", "two\n"]) {
      const [read] = await Promise.all([reader.read(), writer.write(new TextEncoder().encode(text))])
      assert.strictEqual(new TextDecoder().decode(read.value), text)
    }
    const [end] = await Promise.all([reader.read(), writer.close()])
    assert.isTrue(end.done)
  })

  it("count streams one event a number", async () => {
    const response = await app.request("/count?n=3&delayMs=1")
    assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
    assert.strictEqual(await response.text(), "data: 1\n\ndata: 2\n\ndata: 3\n\n")
  })

  it("numbers that make no sense are refused", async () => {
    for (const query of ["n=0", "n=1.5", "n=many", "n=1&delayMs=-1", "n=1&delayMs=long"]) {
      assert.strictEqual((await app.request(`/count?${query}`)).status, 400, query)
    }
  })
})
