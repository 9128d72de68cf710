/**
 * Where a reader's frames come from: the stream that is kept, or the kept answer cut into frames.
 *
 * @module
 */
import type { BlobStore } from "../fabric/BlobStore.ts"
import { chunks } from "./Body.ts"
import type { Answer } from "./Entry.ts"
import * as EventFrames from "./EventFrames.ts"
import type { EventStream, Frame } from "./EventStream.ts"

export interface EventSource {
  readonly status: number
  readonly headers: Answer["headers"]
  /** Frames that are known so far. */
  readonly count: () => Promise<number>
  /** The first frame that can be read. */
  readonly firstKept: () => number
  readonly state: () => EventStream["state"]
  readonly find: (id: string) => Promise<number | undefined>
  /** Frames after this one, until the end. */
  readonly follow: (after: number, signal: AbortSignal) => AsyncIterable<Frame>
}

export const ofStream = (stream: EventStream): EventSource => ({
  status: stream.facts.status,
  headers: stream.facts.headers,
  count: async () => stream.count,
  firstKept: () => stream.firstKept,
  state: () => stream.state,
  find: (id) => stream.find(id),
  follow: (after, signal) => stream.follow(after, signal)
})

export const ofAnswer = (requestId: string, answer: Answer, blobs: BlobStore["Service"]): EventSource => {
  const all = async function* (): AsyncGenerator<Frame> {
    const splitter = new EventFrames.Splitter()
    let index = 1
    for await (const bytes of chunks(blobs, answer.body)) {
      for (const frame of splitter.push(bytes)) yield { index: index++, bytes: frame }
    }
    const rest = splitter.end()
    if (rest !== undefined) yield { index, bytes: rest }
  }
  const count = async () => {
    let last = 0
    for await (const { index } of all()) last = index
    return last
  }
  return {
    status: answer.status,
    headers: answer.headers,
    count,
    firstKept: () => 1,
    state: () => "complete",
    find: async (id) => {
      const given = EventFrames.indexOf(requestId, id)
      if (given !== undefined) return given <= (await count()) ? given : undefined
      for await (const { index, bytes } of all()) if (EventFrames.ownId(bytes) === id) return index
      return undefined
    },
    follow: async function* (after, signal) {
      for await (const frame of all()) {
        if (signal.aborted) return
        if (frame.index > after) yield frame
      }
    }
  }
}
