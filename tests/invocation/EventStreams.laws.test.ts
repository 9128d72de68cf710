/**
 * Laws V1 to V3 on a log in memory: a function streams, a reader is cut off again and again at random and goes on after
 * the last event that it saw, and the store is closed and opened in between.
 *
 * Every third stream is short enough to be written as one block, and in about half of all runs the store is opened anew
 * while a reader is in the middle.
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as EventFrames from "../../src/planes/invocation/EventFrames.ts"
import { type EventStream, EventsGone } from "../../src/planes/invocation/EventStream.ts"
import { defaults, EventStreams } from "../../src/planes/invocation/EventStreams.ts"
import * as MemoryLog from "../support/MemoryLog.ts"

const requestId = "01938f5e-7c1a-7d3e-9a40-2f6b1c8d0e11"
const facts = (token = 1) => ({
  requestId,
  tenant: "default",
  token,
  attempt: 1,
  workerId: "w",
  status: 200,
  headers: [["content-type", "text/event-stream"]] as const
})

const opened = (log: MemoryLog.MemoryLog, options: Partial<typeof defaults> = {}, nowMs = () => 1_000) =>
  Effect.runPromise(
    EventStreams.open({ log: log.service, name: "streams", options: { ...defaults, lingerMs: 0, ...options }, nowMs })
  )

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

const frame = (index: number, hasId: boolean, size: number) =>
  Buffer.from(`${hasId ? `id: own-${index}\n` : ""}data: ${index} ${"x".repeat(size)}\n\n`)

/** Reads at most `countMax` frames after the event with this id; answers the id of the last one too. */
const read = async (stream: EventStream, lastId: string | undefined, countMax: number) => {
  const abort = new AbortController()
  const parts: Array<Uint8Array> = []
  const after = lastId === undefined ? 0 : await stream.find(lastId)
  if (after === undefined) throw new Error(`no event has the id ${lastId}`)
  let last = lastId
  if (countMax > 0) {
    for await (const { index, bytes } of stream.follow(after, abort.signal)) {
      parts.push(bytes)
      last = EventFrames.ownId(bytes) ?? EventFrames.idOf(requestId, index)
      if (parts.length >= countMax) abort.abort()
    }
  }
  return { parts, last, isEnd: parts.length < countMax }
}

