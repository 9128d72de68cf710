/**
 * How a worker finds the gateway that has its work, when there are several and the work moves between them.
 */
import { assert, describe, it } from "vitest"
import type { Connect, ConnectOptions } from "../../src/worker-sdk/connection/WorkerTransport.ts"
import { makeInvoke } from "../../src/worker-sdk/Invocation.ts"
import type { ConnectOnceResponse } from "../../src/worker-sdk/protocol/WorkerMessage.ts"
import { makeVirtualClock, settle } from "../../src/worker-sdk/testing/VirtualClock.ts"
import { Worker } from "../../src/worker-sdk/Worker.ts"

const response = (workUrl: string): ConnectOnceResponse => ({
  region: "test",
  otherRegions: [],
  workUrl,
  heartbeatMs: 1_000,
  visibilityTimeoutMs: 15_000,
  initialCreditBytes: 1_000,
  token: "fresh",
  tokenExpiresAtMs: 0,
  nowMs: 0
})

/** What each try comes to is said by the test. */
const start = (url: string) => {
  const clock = makeVirtualClock()
  const tries: Array<ConnectOptions> = []
  const connect: Connect = (options) => {
    tries.push(options)
    const closed = (reason: string) => setImmediate(() => options.events.onClosed({ reason }))
    return { send: () => true, finish: () => closed("finished"), destroy: closed }
  }
  const worker = new Worker({
    url,
    connect,
    request: { instanceId: "i", functionId: "f", versionId: "v", token: "t", workerId: "w", sdk: "test" },
    slots: 1,
    invoke: makeInvoke(() => new Response(), clock),
    phases: () => ({ processMs: 0, initialiseMs: 0, connectMs: 0 }),
    clock,
    chance: () => 0,
    log: () => {}
  })
  worker.start()
  const last = () => tries.at(-1)!
  return { clock, tries, last, urls: () => tries.map((one) => one.url) }
}

describe("a worker of several gateways", () => {
  it("asks the next one where one does not answer, and comes round to the first again", async () => {
    const { clock, last, urls } = start("ws://a, ws://b,ws://c")
    for (let round = 0; round < 3; round++) {
      last().events.onClosed({ reason: "nobody is there" })
      await clock.advance(5_000)
    }
    assert.deepStrictEqual(urls(), ["ws://a", "ws://b", "ws://c", "ws://a"])
  })

  it("goes where it is sent, and asks the gateway that sent it when the work has moved on", async () => {
    const { clock, last, urls } = start("ws://a,ws://b")
    last().events.onConnected(response("ws://owner"))
    await settle()
    assert.deepStrictEqual(last().hello, { kind: "open", token: "fresh" })
    last().events.onConnected(undefined)
    last().events.onClosed({ reason: "the work moves" })
    await clock.advance(100)
    assert.deepStrictEqual(urls(), ["ws://a", "ws://owner", "ws://a"])
    assert.strictEqual(last().hello.kind, "connect-once")
  })

  it("asks again soon while the work is between two owners, and not for ever so soon", async () => {
    const { clock, last, tries } = start("ws://a")
    for (let round = 0; round < 50; round++) {
      last().events.onClosed({ reason: "changing", refusal: "unavailable" })
      await clock.advance(100)
    }
    assert.strictEqual(tries.length, 51)
    for (let round = 0; round < 8; round++) {
      last().events.onClosed({ reason: "changing", refusal: "unavailable" })
      await clock.advance(2_500)
    }
    last().events.onClosed({ reason: "changing", refusal: "unavailable" })
    await clock.advance(2_400)
    assert.strictEqual(tries.length, 59, "by then the pauses have grown to their bound")
  })
})
