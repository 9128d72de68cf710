/** Who is let in, what the others are told, and how long they are to wait. */
import { assert, describe, it } from "vitest"
import * as Buffer from "./Buffer.ts"
import type { Arrived, Event, Refusal } from "./BufferEvent.ts"
import { type BufferOptions, defaults } from "./BufferOptions.ts"

const arrived = (sequence: number, more: Partial<Arrived> = {}): Arrived => ({
  _tag: "Arrived",
  nowMs: 10,
  sequence,
  requestId: `r${sequence}`,
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "memory",
  deadlineMs: 1e9,
  sizeBytes: 1,
  maxAttempts: 2,
  ...more
})
const cancelled = (sequence: number, nowMs = 10): Event => ({ _tag: "CancelRequested", nowMs, sequence })
const worker = (nowMs: number): Event => ({
  _tag: "WorkerJoined",
  nowMs,
  workerId: "w",
  instanceId: "i",
  version: "served",
  slots: 1,
  holds: []
})

const living = (options: Partial<BufferOptions> = {}): Buffer.State =>
  Buffer.step(Buffer.empty({ ...defaults, ...options }), { _tag: "Recovered", nowMs: 1, epoch: 1 })[0]
const told = (state: Buffer.State, ...events: ReadonlyArray<Event>): Buffer.State =>
  events.reduce((next, event) => Buffer.step(next, event)[0], state)
const refusal = (state: Buffer.State, event: Arrived): Refusal | null => {
  const command = Buffer.step(state, event)[1].find(({ _tag }) => _tag === "Refuse")
  return command?._tag === "Refuse" ? command.refusal : null
}

describe("an arrival", () => {
  it("of another tenant leaves the counters of one that has nothing left", () => {
    const state = told(living(), arrived(1), cancelled(1), arrived(2, { tenant: "another" }))
    assert.strictEqual(Buffer.totals(state).get("t")?.ended.cancelled, 1)
  })

  it("is refused when its sequence is not above all that came, whatever came in between", () => {
    const state = told(living(), arrived(1), arrived(3), arrived(1), arrived(2))
    assert.deepStrictEqual(refusal(state, arrived(3)), { kind: "duplicate-sequence" })
    assert.deepStrictEqual(Buffer.liveSequences(state), [1, 3])
  })

  it("without a key joins nobody, whatever the keys of others are called", () => {
    const state = told(living(), arrived(1, { idempotencyKey: "undefined" }), arrived(2))
    assert.deepStrictEqual(Buffer.liveSequences(state), [1, 2])
  })

  it("is refused where as many are known as may be, though none of them is live", () => {
    const kept = { mode: "async" } as const
    let state = living({ pendingCountMax: 2, rememberedCountMax: 1, tenantShareMax: 1 })
    for (const sequence of [1, 2]) {
      state = told(state, arrived(sequence, { ...kept, tenant: `t${sequence}` }), cancelled(sequence))
    }
    assert.isNull(refusal(state, arrived(3)))
    state = told(state, arrived(3, { ...kept, tenant: "t3" }), cancelled(3))
    const full = { kind: "queue-full", limit: "count", retryAfterMs: 1_000 } as const
    assert.deepStrictEqual(refusal(state, arrived(4, { tenant: "t4" })), full)
  })

  it("of a tenant that holds nothing is let in where nothing is free, when it needs nothing", () => {
    const state = told(
      living({ pendingBytesMax: 10 }),
      arrived(1, { tenant: "mine" }),
      cancelled(1),
      arrived(2, { tenant: "other", sizeBytes: 10 })
    )
    assert.isNull(refusal(state, arrived(3, { tenant: "mine", sizeBytes: 0 })))
    const full = { kind: "queue-full", limit: "bytes", retryAfterMs: 1_000 } as const
    assert.deepStrictEqual(refusal(state, arrived(3, { tenant: "mine" })), full)
  })

  it("may be as large as four gibibytes together, by default", () => {
    const bytes = 4 * 1024 * 1024 * 1024
    assert.isNull(refusal(living(), arrived(1, { sizeBytes: bytes })))
    assert.strictEqual(refusal(living(), arrived(1, { sizeBytes: bytes + 1 }))?.kind, "queue-full")
  })
})

describe("who is refused for want of room is to wait", () => {
  const capacity = 300

  /** Full, after one answer at 10 000 ms. */
  const full = (count: number): Buffer.State => {
    let state = told(living({ pendingCountMax: count, tenantShareMax: 1 }), worker(10))
    state = told(state, arrived(1, { version: "served", nowMs: 10_000 }))
    const { token, workerId = "" } = Buffer.lookup(state, 1) ?? {}
    const of = { nowMs: 10_000, sequence: 1, workerId, token: token ?? 0 }
    state = told(state, { _tag: "ResponseEnded", ...of, resultBytes: 1 })
    for (let sequence = 2; sequence < 2 + count; sequence++) state = told(state, arrived(sequence, { nowMs: 10_000 }))
    return state
  }
  const waitMs = (state: Buffer.State, nowMs: number): number | undefined => {
    const found = refusal(state, arrived(9_999, { nowMs }))
    return found?.kind === "queue-full" ? found.retryAfterMs : undefined
  }

  it("until a hundredth of the capacity is free, at the rate of late", () => {
    const state = full(capacity)
    // One answer since the window began, and three to wait for.
    assert.strictEqual(waitMs(state, 10_020), 60)
    assert.strictEqual(waitMs(state, 10_003), 9)
  })

  it("for one answer at least, and in whole milliseconds", () => {
    assert.strictEqual(waitMs(full(5), 10_020), 20)
    assert.strictEqual(waitMs(full(5), 10_000.5), 1)
  })

  it("no longer than a minute, which would be a guess", () => {
    const state = full(1_000)
    assert.strictEqual(waitMs(state, 16_000), 60_000)
  })

  it("as long as the options say, where nothing is known of the rate", () => {
    assert.strictEqual(waitMs(full(5), 20_001), 1_000)
    const tiny = { pendingCountMax: 4, tenantShareMax: 0.5 }
    const state = told(living(tiny), arrived(1), arrived(2))
    assert.deepStrictEqual(refusal(state, arrived(3)), { kind: "tenant-full", limit: "count", retryAfterMs: 1_000 })
    const bytes = told(living({ pendingBytesMax: 4, tenantShareMax: 0.5 }), arrived(1, { sizeBytes: 3 }))
    assert.deepStrictEqual(refusal(bytes, arrived(3)), { kind: "tenant-full", limit: "bytes", retryAfterMs: 1_000 })
  })
})
