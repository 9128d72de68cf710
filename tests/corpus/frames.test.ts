/**
 * Throws the corpus of worker frames at the worker port, over both transports: the connection ends with the code of its
 * fault and its reason, or what is stale is ignored, or the one call that it is about fails; nobody else notices.
 */
import { connect } from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Protobuf from "../../src/worker-sdk/protocol/ProtobufCodec.ts"
import { type OpenCall, open, readAll } from "../platform/support/Client.ts"
import { live } from "../platform/support/Given.ts"
import { mute } from "../platform/support/RawWorker.ts"
import { eventually } from "../support/TestPlatform.ts"
import { messagepack, protobuf } from "./frames/bytes.ts"
import type { Outcome, When } from "./frames/FrameCase.ts"
import { messageCases } from "./frames/messages.ts"
import * as FrameClient from "./support/FrameClient.ts"
import { type Ground, givenGround, worksAsEver } from "./support/Ground.ts"

const warm = givenGround()
let ground: Ground
let other: Ground
beforeAll(async () => {
  const { test } = warm()
  // A lost attempt is not tried again: what a bad worker does shows at once.
  const deployment = { maxInstances: 1, maxAttempts: 1 }
  ground = { test, fn: await test.deploy("frames", deployment, mute) }
  other = { test, fn: await test.deploy("other", deployment, mute) }
})

const faultCode = { ws: 1002, grpc: 3 } as const
const never: FrameClient.Assign = {
  _tag: "Assign",
  requestId: "01a1ff3b-0bb0-706d-8661-bef0b365cf62",
  token: 2,
  attempt: 1,
  deadlineMs: 0,
  tenant: "default",
  head: { method: "GET", path: "/", headers: [] },
  body: Buffer.alloc(0),
  bodyEnd: true
}

const callIt = (): OpenCall => {
  const headers = { "millrace-on-disconnect": "cancel" }
  const opened = open(`${ground.fn.url}/x`, { method: "GET", headers })
  opened.end()
  return opened
}

interface Thrown {
  readonly transport: FrameClient.Transport
  readonly when: When
  readonly outcome: Outcome
  readonly throwIt: (client: FrameClient.FrameClient, assign: FrameClient.Assign) => void
  readonly says?: RegExp | undefined
  readonly code?: number | undefined
}

const run = async ({ transport, when, outcome, throwIt, says, code }: Thrown) => {
  const client = await FrameClient.connected(ground, transport)
  let held: OpenCall | undefined
  try {
    if (when !== "connected") client.send(FrameClient.ready)
    if (when === "holding") held = callIt()
    const assign = held === undefined ? never : await FrameClient.assigned(client)
    throwIt(client, assign)
    if (outcome === "fault") {
      const ended = await client.ended
      expect(ended.code, ended.reason).toBe(code ?? faultCode[transport])
      if (says !== undefined) expect(ended.reason).toMatch(says)
      return
    }
    if (held !== undefined && outcome === "failed") {
      const answer = await readAll(await held.answer)
      expect([answer.status, answer.headers["content-type"]]).toEqual([502, "application/problem+json"])
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
      expect(answer.text).not.toMatch(/[\u0000-\u001f]/)
      expect(answer.bytes.length).toBeLessThan(5_000)
      if (says !== undefined) expect(answer.json()["detail"]).toMatch(says)
    }
    if (held !== undefined && outcome === "ignored") {
      client.send(FrameClient.rightAnswer(assign))
      expect((await readAll(await held.answer)).text).toBe("right")
    }
    // The connection is as good as before: the next call goes over it.
    const before = client.heard.filter(({ _tag }) => _tag === "Assign").length
    const next = callIt()
    client.send(FrameClient.rightAnswer(await FrameClient.assigned(client, before)))
    expect((await readAll(await next.answer)).text).toBe("right")
    expect(client.isOpen()).toBe(true)
  } finally {
    held?.leave()
    client.close()
    await eventually("nothing is left of it", () => live(ground.test, ground.fn.versionId).length === 0 || undefined)
  }
}

