/**
 * Calls of shards that this gateway does not have: passed on to the owner, or held for a moment while there is none.
 *
 * F1 a call is sent again only while it is certain that no owner took it. F2 once an owner may have it, its successor is
 * asked for it by its id, and what it answers is the answer of the call; one that it does not know was not kept, and its
 * caller is told that nobody knows whether it ran. With an idempotency key it is sent again instead. F3 what is asked about
 * a request is asked again as often as its owner changes. F4 nothing waits longer than `holdMs` for an owner.
 *
 * @module
 */
import { Agent, type IncomingMessage, type ServerResponse } from "node:http"
import * as HttpDoor from "../HttpDoor.ts"
import * as Peers from "./Peers.ts"
import * as PeerTry from "./PeerTry.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Problem from "./Problem.ts"
import type { Place, Shards } from "./Shards.ts"

export interface ForwarderInit {
  readonly shards: Shards
  readonly secret: string
  readonly problem: (job: Job, problem: Problem.Problem) => void
  readonly defect: (error: unknown) => void
  /** How long a call waits for an owner of its shard. Default: 10,000. */
  readonly holdMs?: number | undefined
}

export interface Job {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly receivedMs: number
  readonly index: number
  readonly requestId: string
  /** It comes from another gateway. */
  readonly isPeer: boolean
  /** With an idempotency key: it may be sent twice. */
  readonly isKeyed: boolean
  /** Where its body was read already. */
  readonly body?: Uint8Array | undefined
  /** Takes it here; only while nothing of its body was read. */
  readonly local: () => void
}

const holdDefaultMs = 10_000
/** After a try that an owner did not take, while the news of the next one is on its way. */
const againMs = 30
/** Bodies up to this size are read before they are passed on, so that they can be passed on again. */
const keptBodyBytesMax = 64 * 1024
const noBody = new Uint8Array(0)

