import * as Effect from "effect/Effect"
import { Hono } from "hono"
import { assert, describe, it } from "vitest"
import { CallFailed, makeVirtualClock, testWorker } from "../../src/worker-sdk/testing.ts"

const rejection = async (promise: Promise<unknown>): Promise<CallFailed> => {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error })
  )
  assert("error" in outcome && outcome.error instanceof CallFailed)
  return outcome.error
}

/** Settles when the signal fires. */
const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))

describe("the harness for authors", () => {
  it("calls a handler and gives its answer", async () => {
    const worker = testWorker(async (request, { tenant, attempt }) =>
      Response.json([request.method, request.url, await request.text(), tenant, attempt], { status: 201 })
    )
    const init = { method: "POST", body: "hello" }
    const response = await worker.fetch("/path?q=1", init, { tenant: "acme", attempt: 2 })
    assert.strictEqual(response.status, 201)
    assert.deepStrictEqual(await response.json(), ["POST", "http://function.test/path?q=1", "hello", "acme", 2])
    await worker.drain()
  })

  it("takes a Hono app", async () => {
    const worker = testWorker(new Hono().get("/hi/:name", (c) => c.text(`hi ${c.req.param("name")}`)))
    assert.strictEqual(await (await worker.fetch("/hi/you")).text(), "hi you")
    await worker.drain()
  })

  it("large bodies go both ways in pieces", async () => {
    const worker = testWorker(async (request) => new Response(await request.bytes()))
    const body = new Uint8Array(3_000_000).map((_, index) => index & 0xff)
    const response = await worker.fetch("/", { method: "POST", body })
    assert(Buffer.from(await response.arrayBuffer()).equals(body))
    await worker.drain()
  })

  it("an answer that nobody reads stops its source, and cancelling it tells the handler", async () => {
    let produced = 0
    let cancelled = false
    const worker = testWorker(
      () =>
        new Response(
          new ReadableStream({
            pull: (controller) => {
              produced += 65_536
              controller.enqueue(new Uint8Array(65_536))
            },
            cancel: () => {
              cancelled = true
            }
          })
        )
    )
    const response = await worker.fetch("/")
    await makeVirtualClock().advance(0)
    assert.isAtMost(produced, 2 * 1024 * 1024)
    await response.body?.cancel("seen enough")
    await makeVirtualClock().advance(0)
    assert.isTrue(cancelled)
    await worker.drain()
  })

  it("a failing handler rejects the call with its words", async () => {
    const worker = testWorker(() => {
      throw new Error("no model")
    })
    const error = await rejection(worker.fetch("/"))
    assert.deepInclude(error, { message: "Error: no model", retryable: false })
    await worker.drain()
  })

  it("a deadline on the virtual clock cancels the call", async () => {
    const clock = makeVirtualClock()
    const worker = testWorker(
      async (_, { signal, deadline }) => {
        await aborted(signal)
        return new Response(deadline?.toISOString())
      },
      { clock }
    )
    const call = await worker.call("/", {}, { deadlineMs: 60_000 })
    const failed = rejection(call.response)
    await clock.advance(59_999)
    assert.strictEqual(await Promise.race([failed, Promise.resolve("waiting")]), "waiting")
    await clock.advance(1)
    assert.include((await failed).message, "deadline")
    await worker.drain()
  })

  it("cancelling and progress are seen", async () => {
    const worker = testWorker(async (_, { progress, signal }) => {
      progress(10, "started")
      await aborted(signal)
      throw signal.reason
    })
    const call = await worker.call("/")
    await makeVirtualClock().advance(0)
    assert.deepStrictEqual(worker.progress, [{ requestId: call.requestId, percent: 10, note: "started" }])
    worker.cancel("changed my mind")
    assert.include((await rejection(call.response)).message, "changed my mind")
    await worker.drain()
  })

  it("a redelivery is the next attempt, and the older one is told", async () => {
    const told: Array<number> = []
    const worker = testWorker(async (_, { attempt, signal }) => {
      if (attempt === 1) {
        await aborted(signal)
        told.push(attempt)
      }
      return new Response(`attempt ${attempt}`)
    })
    const call = await worker.call("/")
    call.redeliver()
    assert.strictEqual(await (await call.response).text(), "attempt 2")
    assert.deepStrictEqual(told, [1])
    await worker.drain()
  })

  it("a call whose answer has not begun survives a disconnection, and one in mid-answer does not", async () => {
    const clock = makeVirtualClock()
    const release = Promise.withResolvers<void>()
    let runs = 0
    const worker = testWorker(
      async (request) => {
        runs++
        if (request.url.endsWith("/streams")) return new Response(new ReadableStream({ pull: () => release.promise }))
        await release.promise
        return new Response("survived")
      },
      { clock }
    )
    const waits = await worker.call("/waits")
    const streams = await (await worker.call("/streams")).response
    worker.disconnect()
    await clock.advance(1000)
    release.resolve()
    assert.strictEqual(await (await waits.response).text(), "survived")
    assert.include((await rejection(streams.text())).message, "mid-answer")
    assert.strictEqual(runs, 2)
    await worker.drain()
  })

  it("draining waits for what runs after the answer", async () => {
    const after = Promise.withResolvers<void>()
    let isDone = false
    const worker = testWorker((_, { waitUntil }) => {
      waitUntil(
        after.promise.then(() => {
          isDone = true
        })
      )
      return new Response("early")
    })
    await worker.fetch("/")
    const drained = worker.drain()
    await makeVirtualClock().advance(0)
    assert.isFalse(isDone)
    after.resolve()
    await drained
    assert.isTrue(isDone)
  })
})

