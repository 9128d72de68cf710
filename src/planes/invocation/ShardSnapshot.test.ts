import { describe, expect, it } from "vitest"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { Arrived, DurableRecord } from "../../core/buffer/BufferEvent.ts"
import { defaults } from "../../core/buffer/BufferOptions.ts"
import { Entry } from "./Entry.ts"
import * as ShardSnapshot from "./ShardSnapshot.ts"

const arrivedOf = (sequence: number): Arrived => ({
  _tag: "Arrived",
  nowMs: 1_000,
  sequence,
  requestId: `request-${sequence}`,
  tenant: "t",
  version: "v",
  mode: "async",
  durability: "accepted",
  deadlineMs: 9_000_000,
  sizeBytes: 10,
  maxAttempts: 3
})

const entryAt = (sequence: number, callPosition: number): Entry => {
  const entry = new Entry({
    arrived: arrivedOf(sequence),
    functionId: "f",
    functionName: "fn",
    receivedMs: 1_000,
    head: { method: "POST", path: "/", headers: [] },
    body: { kind: "inline", bytes: new Uint8Array(0) },
    caller: undefined
  })
  entry.callPosition = callPosition
  return entry
}

/** So many that wait, at the positions after 100; and what came to some of them. */
const waiting = (count: number, later: ReadonlyArray<DurableRecord> = []) => {
  const entries = new Map<number, Entry>()
  let state = Buffer_.empty(defaults)
  const replay = (record: DurableRecord) => {
    const [next] = Buffer_.advance(state, { _tag: "Replayed", record })
    state = next
  }
  for (let sequence = 1; sequence <= count; sequence++) {
    replay({ _tag: "RecordArrived", arrived: arrivedOf(sequence) })
    entries.set(sequence, entryAt(sequence, 100 + sequence))
  }
  for (const record of later) replay(record)
  return { state, entries }
}

const noRest = async () => {}

describe("a snapshot of a shard", () => {
  it("names every request that waits and holds nothing of it", async () => {
    const { state, entries } = waiting(10_000)
    const { bytes, firstNeeded } = await ShardSnapshot.take({
      state,
      position: 20_000,
      entryOf: (sequence) => entries.get(sequence),
      rest: noRest
    })
    const { machine, requests } = ShardSnapshot.decode(bytes)
    expect(firstNeeded).toBe(101)
    expect(machine).toMatchObject({ lastSequence: 10_000, nextToken: state.nextToken, epoch: state.epoch })
    expect(requests.map(({ callPosition }) => callPosition)).toEqual(
      Array.from({ length: 10_000 }, (_, at) => 101 + at)
    )
    expect(bytes.length).toBeLessThan(1_000)
  })

  it("holds what came to a request after its arrival", async () => {
    const leased: DurableRecord = { _tag: "RecordLeased", sequence: 2, attempt: 1, token: 2 ** 40 + 1, workerId: "w" }
    const { state, entries } = waiting(3, [leased])
    const entryOf = (sequence: number) => entries.get(sequence)
    const { bytes } = await ShardSnapshot.take({ state, position: 200, entryOf, rest: noRest })
    const later = ShardSnapshot.decode(bytes).requests.map(({ records }) => records)
    expect(later).toEqual([[], [leased], []])
  })

  it("is of the moment at which it was begun, less what was forgotten while it was taken", async () => {
    const { state, entries } = waiting(5_000)
    let [serving] = Buffer_.step(state, { _tag: "Recovered", nowMs: 2_000, epoch: 1 })
    const goOn = async () => {
      // One more arrives, one is cancelled, one is forgotten.
      const events = [
        { ...arrivedOf(serving.lastSequence + 1), nowMs: 2_001 },
        { _tag: "CancelRequested", nowMs: 2_001, sequence: 4_998 } as const
      ]
      for (const event of events) {
        const [next] = Buffer_.advance(serving, event)
        serving = next
      }
      entries.delete(5_000)
    }
    const entryOf = (sequence: number) => entries.get(sequence)
    const { bytes } = await ShardSnapshot.take({ state, position: 5_101, entryOf, rest: goOn })
    const { requests } = ShardSnapshot.decode(bytes)
    expect(requests.map(({ callPosition }) => callPosition)).toEqual(Array.from({ length: 4_999 }, (_, at) => 101 + at))
    expect(requests.every(({ records }) => records.length === 0)).toBe(true)
    expect(Buffer_.lookup(serving, 4_998)?.state).toBe("terminal")
  })

  it("of the format before is read as well, less the entries of which the machine knew nothing", () => {
    const arrived = arrivedOf(7)
    const records: ReadonlyArray<DurableRecord> = [
      { _tag: "RecordAttemptFailed", sequence: 7, attempt: 1, notBeforeMs: 0 }
    ]
    const machine = { version: 1, epoch: 3, lastSequence: 9, nextToken: 5, requests: [{ arrived, records }] }
    const former = {
      format: 1,
      machine,
      lastSequence: 9,
      entries: [
        [8, 12, -1],
        [7, 11, 40]
      ]
    }
    const { machine: header, requests } = ShardSnapshot.decode(Buffer.from(JSON.stringify(former)))
    expect(header).toMatchObject({ epoch: 3, lastSequence: 9, nextToken: 5, requests: [] })
    expect(requests).toEqual([{ callPosition: 11, answerPosition: 40, answerBlobId: undefined, records }])
  })
})