export class Forwarder {
  readonly #init: ForwarderInit
  readonly #holdMs: number
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 256, scheduling: "lifo" })

  constructor(init: ForwarderInit) {
    this.#init = init
    this.#holdMs = init.holdMs ?? holdDefaultMs
  }

  close(): void {
    this.#agent.destroy()
  }

  sayOf(request: IncomingMessage): Peers.PeerSay | undefined {
    return Peers.sayOf(request, this.#init.secret)
  }

  /** A new call. */
  call(job: Job): void {
    this.#guard(job, this.#call(job))
  }

  /** A question about a request; asking twice changes nothing. */
  ask(job: Job): void {
    this.#guard(job, this.#ask(job))
  }

  /** An owner may have the call, or had it: hear of it from whoever has it now. */
  attach(job: Job): void {
    if (job.isPeer) Peers.answer(job.response, "moved")
    else this.#guard(job, this.#attach(job))
  }

  #guard(job: Job, work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#init.defect(error)
      this.#init.problem(job, Problem.ownerChanging())
    })
  }

  async #call(job: Job): Promise<void> {
    const untilMs = nowMs() + this.#holdMs
    let body = job.body
    let isBodyGone = false
    for (;;) {
      const place = await this.#settled(job, untilMs)
      if (job.response.destroyed) return
      if (place === undefined) return this.#nowhere(job, Problem.shardMoving())
      if (place.kind === "here" && body === undefined) return job.local()
      const url = this.#urlOf(place)
      if (body === undefined && isSmall(job.request)) {
        body = await read(job.request)
        if (body === undefined) return
      }
      const tried = await this.#try(job, url, body, false, () => {
        isBodyGone = true
      })
      if (tried === "answered") return
      if (tried === "moved" || tried === "lost" || tried === "unknown-request" || isBodyGone) {
        return this.#attach({ ...job, body })
      }
      if (nowMs() > untilMs) return this.#nowhere(job, Problem.shardMoving())
      await sleep(againMs)
    }
  }

  async #ask(job: Job): Promise<void> {
    let untilMs = nowMs() + this.#holdMs
    for (;;) {
      const place = await this.#settled(job, untilMs)
      if (job.response.destroyed) return
      if (place === undefined) return this.#nowhere(job, Problem.ownerChanging())
      if (place.kind === "here") return job.local()
      const tried = await this.#try(job, this.#urlOf(place), noBody, false)
      if (tried === "answered") return
      // It waited there: what it waits for is worth as long again.
      if (tried === "moved") untilMs = nowMs() + this.#holdMs
      if (nowMs() > untilMs) return this.#nowhere(job, Problem.ownerChanging())
      await sleep(againMs)
    }
  }

  async #attach(job: Job): Promise<void> {
    let untilMs = nowMs() + this.#holdMs
    for (;;) {
      const place = await this.#settled(job, untilMs)
      if (job.response.destroyed) return
      if (place === undefined) return this.#nowhere(job, Problem.ownerChanging())
      const sinceMs = nowMs()
      const tried = await this.#try(job, this.#urlOf(place), noBody, true)
      if (tried === "answered") return
      if (tried === "unknown-request") {
        // Its key makes it the same request, should there be one after all.
        return job.isKeyed && job.body !== undefined ? this.#call(job) : this.#init.problem(job, Problem.ownerLost())
      }
      if (tried === "moved" || nowMs() - sinceMs > this.#holdMs) untilMs = nowMs() + this.#holdMs
      if (nowMs() > untilMs) return this.#nowhere(job, Problem.ownerChanging())
      await sleep(againMs)
    }
  }

  #nowhere(job: Job, problem: Problem.Problem): void {
    if (job.isPeer) Peers.answer(job.response, "not-owner")
    else this.#init.problem(job, problem)
  }

  #urlOf(place: Exclude<Place, { kind: "changing" }>): string {
    const address = place.kind === "peer" ? place.address : this.#init.shards.address
    if (address === undefined) throw new Error("invariant broken: who has a shard that moves has an address")
    return address.peerUrl
  }

  #try(
    { request, response, requestId, index }: Job,
    url: string,
    body: Uint8Array | undefined,
    isAttach: boolean,
    bodyBegins: () => void = () => {}
  ): Promise<PeerTry.Tried> {
    const say = { requestId, isAttach }
    const { secret, shards } = this.#init
    const onMoved = (listener: (isSilent: boolean) => void) =>
      shards.onChange(() => {
        const place = shards.placeOf(index)
        if (place.kind !== "changing" && this.#urlOf(place) !== url) listener(shards.fellSilent(index))
      })
    return PeerTry.tryOnce({ agent: this.#agent, url, secret, say, request, response, body, bodyBegins, onMoved })
  }

  /** Where it is taken; undefined: nobody has it until then, or, for one that was passed on, it is not this one. */
  #settled(
    { index, isPeer, response }: Job,
    untilMs: number
  ): Promise<Exclude<Place, { kind: "changing" }> | undefined> {
    return new Promise((resolve) => {
      const { shards } = this.#init
      const look = (): boolean => {
        const place = shards.placeOf(index)
        if (place.kind === "here" || (place.kind === "peer" && !isPeer)) {
          done(place)
          return true
        }
        if (!isPeer || (place.kind === "changing" && place.isMine)) return false
        done(undefined)
        return true
      }
      const done = (place: Exclude<Place, { kind: "changing" }> | undefined) => {
        clearTimeout(timer)
        stop()
        response.off("close", left)
        resolve(place)
      }
      const left = () => done(undefined)
      const timer = setTimeout(left, Math.max(0, untilMs - nowMs()))
      const stop = shards.onChange(look)
      response.on("close", left)
      look()
    })
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

const isSmall = (request: IncomingMessage): boolean => {
  if (!HttpDoor.hasBody(request)) return true
  const length = request.headers["content-length"]
  return length !== undefined && Number(length) <= keptBodyBytesMax
}

/** Undefined: its caller left. */
const read = (request: IncomingMessage): Promise<Uint8Array | undefined> =>
  new Promise((resolve) => {
    if (!HttpDoor.hasBody(request)) {
      request.resume()
      return resolve(noBody)
    }
    const parts: Array<Buffer> = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => resolve(Buffer.concat(parts)))
    request.on("close", () => resolve(undefined))
    request.on("error", () => resolve(undefined))
  })
