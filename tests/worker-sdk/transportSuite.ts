/**
 * What a worker and its plane promise each other, whatever carries their messages. Run for each transport.
 *
 * @module
 */
import { afterEach, assert, describe, it } from "vitest"
import type { FunctionHandler } from "../../src/worker-sdk/Handler.ts"
import type { FromWorker } from "../../src/worker-sdk/protocol/WorkerMessage.ts"
import { FakePlane, type PlaneOptions, type Scheme, until } from "./FakePlane.ts"
import { startWorker } from "./inProcessWorker.ts"
import { rawClient } from "./rawClient.ts"

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const mebibyte = 1024 * 1024

/** Holds a handler until the test opens it. */
const makeGate = () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const gate = {
    entered: 0,
    open: resolve,
    pass: () => {
      gate.entered++
      return promise
    }
  }
  return gate
}

export const transportSuite = (scheme: Scheme): void => {
  const cleanUps: Array<() => unknown> = []
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  })

  const openPlane = async (options?: PlaneOptions): Promise<FakePlane> => {
    const plane = await FakePlane.open(options)
    cleanUps.push(() => plane.close())
    return plane
  }

  const start: typeof startWorker = (plane, _, handler, options) => {
    const started = startWorker(plane, scheme, handler, options)
    cleanUps.push(() => started.worker.drain("the test is over"))
    return started
  }

  const both = async (handler: FunctionHandler, options?: PlaneOptions) => {
    const plane = await openPlane(options)
    const started = start(plane, scheme, handler)
    return { plane, ...started, session: await plane.session() }
  }

  const answerOf = (session: Awaited<ReturnType<FakePlane["session"]>>) =>
    until(
      "the answer is complete",
      () =>
        session.messages.find(
          (message): message is Extract<FromWorker, { readonly _tag: "Failed" | "ResponseEnd" | "ResponseHead" }> =>
            message._tag === "Failed" ||
            message._tag === "ResponseEnd" ||
            (message._tag === "ResponseHead" && message.end)
        ),
      () => session.messages.map((message) => message._tag)
    )

  describe("calls", () => {
    it("introduces itself once and says what it is ready for", async () => {
      const { plane, session } = await both(() => new Response("x"))
      assert.deepStrictEqual(plane.requests, [
        {
          instanceId: "instance-1",
          functionId: "function-1",
          versionId: "version-1",
          token: "first-token",
          workerId: "worker-1",
          sdk: "test"
        }
      ])
      assert.deepStrictEqual(plane.tokens, ["fresh-token"])
      assert.deepStrictEqual(session.messages[0], {
        _tag: "Ready",
        slots: 8,
        phases: { processMs: 1, initialiseMs: 2, connectMs: 3 },
        holds: []
      })
    })

    it("a small call is one message each way and keeps every part of both", async () => {
      const { session } = await both(async (request, context) => {
        const seen = [
          request.method,
          request.url,
          request.headers.get("x-many"),
          await request.text(),
          context.requestId,
          context.attempt,
          context.deadline?.getTime(),
          context.tenant,
          context.trace["traceparent"]
        ]
        const headers = new Headers({ "x-answer": "yes" })
        headers.append("set-cookie", "a=1")
        headers.append("set-cookie", "b=2")
        return new Response(JSON.stringify(seen), { status: 201, headers })
      })
      const deadlineMs = Date.now() + 60_000
      session.assign({
        attempt: 3,
        deadlineMs,
        body: Buffer.from("hello"),
        head: {
          method: "PUT",
          path: "/a%20b/c?d=é",
          headers: [
            ["host", "f.example"],
            ["x-many", "1"],
            ["x-many", "2"],
            ["traceparent", "00-1-2-01"]
          ]
        }
      })
      const answer = await answerOf(session)
      assert(answer._tag === "ResponseHead" && answer.end)
      assert.strictEqual(answer.status, 201)
      assert.deepStrictEqual(JSON.parse(text(answer.body)), [
        "PUT",
        "http://f.example/a%20b/c?d=%C3%A9",
        "1, 2",
        "hello",
        "request-1",
        3,
        deadlineMs,
        "tenant-1",
        "00-1-2-01"
      ])
      const cookies = answer.headers.filter(([name]) => name === "set-cookie").map(([, value]) => value)
      assert.deepStrictEqual(cookies, ["a=1", "b=2"])
      assert.strictEqual(session.messages.length, 2)
    })

    it.each([
      ["an hour behind, and far away", -3_600_000, 60_000, "let be"],
      ["an hour ahead, and near", 3_600_000, 1_000, "aborted"]
    ])("a deadline is by the plane's clock, also when that is %s", async (_, aheadMs, deadlineInMs, expected) => {
      const planeNowMs = Date.now() + aheadMs
      const reasons: Array<string> = []
      const { session } = await both(
        async (_request, { signal }) => {
          const reason = await new Promise<string>((resolve) => {
            signal.addEventListener("abort", () => resolve("aborted"))
            setTimeout(() => resolve("let be"), 2_000)
          })
          reasons.push(reason)
          return new Response(reason)
        },
        { response: { nowMs: planeNowMs } }
      )
      session.assign({ deadlineMs: planeNowMs + deadlineInMs })
      await until("the handler is done", () => reasons.length > 0)
      assert.deepStrictEqual(reasons, [expected])
    })

    it("what is read after its deadline is not begun, unless nobody knows what time it is for the plane", async () => {
      const begun: Array<string> = []
      const handler = async (_request: Request, { requestId }: { readonly requestId: string }) => {
        begun.push(requestId)
        return new Response("done")
      }
      const told = await both(handler, { response: { nowMs: Date.now() + 3_600_000 } })
      told.session.assign({ requestId: "late", deadlineMs: Date.now() + 3_500_000 })
      const [failed] = await until("it is given back", () => {
        const seen = told.session.of("Failed")
        return seen.length > 0 && seen
      })
      assert.include(failed, { requestId: "late", retryable: true })
      told.session.assign({ requestId: "in time", deadlineMs: Date.now() + 3_700_000 })
      await until("the other is answered", () => told.session.of("ResponseHead").length > 0)
      const untold = await both(handler, { response: { nowMs: 0 } })
      untold.session.assign({ requestId: "who knows", deadlineMs: 1 })
      await until("it is answered", () => untold.session.of("ResponseHead").length > 0)
      assert.deepStrictEqual(begun, ["in time", "who knows"])
    })

    it("HEAD, 204 and 304 have no body on the wire", async () => {
      const { session } = await both((request) =>
        request.method === "HEAD"
          ? new Response("not sent", { headers: { "content-length": "8" } })
          : new Response(null, { status: request.method === "GET" ? 304 : 204 })
      )
      for (const [index, method] of ["HEAD", "GET", "DELETE"].entries()) {
        session.assign({ method, requestId: `r${index}`, head: { method, path: "/", headers: [] } })
      }
      const heads = await until("three answers", () => {
        const seen = session.of("ResponseHead")
        return seen.length === 3 && seen
      })
      assert.deepStrictEqual(
        heads.map((head) => [head.status, head.body.length, head.end]),
        [
          [200, 0, true],
          [304, 0, true],
          [204, 0, true]
        ]
      )
    })

    it("calls run side by side, as many as there are slots, and one more is given back", async () => {
      const gate = makeGate()
      const { session } = await both(async () => {
        await gate.pass()
        return new Response("ok")
      })
      for (let index = 0; index < 9; index++) session.assign({ requestId: `r${index}` })
      const refused = await until("the ninth is refused", () => session.of("Failed")[0])
      assert.deepInclude(refused, { requestId: "r8", retryable: true })
      assert.strictEqual(gate.entered, 8)
      gate.open()
      await until("eight answers", () => session.of("ResponseHead").length === 8)
    })

    it("a handler that throws fails its call with its words and no other call", async () => {
      const { session, logs } = await both((request) => {
        if (request.url.endsWith("/bad")) throw new RangeError("no such model")
        if (request.url.endsWith("/again")) throw Object.assign(new Error("out of memory"), { retryable: true })
        return new Response("fine")
      })
      const head = (path: string) => ({ method: "GET", path, headers: [] })
      session.assign({ requestId: "bad", head: head("/bad") })
      session.assign({ requestId: "again", head: head("/again") })
      session.assign({ requestId: "good", head: head("/good") })
      await until("three ends", () => session.messages.length === 4)
      assert.deepStrictEqual(
        session.of("Failed").map(({ requestId, retryable, message }) => [requestId, retryable, message]),
        [
          ["bad", false, "RangeError: no such model"],
          ["again", true, "Error: out of memory"]
        ]
      )
      assert.strictEqual(session.of("ResponseHead")[0]?.requestId, "good")
      assert.strictEqual(logs.length, 2)
    })

    it("a handler that returns no Response fails with a sentence about that", async () => {
      // The wrong type is the case under test.
      const handler = (() => ({ hello: "world" })) as unknown as FunctionHandler
      const { session } = await both(handler)
      session.assign()
      const answer = await answerOf(session)
      assert(answer._tag === "Failed")
      assert.strictEqual(answer.message, "the handler must return a Response and returned Object")
    })

    it("progress arrives while the call runs", async () => {
      const gate = makeGate()
      const { session } = await both(async (_, { progress }) => {
        progress(25, "loading")
        progress(250)
        await gate.pass()
        return new Response("done")
      })
      session.assign()
      await until("two reports", () => session.of("Progress").length === 2)
      assert.deepStrictEqual(
        session.of("Progress").map(({ percent, note }) => [percent, note]),
        [
          [25, "loading"],
          [100, ""]
        ]
      )
      gate.open()
      await answerOf(session)
    })

    it("a lease that is granted anew takes the call from its older run", async () => {
      const reasons: Array<string> = []
      const { session } = await both(async (_, context) => {
        if (context.attempt === 2) return new Response("second")
        await new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()))
        reasons.push(String(context.signal.reason))
        return new Response("first")
      })
      session.assign()
      session.assign({ token: 2, attempt: 2 })
      const answer = await answerOf(session)
      assert(answer._tag === "ResponseHead")
      assert.deepStrictEqual([answer.token, text(answer.body)], [2, "second"])
      await until("the older run was told", () => reasons.length === 1)
      assert.strictEqual(session.messages.length, 2)
    })
  })

  describe("bodies", () => {
    it("a large answer arrives whole and in order, and waits for credit", async () => {
      const total = 5 * mebibyte
      const body = new Uint8Array(total).map((_, index) => (index * 31 + (index >> 16)) & 0xff)
      const { session } = await both(() => new Response(body))
      session.assign()
      const received = () => session.of("ResponseChunk").reduce((sum, chunk) => sum + chunk.bytes.length, 0)
      await until("the first window", () => received() === mebibyte, received)
      // A message sent later shows that nothing more was on its way: the stream keeps order.
      session.assign({ requestId: "request-2" })
      await until("the second call's head", () => session.of("ResponseHead").length === 2)
      const first = session.of("ResponseChunk").filter((chunk) => chunk.requestId === "request-1")
      assert.strictEqual(
        first.reduce((sum, chunk) => sum + chunk.bytes.length, 0),
        mebibyte
      )
      session.connection.send({ _tag: "Cancel", requestId: "request-2", token: 1, reason: "enough" })
      session.connection.send({ _tag: "Credit", requestId: "request-1", token: 1, bytes: mebibyte })
      session.onMessage = (message) => {
        if (message._tag !== "ResponseChunk" || message.requestId !== "request-1") return
        session.connection.send({ _tag: "Credit", requestId: "request-1", token: 1, bytes: message.bytes.length })
      }
      await until("the end", () => session.of("ResponseEnd").length === 1, received)
      const chunks = session.of("ResponseChunk").filter((chunk) => chunk.requestId === "request-1")
      assert(chunks.every((chunk) => chunk.bytes.length <= 64 * 1024))
      assert(Buffer.concat(chunks.map((chunk) => chunk.bytes)).equals(body))
    })

    it("a streamed answer shows its head before its first byte, and each piece as it is made", async () => {
      let push: (piece: string | undefined) => void = () => {}
      const { session } = await both(
        () =>
          new Response(
            new ReadableStream({
              start: (controller) => {
                push = (piece) => (piece === undefined ? controller.close() : controller.enqueue(Buffer.from(piece)))
              }
            }),
            { headers: { "content-type": "text/event-stream" } }
          )
      )
      session.assign()
      const head = await until("the head", () => session.of("ResponseHead")[0])
      assert.deepStrictEqual([head.end, head.body.length], [false, 0])
      for (const piece of ["data: 1\n\n", "data: 2\n\n"]) {
        const before = session.of("ResponseChunk").length
        push(piece)
        const chunk = await until("its piece", () => session.of("ResponseChunk")[before])
        assert.strictEqual(text(chunk.bytes), piece)
      }
      push(undefined)
      await answerOf(session)
    })

    it("a reader that does not read keeps the source from producing", async () => {
      let produced = 0
      const { session } = await both(
        () =>
          new Response(
            new ReadableStream(
              {
                pull: (controller) => {
                  produced += 16 * 1024
                  controller.enqueue(new Uint8Array(16 * 1024))
                }
              },
              { highWaterMark: 0 }
            )
          )
      )
      session.assign()
      const received = () => session.of("ResponseChunk").reduce((sum, chunk) => sum + chunk.bytes.length, 0)
      await until("the window is full", () => received() === mebibyte, received)
      assert.isAtMost(produced, mebibyte + 64 * 1024)
      session.connection.send({ _tag: "Cancel", requestId: "request-1", token: 1, reason: "enough" })
      const failed = await until("the end", () => session.of("Failed")[0])
      assert.include(failed.message, "enough")
    })

    it("a body that breaks after its head fails the call after its head", async () => {
      const { session } = await both(
        () =>
          new Response(
            new ReadableStream({
              pull: async (controller) => {
                await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
                controller.error(new Error("disk on fire"))
              }
            })
          )
      )
      session.assign()
      const failed = await until("the failure", () => session.of("Failed")[0])
      assert.deepInclude(failed, { retryable: false, message: "Error: disk on fire" })
      assert.strictEqual(session.of("ResponseHead")[0]?.end, false)
      assert.strictEqual(session.of("ResponseEnd").length, 0)
    })

    it("a streamed request is read as it comes, and credit is returned as it is read", async () => {
      const gate = makeGate()
      const { session } = await both(async (request) => {
        await gate.pass()
        let bytes = 0
        for await (const chunk of request.body ?? []) bytes += chunk.length
        return new Response(String(bytes))
      })
      session.assign({ body: Buffer.from("first "), bodyEnd: false })
      for (let index = 0; index < 16; index++) {
        session.connection.send({ _tag: "BodyChunk", requestId: "request-1", token: 1, bytes: new Uint8Array(65_536) })
      }
      // A later message that was answered shows that the chunks before it had arrived.
      session.assign({ requestId: "request-2", token: 1 })
      await until("both calls run", () => gate.entered === 2)
      assert.strictEqual(session.of("Credit").length, 0)
      gate.open()
      const credit = () => session.of("Credit").reduce((sum, message) => sum + message.bytes, 0)
      await until("the credit is back", () => credit() >= 0.75 * mebibyte, credit)
      session.connection.send({ _tag: "BodyEnd", requestId: "request-1", token: 1 })
      await until("both answers", () => session.of("ResponseHead").length === 2)
      const answer = session.of("ResponseHead").find((head) => head.requestId === "request-1")
      assert.strictEqual(text(answer?.body ?? new Uint8Array(0)), String(6 + mebibyte))
    })

    it("a handler that answers without reading the request does not wait for it", async () => {
      const { session } = await both(() => new Response("no thanks"))
      session.assign({ bodyEnd: false })
      await answerOf(session)
      session.connection.send({ _tag: "BodyChunk", requestId: "request-1", token: 1, bytes: new Uint8Array(9) })
      session.assign({ requestId: "request-2", token: 2 })
      await until("the next call", () => session.of("ResponseHead").length === 2)
    })

    it("cancelling fires the signal, breaks the request's body and stops the answer's source", async () => {
      const seen: Array<string> = []
      const { session } = await both(
        async (_, { signal }) =>
          new Response(
            new ReadableStream({
              start: () => signal.addEventListener("abort", () => seen.push("signal")),
              pull: (controller) => {
                controller.enqueue(Buffer.from("x"))
                return new Promise((resolve) => setTimeout(resolve, 5))
              },
              cancel: () => void seen.push("source")
            })
          )
      )
      session.assign()
      await until("the stream runs", () => session.of("ResponseChunk").length > 0)
      session.connection.send({ _tag: "Cancel", requestId: "request-1", token: 1, reason: "caller-left" })
      const failed = await until("the slot is free", () => session.of("Failed")[0])
      assert.include(failed.message, "caller-left")
      assert.sameMembers(seen, ["signal", "source"])
    })
  })

  describe("life of a connection", () => {
    it("a drain lets calls finish, then the worker leaves cleanly", async () => {
      const gate = makeGate()
      const { session, worker } = await both(async () => {
        await gate.pass()
        return new Response("finished")
      })
      session.assign()
      await until("the call runs", () => worker.callCount === 1)
      session.connection.send({ _tag: "Drain", reason: "scale-down" })
      await until("it says so", () => session.of("Draining").length === 1)
      assert.strictEqual(session.closes.length, 0)
      gate.open()
      assert.deepStrictEqual(await worker.ended, { kind: "drained", reason: "drained" })
      const closed = await until("the plane sees it leave", () => session.closes[0])
      assert.isTrue(closed.clean)
      assert.strictEqual(text(session.of("ResponseHead")[0]?.body ?? new Uint8Array(0)), "finished")
    })

    it("a drain waits for work after the answer", async () => {
      const gate = makeGate()
      const { session, worker } = await both((_, { waitUntil }) => {
        waitUntil(gate.pass())
        return new Response("early")
      })
      session.assign()
      await answerOf(session)
      worker.drain("SIGTERM")
      await until("it says so", () => session.of("Draining").length === 1)
      assert.strictEqual(session.closes.length, 0)
      gate.open()
      await worker.ended
    })

    it("work whose answer has not begun survives a lost connection and is named at the next one", async () => {
      const gate = makeGate()
      const { plane, session } = await both(async (request) => {
        await gate.pass()
        return new Response(`late ${await request.text()}`)
      })
      session.assign({ body: Buffer.from("question") })
      await until("the call runs", () => gate.entered === 1)
      session.connection.close("the plane restarts")
      await until("it was closed", () => session.closes.length === 1)
      gate.open()
      const next = await plane.session(1)
      assert.deepStrictEqual(next.of("Ready")[0]?.holds, [{ requestId: "request-1", token: 1 }])
      const answer = await answerOf(next)
      assert(answer._tag === "ResponseHead")
      assert.strictEqual(text(answer.body), "late question")
      assert.strictEqual(plane.requests[1]?.token, "fresh-token")
      assert.strictEqual(plane.requests[1]?.workerId, plane.requests[0]?.workerId)
    })

    it("an answer that had begun is not continued on another connection", async () => {
      const aborted: Array<string> = []
      const { plane, session } = await both(
        async (_, { signal }) =>
          new Response(
            new ReadableStream({
              start: () => signal.addEventListener("abort", () => aborted.push("yes")),
              pull: (controller) => {
                controller.enqueue(Buffer.from("part"))
                return new Promise((resolve) => setTimeout(resolve, 5))
              }
            })
          )
      )
      session.assign()
      await until("it began", () => session.of("ResponseChunk").length > 0)
      session.connection.close("the plane restarts")
      const next = await plane.session(1)
      assert.deepStrictEqual(next.of("Ready")[0]?.holds, [])
      await until("the handler was told", () => aborted.length === 1)
      next.assign({ requestId: "request-2" })
      await until("the next call", () => next.of("ResponseChunk")[0])
      assert(next.messages.every((message) => !("requestId" in message) || message.requestId === "request-2"))
    })

    it("a worker that is silent for three heartbeats is closed", async () => {
      const plane = await openPlane({ heartbeatMs: 30 })
      // Its clock stands still, so it never sends a heartbeat.
      start(plane, scheme, () => new Response("x"), { clock: { nowMs: Date.now, after: () => ({ cancel: () => {} }) } })
      const session = await plane.session()
      const closed = await until("it was closed", () => session.closes[0])
      assert.isFalse(closed.clean)
      assert.include(closed.reason, "silent")
    })

    it("a plane that is silent for three heartbeats is left for a new connection", async () => {
      const { plane, session } = await both(() => new Response("x"), {
        heartbeatMs: 60_000,
        response: { heartbeatMs: 30 }
      })
      await until("it left", () => session.closes[0])
      await plane.session(1)
    })

    it("heartbeats keep an idle worker connected", async () => {
      const { session } = await both(() => new Response("x"), { heartbeatMs: 30 })
      await until("many beats", () => session.of("Heartbeat").length >= 8)
      assert.deepStrictEqual(session.closes, [])
    })

    it("a worker that is refused gives up after a few tries and says why", async () => {
      const plane = await openPlane({ connectOnce: () => ({ kind: "unauthenticated", message: "who are you" }) })
      const { worker } = start(plane, scheme, () => new Response("x"))
      assert.deepStrictEqual(await worker.ended, { kind: "refused", reason: "who are you" })
      assert.strictEqual(plane.requests.length, 5)
    })

    it("a plane that is not ready yet is tried again", async () => {
      let refusals = 0
      const plane = await openPlane({
        connectOnce: () => (refusals++ < 2 ? { kind: "unavailable", message: "starting" } : undefined)
      })
      start(plane, scheme, () => new Response("x"))
      await plane.session()
      assert.strictEqual(plane.requests.length, 3)
    })

    it("a token that the stream does not accept is a refusal", async () => {
      const plane = await openPlane({ open: () => ({ kind: "unknown-version", message: "never heard of it" }) })
      const { worker } = start(plane, scheme, () => new Response("x"))
      assert.deepStrictEqual(await worker.ended, { kind: "refused", reason: "never heard of it" })
    })

    it("a worker goes where the plane sends it", async () => {
      const owner = await openPlane()
      const gateway = await openPlane({ response: { workUrl: owner.url(scheme), token: "for-the-owner" } })
      start(gateway, scheme, () => new Response("from the owner"))
      const session = await owner.session()
      assert.deepStrictEqual([gateway.requests.length, gateway.sessions.length], [1, 0])
      assert.deepStrictEqual([owner.requests.length, owner.tokens], [0, ["for-the-owner"]])
      session.assign()
      await answerOf(session)
    })
  })

  describe("bad peers", () => {
    const withNeighbour = async (options?: PlaneOptions) => {
      const { plane, session } = await both(() => new Response("still here"), options)
      const raw = await rawClient(plane, scheme)
      cleanUps.push(() => raw.close())
      const bad = await until("the raw session", () => plane.sessions[1])
      const stillServes = async () => {
        session.assign()
        await answerOf(session)
        assert.deepStrictEqual(session.closes, [])
      }
      return { raw, bad, stillServes }
    }

    const ready: FromWorker = {
      _tag: "Ready",
      slots: 1,
      phases: { processMs: 0, initialiseMs: 0, connectMs: 0 },
      holds: []
    }

    it("bytes that are no message close that worker only", async () => {
      const { raw, bad, stillServes } = await withNeighbour()
      raw.message(ready)
      await until("it is ready", () => bad.of("Ready").length === 1)
      raw.send(Buffer.from("93c1ffffffffffdeadbeef", "hex"))
      const closed = await until("it was closed", () => bad.closes[0])
      assert.isFalse(closed.clean)
      await stillServes()
      assert.strictEqual(bad.messages.length, 1)
    })

    it("a message before Ready closes that worker only", async () => {
      const { raw, bad, stillServes } = await withNeighbour()
      raw.message({ _tag: "Heartbeat" })
      const closed = await until("it was closed", () => bad.closes[0])
      assert.include(closed.reason, "before Ready")
      await stillServes()
    })

    it("a second Ready closes that worker only", async () => {
      const { raw, bad, stillServes } = await withNeighbour()
      raw.message(ready)
      raw.message(ready)
      const closed = await until("it was closed", () => bad.closes[0])
      assert.include(closed.reason, "second Ready")
      await stillServes()
    })

    it("a message over the limit closes that worker only", async () => {
      const { raw, bad, stillServes } = await withNeighbour()
      raw.message(ready)
      await until("it is ready", () => bad.of("Ready").length === 1)
      raw.send(Buffer.alloc(5 * mebibyte))
      await until("it was closed", () => bad.closes[0])
      await stillServes()
    })

    it("a worker that never gets ready is closed in time", async () => {
      const { bad, stillServes } = await withNeighbour({ handshakeMs: 200 })
      const closed = await until("it was closed", () => bad.closes[0])
      assert.include(closed.reason, "no Ready")
      await stillServes()
    })

    it("a peer that does not read is reported as full, then as drained, and cut off at the hard limit", async () => {
      // A handler that blocks nothing, with a plane that sends far more than the credit: only the socket's limits act.
      const { plane, session } = await both(() => new Response("x"))
      const chunk = new Uint8Array(65_536)
      let sent = 0
      let accepted = true
      while (accepted && sent < 250) {
        accepted = session.connection.send({ _tag: "BodyChunk", requestId: "none", token: 1, bytes: chunk })
        sent++
      }
      assert.isFalse(accepted)
      assert.isAtLeast(sent, 10)
      await until("it drained", () => session.drains === 1)
      for (let index = 0; index < 400 && session.closes.length === 0; index++) {
        session.connection.send({ _tag: "BodyChunk", requestId: "none", token: 1, bytes: chunk })
      }
      const closed = await until("it was cut off", () => session.closes[0])
      assert.include(closed.reason, "does not read")
      assert.isAtLeast(plane.sessions.length, 1)
    })
  })
}