describe("event streams", () => {
  it("V1, V2: what a reader saw over any number of reconnects is the stream", async () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ read: fc.integer({ min: 1, max: 6 }) }) },
      { weight: 3, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 5 }) }) },
      { weight: 1, arbitrary: fc.constant({ turn: true as const }) }
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ hasId: fc.boolean(), size: fc.integer({ min: 0, max: 300 }) }), { maxLength: 25 }),
        fc.array(step, { maxLength: 25 }),
        fc.boolean(),
        async (frames, steps, reopens) => {
          const log = MemoryLog.make()
          let streams = await opened(log)
          let stream = streams.begin(facts(), true)
          const whole = frames.map(({ hasId, size }, index) => frame(index + 1, hasId, size))
          let pushed = 0
          let seen: Array<Uint8Array> = []
          let last: string | undefined
          const push = (count: number) => {
            for (const bytes of whole.slice(pushed, pushed + count)) {
              // In two pieces, as the network likes.
              stream.push(bytes.subarray(0, 5))
              stream.push(bytes.subarray(5))
            }
            pushed = Math.min(whole.length, pushed + count)
          }
          const readSome = async (count: number) => {
            const got = await read(stream, last, count)
            seen = [...seen, ...got.parts]
            last = got.last
            return got.isEnd
          }
          for (const step of steps) {
            if ("push" in step) push(step.push)
            else if ("turn" in step) await turn()
            else await readSome(Math.min(step.read, pushed - seen.length))
          }
          const rest = readSome(Number.POSITIVE_INFINITY)
          push(whole.length)
          streams.complete(stream)
          assert.isTrue(await rest)
          if (reopens) {
            await streams.flushed()
            streams = await opened(log)
            stream = streams.get(requestId) ?? assert.fail("the stream is gone")
            assert.strictEqual(stream.state, "complete")
          }
          assert.isTrue(await readSome(Number.POSITIVE_INFINITY))
          assert.strictEqual(Buffer.concat(seen).toString(), Buffer.concat(whole).toString())
        }
      ),
      { numRuns: 200 }
    )
  })

  it("V1: after a crash what is there is a beginning of the stream, of which nothing in between is missing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 8 }), async (count, turns) => {
        const log = MemoryLog.make()
        const streams = await opened(log)
        const stream = streams.begin(facts(), true)
        await stream.shown
        for (let index = 1; index <= count; index++) {
          stream.push(frame(index, false, 10))
          if (index % 3 === 0) await turn()
        }
        for (let index = 0; index < turns; index++) await turn()
        // No goodbye: another process finds what is there.
        const after = await opened(log)
        const found = after.get(requestId) ?? assert.fail("a stream that was shown is gone")
        assert.deepEqual([found.state, found.isShown], ["open", true])
        after.interrupt(found)
        const got = await read(found, undefined, Number.POSITIVE_INFINITY)
        const whole = Array.from({ length: count }, (_, index) => frame(index + 1, false, 10))
        assert.strictEqual(
          Buffer.concat(got.parts).toString(),
          Buffer.concat(whole.slice(0, got.parts.length)).toString()
        )
        assert.strictEqual(found.state, "failed")
      }),
      { numRuns: 60 }
    )
  })

  it("V3: a stream that nobody saw is gone with its attempt, and the next attempt's takes its place", async () => {
    const log = MemoryLog.make()
    const streams = await opened(log)
    const first = streams.begin(facts(1), false)
    first.push(frame(1, true, 1))
    streams.interrupt(first)
    assert.isUndefined(streams.get(requestId))
    const second = streams.begin(facts(2), false)
    second.push(frame(1, true, 2))
    await streams.show(second)
    await streams.flushed()
    const again = (await opened(log)).get(requestId)
    assert.deepEqual([again?.facts.token, again?.isShown], [2, true])
    const got = await read(second, undefined, 1)
    assert.strictEqual(Buffer.concat(got.parts).toString(), frame(1, true, 2).toString())
  })

  it("are bounded in size and time: what is gone is said to be gone, and the log is freed", async () => {
    let nowMs = 1_000
    const log = MemoryLog.make()
    const limits = { bytesMax: 200_000, streamBytesMax: 20_000, retentionMs: 10_000 }
    const streams = await opened(log, limits, () => nowMs)
    const stream = streams.begin(facts(), true)
    for (let index = 1; index <= 1_000; index++) {
      stream.push(frame(index, false, 500))
      await turn()
    }
    await streams.flushed()
    assert.isBelow(stream.keptBytes, 21_000)
    assert.isBelow(log.bytes("streams"), 250_000)
    assert.isAbove(stream.firstKept, 900)
    const gone = await read(stream, EventFrames.idOf(requestId, 3), 5).catch((error: unknown) => error)
    assert.instanceOf(gone, EventsGone)
    const tail = await read(stream, EventFrames.idOf(requestId, 998), 2)
    assert.strictEqual(
      Buffer.concat(tail.parts).toString(),
      frame(999, false, 500).toString() + frame(1_000, false, 500)
    )
    // It runs longer than its events are kept, and is known all the same, also to the next process.
    nowMs += 20_000
    streams.prune()
    await streams.flushed()
    const next = await opened(log, limits, () => nowMs)
    const found = next.get(requestId) ?? assert.fail("a stream that runs is gone")
    assert.deepEqual([found.isShown, found.state], [true, "open"])
    next.complete(found)
    await next.flushed()
    nowMs += 20_000
    next.prune()
    assert.isUndefined(next.get(requestId))
    await turn()
    assert.isBelow(log.bytes("streams"), 1_000)
  })

  it("are given up when they cannot be stored: readers hear it, and the stream goes on for its caller", async () => {
    const log = MemoryLog.make()
    const streams = await opened(log)
    const stream = streams.begin(facts(), true)
    await stream.shown
    stream.push(frame(1, false, 1))
    const reading = read(stream, undefined, 10).catch((error: unknown) => error)
    log.fail = true
    for (let index = 0; index < 10; index++) await turn()
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.instanceOf(await reading, EventsGone)
    stream.push(frame(2, false, 1))
    streams.complete(stream)
    assert.strictEqual(stream.state, "complete")
  })
})