describe.each(["ws", "grpc"] as const)("over %s", (transport) => {
  describe("a message", () => {
    it.each(messageCases)("$name ($when): $outcome", ({ when, outcome, messages, says }) =>
      run({
        transport,
        when,
        outcome,
        says,
        throwIt: (client, assign) => {
          for (const message of messages(assign)) client.send(message)
        }
      })
    )
  })

  describe("bytes", () => {
    it.each(transport === "ws" ? messagepack : protobuf)("$name ($when): $outcome", (row) =>
      run({ transport, ...row, throwIt: (client) => client.bytes(row.bytes) })
    )
  })

  afterAll(() => worksAsEver(warm()))
})

describe("a credential", () => {
  const wrong: ReadonlyArray<readonly [string, () => Parameters<typeof FrameClient.connectOnceFrame>[0]]> = [
    ["that is empty", () => ({ ...FrameClient.introduction(ground), token: "" })],
    ["that is no token", () => ({ ...FrameClient.introduction(ground), token: "mw1.e30.AAAA" })],
    ["of 5,000 letters", () => ({ ...FrameClient.introduction(ground), token: "x".repeat(5_000) })],
    ["with a NUL", () => ({ ...FrameClient.introduction(ground), token: "mw1.\u0000.x" })],
    [
      "with another signature",
      () => ({ ...FrameClient.introduction(ground), token: `${FrameClient.introduction(ground).token}A` })
    ],
    ["that is over", () => FrameClient.introduction(ground, { expiresAtMs: Date.now() - 1 })],
    [
      "of another instance",
      () => ({ ...FrameClient.introduction(ground), token: FrameClient.introduction(ground).token })
    ],
    [
      "of another function",
      () => ({ ...FrameClient.introduction(ground), token: FrameClient.introduction(other).token })
    ],
    ["of its own for another version", () => ({ ...FrameClient.introduction(ground), versionId: other.fn.versionId })],
    ["of its own for an id that is none", () => ({ ...FrameClient.introduction(ground), functionId: "../x" })]
  ]

  it.each(wrong)("%s is refused on both transports", async (_, request) => {
    const client = await FrameClient.openWebSocket(ground)
    client.bytes(FrameClient.connectOnceFrame(request()))
    expect((await client.ended).code).toBe(4003)
    expect(client.heard).toMatchObject([{ _tag: "Refused", kind: "unauthenticated" }])
    const answer = await FrameClient.unary(ground, "ConnectOnce", Protobuf.encodeConnectOnceRequest(request()))
    expect([answer.code, answer.reason]).toEqual([16, expect.stringContaining("start the instance through Millrace")])
  })

  it.each([undefined, "", "Bearer ", "Bearer x", "Basic eA==", `Bearer ${"x".repeat(5_000)}`])(
    "%j opens no work stream",
    async (authorization) => {
      const client = FrameClient.openGrpc(ground, authorization)
      expect(await client.ended).toMatchObject({ code: 16, reason: expect.stringContaining("ConnectOnce first") })
    }
  )

  it("that was used for a stream opens no second one", async () => {
    const request = FrameClient.introduction(ground)
    const answer = await FrameClient.unary(ground, "ConnectOnce", Protobuf.encodeConnectOnceRequest(request))
    const response = Protobuf.decodeConnectOnceResponse(answer.bytes ?? Buffer.alloc(0))
    if ("_tag" in response) throw new Error(response.reason)
    const first = FrameClient.openGrpc(ground, `Bearer ${response.token}`)
    first.send(FrameClient.ready)
    const called = callIt()
    first.send(FrameClient.rightAnswer(await FrameClient.assigned(first)))
    expect((await readAll(await called.answer)).text).toBe("right")
    expect((await FrameClient.openGrpc(ground, `Bearer ${response.token}`).ended).code).toBe(16)
    first.close()
  })
})

