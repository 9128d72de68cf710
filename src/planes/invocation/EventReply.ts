/**
 * Answers a reader of an event stream: from the beginning, or after the last event that it saw.
 *
 * A stream that broke off ends with a broken connection, never as if it were whole. A reader that has seen all of it hears
 * 204, by which an `EventSource` stops; one that has seen all of a broken one hears the problem.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as EventFrames from "./EventFrames.ts"
import type { EventSource } from "./EventSource.ts"
import { EventsGone } from "./EventStream.ts"
import * as Problem from "./Problem.ts"
import * as Responder from "./Responder.ts"

/** What a reader asks for; undefined: it does not ask for a stream. */
export interface Wish {
  /** Its bytes as latin-1. */
  readonly lastEventId: string | undefined
  /** Frames without an id get one. */
  readonly withIds: boolean
}

export const wishOf = (request: IncomingMessage, withIds: boolean): Wish | undefined => {
  if (request.method !== "GET") return undefined
  const given = request.headers["last-event-id"]
  const lastEventId = Array.isArray(given) ? given[0] : given
  const accepts = /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i.test(request.headers.accept ?? "")
  if (lastEventId === undefined && !accepts) return undefined
  // An empty one is none: what an `EventSource` would not send.
  return { lastEventId: lastEventId === "" ? undefined : lastEventId, withIds }
}

export interface Reader {
  readonly requestId: string
  readonly response: ServerResponse
  readonly stamp: Responder.Stamp
  readonly wish: Wish
  /** What became of a stream that broke off. */
  readonly broken: () => Problem.Problem
}

export const answer = async (reader: Reader, source: EventSource): Promise<void> => {
  const { response, stamp, wish, requestId } = reader
  const refuse = (problem: Problem.Problem) => Responder.problem(response, stamp, problem)
  let after = 0
  if (wish.lastEventId !== undefined) {
    const found = await source.find(wish.lastEventId)
    if (found === undefined) {
      return refuse(source.state() === "failed" ? reader.broken() : Problem.unknownEvent(latin1(wish.lastEventId)))
    }
    after = found
  }
  const count = await source.count()
  if (after >= count && source.state() !== "open") {
    if (source.state() === "failed") return refuse(reader.broken())
    if (count > 0) return Responder.empty(response, stamp)
  }
  if (after + 1 < source.firstKept()) return refuse(Problem.eventsNotKept())
  const abort = new AbortController()
  response.once("close", () => abort.abort())
  Responder.begin(response, stamp, source.status, withoutLength(source.headers))
  // A broken end must not take the events before it along: those that are known are on their way first.
  const breakOff = async () => {
    await lastWrite
    response.destroy()
  }
  let lastWrite: Promise<void> = Promise.resolve()
  try {
    for await (const { index, bytes } of source.follow(after, abort.signal)) {
      const shown = wish.withIds ? EventFrames.withId(bytes, EventFrames.idOf(requestId, index)) : bytes
      let isWritable = true
      lastWrite = new Promise((resolve) => {
        isWritable = response.write(shown, () => resolve())
      })
      if (!isWritable) await Responder.drained(response)
    }
  } catch (error) {
    await breakOff()
    if (!(error instanceof EventsGone)) throw error
    return
  }
  if (source.state() === "complete") response.end()
  else await breakOff()
}

export const withoutLength = (headers: HeaderList): HeaderList =>
  headers.filter(([name]) => name.toLowerCase() !== "content-length")

const latin1 = (text: string) => Buffer.from(text, "latin1").toString("utf8")
