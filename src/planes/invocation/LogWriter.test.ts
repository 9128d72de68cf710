import * as Effect from "effect/Effect"
import { describe, expect, it, vi } from "vitest"
import type { DurableRecord, RecordRef } from "../../core/buffer/BufferEvent.ts"
import { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import { LogWriter } from "./LogWriter.ts"

const record = (sequence: number): DurableRecord => ({ _tag: "RecordForgotten", sequence })
const ref = (sequence: number): RecordRef => ({ kind: "forgotten", sequence })
const arrival = (sequence: number): RecordRef => ({ kind: "arrived", sequence })
const noRoom = new FabricUnavailable({ port: "Log", operation: "append", reason: "the disk is full", retryable: true })

const make = (initial?: FabricUnavailable | OutcomeUnknown) => {
  let fail = initial
  const journal: Array<string> = []
  const log: Array<number> = []
  let encoded = 0
  const gates: Array<() => void> = []
  const writer = new LogWriter({
    position: 0,
    append: (position, records) =>
      Effect.callback((resume) => {
        gates.push(() => {
          if (fail !== undefined) return resume(Effect.fail(fail))
          expect(position).toBe(log.length)
          for (const bytes of records) log.push(bytes[0] ?? -1)
          resume(Effect.succeed(log.length))
        })
      }),
    encode: (_record, { sequence }) => {
      encoded++
      return Uint8Array.of(sequence)
    },
    events: {
      started: (refs) => journal.push(`started ${refs.map(({ sequence }) => sequence)}`),
      persisted: (refs, first) => journal.push(`persisted ${refs.map(({ sequence }) => sequence)} at ${first}`),
      full: () => journal.push("full"),
      failed: (refs, outcome) => journal.push(`${outcome} ${refs.map(({ sequence }) => sequence)}`)
    }
  })
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
  const fails = (next: typeof initial) => {
    fail = next
  }
  return { writer, journal, log, gates, turn, fails, encodedCount: () => encoded }
}

describe("the log writer", () => {
  it("W1 W3: writes in order, one batch at a time, and says before and after", async () => {
    const { writer, journal, log, gates, turn } = make()
    writer.add(record(1), ref(1), false)
    writer.add(record(2), ref(2), true)
    await turn()
    writer.add(record(3), ref(3), true)
    await turn()
    expect(journal).toEqual(["started 1,2"])
    gates[0]?.()
    await turn()
    await turn()
    gates[1]?.()
    await turn()
    expect(journal).toEqual(["started 1,2", "persisted 1,2 at 0", "started 3", "persisted 3 at 2"])
    expect(log).toEqual([1, 2, 3])
  })

  it("W2: neither encodes nor writes what was dropped before its batch began", async () => {
    const { writer, log, gates, turn, encodedCount } = make()
    writer.add(record(1), ref(1), false)
    writer.add(record(2), ref(2), false)
    writer.drop(1)
    const flushed = writer.flushed()
    await turn()
    gates[0]?.()
    await flushed
    expect(log).toEqual([2])
    expect(encodedCount()).toBe(1)
  })

  it("W1: an urgent record takes those before it along, and those after it go on waiting", async () => {
    const { writer, log, gates, turn } = make()
    writer.add(record(1), ref(1), false)
    writer.add(record(2), ref(2), true)
    writer.add(record(3), ref(3), false)
    await turn()
    writer.add(record(4), ref(4), false)
    gates[0]?.()
    await turn()
    await turn()
    expect(log).toEqual([1, 2])
    expect(gates.length).toBe(1)
    expect(writer.waitingCount).toBe(2)
  })

  it("writes a record that nobody waits for within two lingers, and not one that was dropped by then", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    try {
      const { writer, log, gates } = make()
      writer.add(record(1), ref(1), false)
      vi.advanceTimersByTime(40)
      writer.add(record(2), ref(2), false)
      writer.drop(1)
      vi.advanceTimersByTime(49)
      expect(gates.length).toBe(0)
      vi.advanceTimersByTime(51)
      gates[0]?.()
      expect(log).toEqual([2])
    } finally {
      vi.useRealTimers()
    }
  })

  it("adds a record once, however often its urgency is raised", async () => {
    const { writer, log, gates, turn } = make()
    writer.add(record(1), ref(1), false)
    writer.add(record(1), ref(1), true)
    await turn()
    gates[0]?.()
    await turn()
    expect(log).toEqual([1])
  })

  it("W4: writes nothing after a failure, and tells a failure from an unknown outcome", async () => {
    const failures = [
      ["failed", new FabricUnavailable({ port: "Log", operation: "append", reason: "no", retryable: false })],
      ["unknown", new OutcomeUnknown({ port: "Log", operation: "append", reason: "?" })]
    ] as const
    for (const [outcome, error] of failures) {
      const { writer, journal, gates, turn } = make(error)
      writer.add(record(1), ref(1), true)
      await turn()
      writer.add(record(2), ref(2), true)
      gates[0]?.()
      await turn()
      writer.add(record(3), ref(3), true)
      await turn()
      // What had not left certainly did not happen, also when nobody knows about the batch before it.
      expect(journal).toEqual(["started 1", `${outcome} 1`, "failed 2"])
      expect(gates.length).toBe(1)
    }
  })

  it("W5: gives up arrivals for which there is no room, and writes the rest first when there is", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    try {
      const { writer, journal, log, gates, turn, fails } = make(noRoom)
      writer.add(record(1), ref(1), false)
      writer.add(record(2), arrival(2), true)
      await turn()
      expect(writer.isFull).toBe(false)
      gates[0]?.()
      await turn()
      expect(writer.isFull).toBe(true)
      writer.add(record(3), ref(3), true)
      await turn()
      // Still none.
      vi.advanceTimersByTime(250)
      gates[1]?.()
      await turn()
      fails(undefined)
      vi.advanceTimersByTime(250)
      gates[2]?.()
      await turn()
      await turn()
      gates[3]?.()
      await turn()
      expect(log).toEqual([1, 3])
      expect(journal.slice(0, 6)).toEqual([
        "started 1,2",
        "full",
        "refused 2",
        "persisted 1 at 0",
        "started 3",
        "persisted 3 at 1"
      ])
      // One that finds out whether there is room for arrivals, too.
      writer.add(record(4), arrival(4), true)
      await turn()
      gates[4]?.()
      await turn()
      expect(writer.isFull).toBe(false)
    } finally {
      vi.useRealTimers()
    }
  })

  it("W5: does not wait for room when it is to end", async () => {
    const { writer, journal, gates, turn } = make(noRoom)
    writer.add(record(1), ref(1), true)
    await turn()
    gates[0]?.()
    await turn()
    const flushed = writer.flushed()
    gates[1]?.()
    await flushed
    expect(journal).toEqual(["started 1", "full", "failed 1"])
  })
})