describe("gRPC", () => {
  it.each([
    ["ConnectOnce", Buffer.from([0x0a, 0x7f]), 3],
    ["ConnectOnce", Buffer.alloc(2 * 1024 * 1024), 8],
    ["ConnectOnce", Buffer.alloc(0), 16],
    ["Nothing", Buffer.alloc(0), 12]
  ])("%s with bytes that are none is refused", async (method, bytes, code) => {
    expect((await FrameClient.unary(ground, method, bytes)).code).toBe(code)
  })
})

describe("frames of WebSocket and HTTP/2 themselves", () => {
  const handshake =
    "GET /v1/worker HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: millrace.worker.v1\r\n\r\n"
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
  const h2 = (length: number, type: number, flags: number, stream: number, body = "") =>
    String.fromCharCode(length >> 16, (length >> 8) & 255, length & 255, type, flags, 0, 0, 0, stream) + body
  const settings = h2(0, 4, 0, 0)

  it.each([
    ["a frame that is not masked", handshake, "\u0082\u0001\u000b"],
    ["a reserved bit", handshake, "\u00c2\u0080\u0000\u0000\u0000\u0000"],
    ["a reserved kind of frame", handshake, "\u0083\u0080\u0000\u0000\u0000\u0000"],
    ["a ping of 126 bytes", handshake, `\u0089\u00fe\u0000\u007e${"\u0000".repeat(130)}`],
    ["a ping in pieces", handshake, "\u0009\u0080\u0000\u0000\u0000\u0000"],
    ["a continuation of nothing", handshake, "\u0080\u0080\u0000\u0000\u0000\u0000"],
    [
      "a frame of exabytes",
      handshake,
      "\u0082\u00ff\u007f\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u0000\u0000\u0000\u0000"
    ],
    ["a close with a code of none", handshake, "\u0088\u0082\u0000\u0000\u0000\u0000\u0000\u0001"],
    ["a handshake of another version", handshake.replace("Version: 13", "Version: 99"), ""],
    ["a handshake without a key", handshake.replace(/Sec-WebSocket-Key.*\r\n/, ""), ""],
    ["a handshake with a key that is none", handshake.replace("AAAAAAAAAAAAAAAAAAAAAA==", "x"), ""],
    ["a handshake on another path", handshake.replace("/v1/worker", "/v1/../worker"), ""],
    ["settings of an odd length", preface, h2(5, 4, 0, 0, "\u0000\u0000\u0000\u0000\u0000")],
    ["data on no stream", preface + settings, h2(1, 0, 0, 0, "x")],
    ["a frame larger than agreed", preface + settings, h2(1_000_000, 0, 0, 1)],
    ["a head on a stream of the other side", preface + settings, h2(0, 1, 5, 2)],
    ["a continuation of no head", preface + settings, h2(0, 9, 4, 1)],
    ["a head that cannot be decompressed", preface + settings, h2(3, 1, 5, 1, "\u00ff\u00ff\u00ff")],
    ["an increment of nothing", preface + settings, h2(4, 8, 0, 0, "\u0000\u0000\u0000\u0000")]
  ])("%s ends its connection alone", async (_, before, bytes) => {
    const port = Number(new URL(ground.test.platform.workerUrl).port)
    const socket = connect(port, "127.0.0.1")
    socket.on("error", () => {})
    let seen = ""
    socket.on("data", (chunk) => {
      if (seen === "" && bytes !== "") socket.write(bytes, "latin1")
      seen += chunk.toString("latin1")
    })
    const closed = new Promise((resolve) => socket.on("close", resolve))
    socket.write(before, "latin1")
    await closed
    expect(seen).not.toBe("")
  })

  afterAll(() => worksAsEver(warm()))
})

it("has at least a hundred cases for each transport", () => {
  expect(messageCases.length + messagepack.length).toBeGreaterThanOrEqual(100)
  expect(messageCases.length + protobuf.length).toBeGreaterThanOrEqual(100)
})
