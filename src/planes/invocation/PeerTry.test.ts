import { once } from "node:events"
import { Agent, createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, assert, beforeEach, describe, it, vi } from "vitest"
import * as PeerTry from "./PeerTry.ts"

const listen = async (listener: RequestListener): Promise<{ readonly server: Server; readonly url: string }> => {
  const server = createServer(listener).listen(0, "127.0.0.1")
  await once(server, "listening")
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe("a call at an owner that loses its shard", () => {
  const agent = new Agent()
  const servers: Array<Server> = []
  /** Answers what the owner has under way. */
  let answer = () => {}
  let moved: (isSilent: boolean) => void = () => {}
  let tried: Promise<PeerTry.Tried> | undefined
  let answered: Promise<Response> | undefined

  beforeEach(async () => {
    let arrived = () => {}
    const isThere = new Promise<void>((resolve) => {
      arrived = resolve
    })
    const owner = await listen((_, response) => {
      answer = () => response.end("done")
      arrived()
    })
    const gateway = await listen((request, response) => {
      tried = PeerTry.tryOnce({
        agent,
        url: owner.url,
        secret: "s",
        say: { requestId: "r", isAttach: false },
        request,
        response,
        body: new Uint8Array(0),
        bodyBegins: () => {},
        onMoved: (listener) => {
          moved = listener
          return () => {}
        }
      })
      void tried.then((outcome) => {
        if (outcome !== "answered") response.end(outcome)
      })
    })
    servers.push(owner.server, gateway.server)
    answered = fetch(gateway.url)
    await isThere
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  })
  afterEach(() => {
    vi.useRealTimers()
    for (const server of servers.splice(0)) {
      server.closeAllConnections()
      server.close()
    }
  })

  const isSettled = async (): Promise<boolean> => {
    const not = Symbol("not")
    // As many turns of the event loop as what was given up takes.
    for (let turn = 0; turn < 10; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    return (await Promise.race([tried, Promise.resolve(not)])) !== not
  }

  it("is given up soon when that one fell silent: it had stopped to answer before another could take over", async () => {
    moved(true)
    vi.advanceTimersByTime(199)
    assert.isFalse(await isSettled())
    vi.advanceTimersByTime(1)
    assert.strictEqual(await tried, "lost")
  })

  it("is waited for when that one handed over: its answer may be under way", async () => {
    moved(false)
    vi.advanceTimersByTime(999)
    assert.isFalse(await isSettled())
    answer()
    assert.strictEqual(await (await answered)?.text(), "done")
    assert.strictEqual(await tried, "answered")
  })

  it("is given up in the end also then", async () => {
    moved(false)
    vi.advanceTimersByTime(1_000)
    assert.strictEqual(await tried, "lost")
  })
})
