/**
 * One try to have a call answered by another gateway: passes it on with what there is of its body, and the answer back,
 * with backpressure both ways. Whoever of the two ends goes away takes the other along.
 *
 * @module
 */
import { type Agent, type ClientRequest, type IncomingMessage, request as open, type ServerResponse } from "node:http"
import * as Peers from "./Peers.ts"

export type Tried =
  /** The caller has its answer, or has left. */
  | "answered"
  | Peers.Outcome
  /** It never got there. */
  | "unsent"
  /** It may have got there. */
  | "lost"

export interface PeerTryInit {
  readonly agent: Agent
  readonly url: string
  readonly secret: string
  readonly say: Peers.PeerSay
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Undefined: it comes in behind the head, once the owner asks for it. */
  readonly body: Uint8Array | undefined
  /** The body begins to be passed on: it is not here for another try. */
  readonly bodyBegins: () => void
  /**
   * Calls back when the shard has another owner than this one, which may stand still and never say so. `isSilent`: it did
   * not hand it over. Answers a way to stop.
   */
  readonly onMoved: (listener: (isSilent: boolean) => void) => () => void
}

const connectMs = 2_000
/**
 * How long the answer of one that has handed its shard over may be under way. Its successor need not know of a call that
 * was answered before, so an answer that is dropped here would be told as unknown.
 */
const movedGraceMs = 1_000
/** That of one whose lease ran out: it stopped to answer well before its successor could take the shard. */
const silentGraceMs = 200

export const tryOnce = (init: PeerTryInit): Promise<Tried> =>
  new Promise((resolve) => {
    const { agent, url, secret, say, request, response, body } = init
    if (response.destroyed) return resolve("answered")
    const { hostname, port } = new URL(url)
    const upstream = open({
      agent,
      hostname,
      port,
      method: request.method,
      path: request.url,
      headers: Peers.headersOf(request, { ...say, secret }, body?.length)
    })
    let isConnected = false
    let isAnswering = false
    let isTold = body !== undefined
    let grace: NodeJS.Timeout | undefined
    const settled = () => {
      clearTimeout(grace)
      stop()
    }
    const done = (tried: Tried) => {
      response.off("close", left)
      settled()
      resolve(tried)
    }
    const broken = () => done(isConnected && isTold ? "lost" : "unsent")
    const left = () => {
      upstream.destroy()
      done("answered")
    }
    response.on("close", left)
    const giveUp = () => {
      if (isAnswering) return
      upstream.destroy()
      broken()
    }
    const stop = init.onMoved((isSilent) => {
      const graceMs = isSilent ? silentGraceMs : movedGraceMs
      // What this process had no time to read by then is read before it gives up.
      grace ??= setTimeout(() => setImmediate(() => setImmediate(giveUp)), graceMs)
    })
    connecting(upstream, () => {
      isConnected = true
    })
    upstream.on("continue", () => {
      isTold = true
      init.bodyBegins()
      request.pipe(upstream)
      request.on("close", () => {
        if (!request.complete) upstream.destroy()
      })
    })
    upstream.on("error", () => {
      if (!isAnswering) broken()
    })
    upstream.on("response", (answered: IncomingMessage) => {
      isAnswering = true
      settled()
      const outcome = Peers.outcomeOf(answered)
      if (outcome !== undefined) {
        answered.resume()
        return done(outcome)
      }
      pass(answered, response)
      response.off("close", left)
      response.on("close", () => {
        if (!answered.complete) upstream.destroy()
        resolve("answered")
      })
      response.on("finish", () => resolve("answered"))
    })
    if (body === undefined) upstream.flushHeaders()
    else upstream.end(body)
  })

/** A peer that cannot be reached must not be waited for as long as the system would. */
const connecting = (upstream: ClientRequest, connected: () => void): void => {
  upstream.on("socket", (socket) => {
    if (!socket.connecting) return connected()
    const timer = setTimeout(() => upstream.destroy(), connectMs)
    socket.once("connect", () => {
      clearTimeout(timer)
      connected()
    })
    socket.once("close", () => clearTimeout(timer))
  })
}

const pass = (answered: IncomingMessage, response: ServerResponse): void => {
  response.writeHead(answered.statusCode ?? 502, Peers.answerHeaders(answered))
  // A stream's head must not wait for its first byte.
  response.flushHeaders()
  answered.pipe(response)
  const broke = () => {
    if (!answered.complete) response.destroy()
  }
  answered.on("error", broke)
  answered.on("close", broke)
}