describe("effect handlers", () => {
  it("an effect's success is the answer", async () => {
    const worker = testWorker((request) =>
      Effect.map(
        Effect.promise(() => request.text()),
        (text) => new Response(text.toUpperCase())
      )
    )
    assert.strictEqual(await (await worker.fetch("/", { method: "POST", body: "loud" })).text(), "LOUD")
    await worker.drain()
  })

  it("its failure fails the call, and cancelling interrupts it", async () => {
    let interrupted = false
    const worker = testWorker((request) =>
      request.url.endsWith("/fails")
        ? Effect.fail(new RangeError("too big"))
        : Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              interrupted = true
            })
          )
    )
    assert.include((await rejection(worker.fetch("/fails"))).message, "too big")
    const call = await worker.call("/never")
    await makeVirtualClock().advance(0)
    call.cancel()
    await rejection(call.response)
    assert.isTrue(interrupted)
    await worker.drain()
  })
})

describe("batch handlers", () => {
  it("calls that come together are one batch, which leaves when it is full or its time is over", async () => {
    const clock = makeVirtualClock()
    const sizes: Array<number> = []
    const worker = testWorker(
      {
        batch: {
          maxSize: 3,
          maxWaitMs: 20,
          handler: async (items) => {
            sizes.push(items.length)
            const texts = await Promise.all(items.map(({ request }) => request.text()))
            return texts.map((text) => (text === "bad" ? new Error("bad item") : new Response(text)))
          }
        }
      },
      { clock }
    )
    const post = (body: string) => worker.fetch("/", { method: "POST", body })
    const calls = ["a", "b", "c", "d", "bad"].map((body) => post(body))
    const failed = rejection(calls[4] ?? Promise.resolve())
    await clock.advance(19)
    assert.deepStrictEqual(sizes, [3])
    await clock.advance(1)
    assert.deepStrictEqual(sizes, [3, 2])
    const texts = await Promise.all(calls.slice(0, 4).map(async (call) => (await call).text()))
    assert.deepStrictEqual(texts, ["a", "b", "c", "d"])
    assert.include((await failed).message, "bad item")
    await worker.drain()
  })

  it("a cancelled call leaves the batch that it waits for", async () => {
    const clock = makeVirtualClock()
    const sizes: Array<number> = []
    const batch = {
      maxSize: 8,
      maxWaitMs: 20,
      handler: (items: ReadonlyArray<unknown>) => {
        sizes.push(items.length)
        return items.map(() => new Response("ok"))
      }
    }
    const worker = testWorker({ batch }, { clock })
    const stays = await worker.call("/")
    const leaves = await worker.call("/")
    await clock.advance(5)
    leaves.cancel()
    await rejection(leaves.response)
    await clock.advance(15)
    await stays.response
    assert.deepStrictEqual(sizes, [1])
    await worker.drain()
  })

  it("a handler with the wrong number of results fails its calls with both numbers", async () => {
    const batch = { maxSize: 2, maxWaitMs: 0, handler: () => [new Response("one")] }
    const worker = testWorker({ batch })
    const calls = [rejection(worker.fetch("/")), rejection(worker.fetch("/"))]
    for (const error of await Promise.all(calls)) assert.include(error.message, "got 2 items and returned 1 results")
    await worker.drain()
  })

  it("settings that cannot work are refused at once", () => {
    const batch = { maxSize: 0, maxWaitMs: 1, handler: () => [] }
    assert.throws(() => testWorker({ batch }), /maxSize is 0/)
    // The wrong type is the case under test.
    assert.throws(() => testWorker({} as unknown as () => Response), /serve takes a function/)
  })
})
