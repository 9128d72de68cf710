import { connect } from "node:net"
import { Effect } from "effect"
import { afterEach, assert, describe, it } from "vitest"
import { listen } from "../../src/planes/invocation/worker-transport/WorkerListener.ts"
import { FakePlane, type PlaneOptions, until } from "./FakePlane.ts"
import { startWorker } from "./inProcessWorker.ts"

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const openPlane = async (options?: PlaneOptions): Promise<FakePlane> => {
  const plane = await FakePlane.open(options)
  cleanUps.push(() => plane.close())
  return plane
}

const talk = (port: number, bytes: ReadonlyArray<string | Buffer>) => {
  const socket = connect(port, "127.0.0.1")
  cleanUps.push(() => socket.destroy())
  const seen = { text: "", closed: false }
  socket.on("data", (chunk) => {
    seen.text += chunk.toString("latin1")
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    seen.closed = true
  })
  const send = async () => {
    for (const part of bytes) {
      socket.write(part)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { seen, send, socket }
}

describe("worker port", () => {
  it("a taken port is an error that names it", async () => {
    const plane = await openPlane()
    const workers = {
      connectOnce: () => ({ kind: "unavailable", message: "" }) as const,
      open: () => ({ kind: "unavailable", message: "" }) as const
    }
    const options = { host: "127.0.0.1", port: plane.port, workers, heartbeatMs: 1000 }
    const error = await Effect.runPromise(Effect.scoped(Effect.flip(listen(options))))
    assert.strictEqual(error._tag, "CannotListen")
    assert.include(error.message, String(plane.port))
    assert.include(error.message, "--worker-port")
    const other = await Effect.runPromise(Effect.scoped(Effect.flip(listen({ ...options, host: "192.0.2.1" }))))
    assert.strictEqual(other._tag, "CannotListen")
  })

  it("both transports work on one port at the same time", async () => {
    const plane = await openPlane()
    for (const scheme of ["ws", "grpc"] as const) {
      const { worker } = startWorker(plane, scheme, () => new Response(scheme))
      cleanUps.push(() => worker.drain("the test is over"))
    }
    for (const index of [0, 1]) {
      const session = await plane.session(index)
      session.assign()
    }
    const texts = await until("two answers", () => {
      const heads = plane.sessions.flatMap((session) => session.of("ResponseHead"))
      return heads.length === 2 && heads.map((head) => Buffer.from(head.body).toString())
    })
    assert.sameMembers(texts, ["ws", "grpc"])
  })

  it("plain HTTP gets a sentence", async () => {
    const plane = await openPlane()
    const response = await fetch(`http://127.0.0.1:${plane.port}/`)
    assert.strictEqual(response.status, 404)
    assert.include(await response.text(), "worker port")
  })

  it("a request that comes byte by byte is told apart all the same", async () => {
    const plane = await openPlane()
    const { seen, send } = talk(plane.port, [..."POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"])
    await send()
    await until("an answer", () => seen.text.includes("404"))
  })

  it("bytes of no protocol end that connection only", async () => {
    const plane = await openPlane({ handshakeMs: 300 })
    const { worker } = startWorker(plane, "ws", () => new Response("fine"))
    cleanUps.push(() => worker.drain("the test is over"))
    const session = await plane.session()
    const garbage = [
      Buffer.from([0, 1, 2, 3, 255]),
      "GET /v1/worker HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
      "GET /else HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame of any kind, and long enough to be one",
      "PR",
      ""
    ]
    for (const bytes of garbage) {
      const { seen, send } = talk(plane.port, [bytes])
      await send()
      await until(
        `the end of ${JSON.stringify(bytes).slice(0, 40)}`,
        () => seen.closed,
        () => seen
      )
    }
    session.assign()
    await until("an answer", () => session.of("ResponseHead")[0])
    assert.strictEqual(plane.sessions.length, 1)
  })

  it("closing the scope ends every connection and frees the port", async () => {
    const plane = await FakePlane.open()
    const { worker } = startWorker(plane, "ws", () => new Response("x"))
    cleanUps.push(() => worker.drain("the test is over"))
    const session = await plane.session()
    await plane.close()
    await until("the session ended", () => session.closes[0])
    const workers = {
      connectOnce: () => ({ kind: "unavailable", message: "" }) as const,
      open: () => ({ kind: "unavailable", message: "" }) as const
    }
    const again = listen({ host: "127.0.0.1", port: plane.port, workers, heartbeatMs: 1000 })
    assert.strictEqual((await Effect.runPromise(Effect.scoped(again))).port, plane.port)
  })
})
