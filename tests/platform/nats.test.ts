/**
 * The platform on NATS instead of its own store: what it accepted, deployed and answered is there after a restart.
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { defaultPrefix } from "../../src/planes/fabric/nats/NatsOptions.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import * as TestPlatform from "../support/TestPlatform.ts"

describe.skipIf(natsIsMissing)("the platform on NATS", () => {
  let server: RunningNats | undefined
  beforeAll(async () => {
    server = await startNats()
  })
  afterAll(() => server?.remove())

  const fabric = () => ({
    servers: [server!.url],
    system: { servers: [server!.systemUrl], credentials: { _tag: "Anonymous" as const } },
    prefix: defaultPrefix
  })

  /** How many orders each queue of the agents has had. */
  const ordered = async () => {
    const connection = await connect(connectionOptions([server!.url], { _tag: "Anonymous" }, "orders"))
    try {
      const { consumers } = await jetstreamManager(connection)
      const counts: Array<number> = []
      for (const stream of ["CreateNvcaFunctionTaskStream", "TerminateNvcaStream"]) {
        const { ack_floor } = await consumers.info(stream, `${stream}-local`)
        counts.push(ack_floor.stream_seq)
      }
      return counts
    } finally {
      await connection.close()
    }
  }

  it("wakes a function by its first call, and has its answers and functions after a restart", async () => {
    const first = await TestPlatform.start({ fabric: fabric() })
    const fn = await first.deploy("echo")
    const called = await fetch(`${fn.url}/`, { method: "POST", body: "hello" })
    assert.strictEqual(called.status, 200)
    assert.deepStrictEqual(await ordered(), [1, 0], "one instance was ordered by the queue that agents of NVCF read")
    const accepted = await fetch(`${fn.url}/`, {
      method: "POST",
      body: "later",
      headers: { prefer: "respond-async", "idempotency-key": "one" }
    })
    assert.strictEqual(accepted.status, 202)
    const { requestId } = JSON.parse(await accepted.text())
    const claim = (gatewayUrl: string) =>
      TestPlatform.eventually("the result", async () => {
        const response = await fetch(`${gatewayUrl}/v2/nvcf/pexec/status/${requestId}`)
        return response.status === 200 ? await response.text() : undefined
      })
    const answer = await claim(first.platform.gatewayUrl)
    await first.close({ keep: true })
    // The ownership was given back: else this would wait until its time is over.
    const second = await TestPlatform.start({ fabric: fabric(), stateDirectory: first.stateDirectory })
    try {
      assert.strictEqual(await claim(second.platform.gatewayUrl), answer)
      const again = await fetch(`${second.platform.gatewayUrl}/f/echo/`, { method: "POST", body: "hello" })
      assert.strictEqual(again.status, 200)
    } finally {
      await second.close()
    }
  }, 60_000)

  it("refuses a server that would lose what was accepted, before it opens a port", async () => {
    const unsafe = await startNats({ syncInterval: undefined })
    try {
      let message = ""
      const options = {
        ...fabric(),
        servers: [unsafe.url],
        system: { ...fabric().system, servers: [unsafe.systemUrl] }
      }
      await TestPlatform.start({ fabric: options }).catch((error: Error) => {
        message = error.message
      })
      assert.include(message, "sync_interval: always")
    } finally {
      await unsafe.remove()
    }
  })
})
