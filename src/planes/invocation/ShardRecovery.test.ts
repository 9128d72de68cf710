import * as Effect from "effect/Effect"
import { describe, expect, it } from "vitest"
import type { DurableRecord } from "../../core/buffer/BufferEvent.ts"
import { defaults } from "../../core/buffer/BufferOptions.ts"
import type { Log, Snapshot } from "../fabric/Log.ts"
import * as ShardRecovery from "./ShardRecovery.ts"
import * as ShardSnapshot from "./ShardSnapshot.ts"
import * as StoredRecord from "./StoredRecord.ts"

const body = { kind: "inline", bytes: Buffer.from("the body") } as const
const call = { functionId: "f", functionName: "fn", head: { method: "POST", path: "/", headers: [] }, body }
const answer = { status: 200, headers: [], body: { kind: "inline", bytes: Buffer.from("the answer") } } as const

const arrived = (sequence: number): StoredRecord.StoredRecord => ({
  record: {
    _tag: "RecordArrived",
    arrived: {
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
    }
  },
  call,
  answer: null
})

const fact = (record: DurableRecord): StoredRecord.StoredRecord => ({ record, call: null, answer: null })

const ended = (sequence: number, terminal: "responded" | "failed"): StoredRecord.StoredRecord => ({
  record: {
    _tag: "RecordEnded",
    sequence,
    terminal,
    reason: terminal === "failed" ? "handler-failed" : null,
    message: terminal === "failed" ? "it threw" : null,
    endedAtMs: 2_000,
    resultKept: terminal === "responded",
    resultBytes: 10,
    keepUntilMs: 8_000_000
  },
  call: null,
  answer: terminal === "responded" ? answer : null
})

/** As much of a log as a recovery reads. */
const logOf = (records: ReadonlyArray<StoredRecord.StoredRecord>, snapshot?: Snapshot): Log["Service"] => {
  const bytes = records.map(StoredRecord.encode)
  const unused = Effect.die("a recovery only reads")
  return {
    append: () => unused,
    saveSnapshot: () => unused,
    truncate: () => unused,
    bounds: () => Effect.succeed({ first: 0, end: bytes.length }),
    loadSnapshot: () => Effect.succeed(snapshot),
    read: (_, position, limit) =>
      Effect.succeed(
        bytes.slice(position, position + limit).map((one, index) => ({ position: position + index, bytes: one }))
      )
  }
}

const recover = (log: Log["Service"]) => Effect.runSync(ShardRecovery.recover(log, "shard", defaults))

describe("a recovery over a snapshot", () => {
  const records = [
    arrived(1),
    arrived(2),
    arrived(3),
    fact({ _tag: "RecordLeased", sequence: 1, attempt: 1, token: 5, workerId: "w" }),
    ended(1, "responded"),
    fact({ _tag: "RecordLeased", sequence: 2, attempt: 2, token: 6, workerId: "w" }),
    ended(2, "failed"),
    fact({ _tag: "RecordAttemptFailed", sequence: 3, attempt: 1, notBeforeMs: 0 })
  ]
  const known = ({ entries }: ShardRecovery.Recovered) =>
    [...entries].map(([sequence, entry]) => ({
      sequence,
      requestId: entry.requestId,
      end: entry.end,
      endedMs: entry.endedMs,
      answerPosition: entry.answerPosition,
      callPosition: entry.callPosition
    }))

  it("knows of each request what a recovery over the log knows, also of those that had ended", async () => {
    const whole = recover(logOf(records))
    expect(known(whole)[0]?.end).toMatchObject({ terminal: "responded", resultKept: true })
    for (let at = 3; at <= records.length; at++) {
      const { state, entries } = recover(logOf(records.slice(0, at)))
      const entryOf = (sequence: number) => entries.get(sequence)
      const { bytes, firstNeeded } = await ShardSnapshot.take({ state, position: at, entryOf, rest: async () => {} })
      expect(firstNeeded).toBe(0)
      const snapshot = { position: at, bytes }
      const after = recover(logOf(records, snapshot))
      expect(known(after), `a snapshot at ${at}`).toEqual(known(whole))
    }
  })
})
