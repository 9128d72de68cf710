import { Agent, createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import { afterEach, describe, expect, it } from "vitest"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { CallReply, type CallReplyInit } from "./CallReply.ts"

const closers: Array<() => void> = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** `bytes`: of the one blob. Undefined: it cannot be read. */
const blobStore = (bytes: Uint8Array | undefined): BlobStore["Service"] => ({
  create: () => Promise.reject(new Error("no blob is made here")),
  read: async function* () {
    if (bytes === undefined) throw new Error("the blob is damaged")
    yield bytes
  },
  size: () => (bytes === undefined ? Effect.die(new Error("the blob is damaged")) : Effect.succeed(bytes.length)),
  remove: () => Effect.void,
  list: () => Effect.succeed([])
})

interface Heard {
  readonly status: number | undefined
  readonly headers: NodeJS.Dict<string | string[]>
  readonly text: string
  /** The answer came to an honest end, for the server as well. */
  readonly complete: boolean
  readonly defects: ReadonlyArray<unknown>
}

/** What a caller hears of a reply that `say` makes. */
const hear = (
  say: (reply: CallReply) => void,
  init: Partial<Pick<CallReplyInit, "wrapped" | "eventIds">> = {},
  blob?: Uint8Array
) =>
  new Promise<Heard>((resolve) => {
    const defects: Array<unknown> = []
    const ended = Promise.withResolvers<boolean>()
    const server = createServer((_, response) => {
      response.on("close", () => ended.resolve(response.writableFinished))
      const stamp = () => ({ requestId: "r1", receipt: "total;dur=1", origin: undefined })
      const defect = (error: unknown) => defects.push(error)
      say(new CallReply({ response, stamp, wrapped: false, eventIds: false, blobs: blobStore(blob), defect, ...init }))
    })
    closers.push(() => server.close())
    const agent = new Agent({ keepAlive: true })
    closers.push(() => agent.destroy())
    server.listen(0, "127.0.0.1", () => {
      // The server listens on a port of TCP.
      const { port } = server.address() as AddressInfo
      const asked = request({ host: "127.0.0.1", port, agent }, async (answer) => {
        let text = ""
        try {
          for await (const chunk of answer) text += String(chunk)
        } catch {
          // Broken off: `complete` tells.
        }
        const { statusCode: status, headers } = answer
        resolve({ status, headers, text, complete: answer.complete && (await ended.promise), defects })
      })
      // Broken off before its head arrived.
      asked.on("error", () => resolve({ status: undefined, headers: {}, text: "", complete: false, defects }))
      asked.end()
    })
  })

const inline = (text: string, headers: ReadonlyArray<readonly [string, string]> = []) => ({
  status: 200,
  headers,
  body: { kind: "inline" as const, bytes: Buffer.from(text) }
})
const events = [["content-type", "text/event-stream"]] as const
const acceptance = { host: "fn.example", durable: true, keptUntilMs: 86_400_000 }

describe("the reply of a call", () => {
  it("shows a stream as it comes, and breaks it off where it is not as long as was announced", async () => {
    // A connection that is kept: the caller of a stream that is too short would wait for the rest for ever.
    const send = (length: number) => (reply: CallReply) => {
      expect(reply.head(201, [["content-length", String(length)]])).toBe(true)
      reply.chunk(Buffer.from("ab"))
      reply.chunk(Buffer.from("cd"))
      reply.done()
    }
    expect(await hear(send(4))).toMatchObject({ status: 201, text: "abcd", complete: true })
    expect(await hear(send(5))).toMatchObject({ complete: false })
    expect(await hear(send(3))).toMatchObject({ complete: false })
  })

  it("puts ids into a stream of events when its caller wants them, whether it comes or is kept", async () => {
    const text = "data: a\n\ndata: b\n"
    const streamed = await hear(
      (reply) => {
        reply.head(200, [...events, ["content-length", String(text.length)]])
        reply.chunk(Buffer.from(text))
        reply.done()
      },
      { eventIds: true }
    )
    const kept = await hear((reply) => reply.whole(inline(text, events), false), { eventIds: true })
    expect(streamed.text).toBe("id: r1:1\ndata: a\n\nid: r1:2\ndata: b\n")
    expect([streamed.complete, streamed.headers["content-length"]]).toEqual([true, undefined])
    expect(kept.text).toBe(streamed.text)
    expect((await hear((reply) => reply.whole(inline(text, events), false))).text).toBe(text)
  })

  it("wraps for exec what came in parts, at once or from a blob, and says the id in its JSON alone", async () => {
    const fulfilled = { reqId: "r1", status: "fulfilled", percentComplete: 100, response: { n: 1 } }
    const parts = await hear(
      (reply) => {
        expect(reply.head(200, [])).toBe(false)
        reply.chunk(Buffer.from('{"n":'))
        reply.chunk(Buffer.from("1}"))
        reply.done()
      },
      { wrapped: true }
    )
    const whole = await hear((reply) => reply.whole(inline('{"n":1}'), false), { wrapped: true })
    const blob = { status: 200, headers: [], body: { kind: "blob" as const, id: "b" } }
    const read = await hear((reply) => reply.whole(blob, false), { wrapped: true }, Buffer.from('{"n":1}'))
    for (const { text, headers } of [parts, whole, read]) {
      expect([JSON.parse(text), headers["nvcf-reqid"]]).toEqual([fulfilled, undefined])
    }
    const wrong = await hear((reply) => reply.whole(inline("no JSON"), false), { wrapped: true })
    expect([wrong.status, wrong.headers["nvcf-reqid"]]).toEqual([500, "r1"])
  })

  it("says of a replay that it is one", async () => {
    const replay = await hear((reply) => reply.whole(inline("x"), true))
    expect([replay.text, replay.headers["idempotency-replayed"], replay.headers["content-length"]]).toEqual([
      "x",
      "true",
      "1"
    ])
    expect((await hear((reply) => reply.whole(inline("x"), false))).headers["idempotency-replayed"]).toBeUndefined()
  })

  it("accepts with where to ask and until when, and for exec with the id alone", async () => {
    const accepted = await hear((reply) => reply.accepted("r1", acceptance))
    expect([accepted.status, accepted.headers.location, accepted.headers["retry-after"]]).toEqual([
      202,
      "/requests/r1",
      "1"
    ])
    expect(JSON.parse(accepted.text)).toEqual({
      requestId: "r1",
      status: "in-progress",
      statusUrl: "http://fn.example/requests/r1",
      resultUrl: "http://fn.example/requests/r1/result",
      cancelUrl: "http://fn.example/requests/r1/cancel",
      durable: true,
      expires: "1970-01-02T00:00:00.000Z"
    })
    const wrapped = await hear((reply) => reply.accepted("r1", acceptance), { wrapped: true })
    expect(JSON.parse(wrapped.text)).toEqual({ reqId: "r1", status: "in-progress" })
    expect(wrapped.headers["nvcf-reqid"]).toBeUndefined()
  })

  it("is a problem where a kept answer cannot be read back, and the defect is told", async () => {
    const blob = { status: 200, headers: [], body: { kind: "blob" as const, id: "b" } }
    for (const wrapped of [false, true]) {
      const heard = await hear((reply) => reply.whole(blob, false), { wrapped })
      expect([heard.status, heard.headers["content-type"]]).toEqual([503, "application/problem+json"])
      expect(heard.defects).toHaveLength(1)
    }
  })
})
