import { assert, describe, it } from "vitest"
import type { Arrived, DurableRecord } from "../buffer/BufferEvent.ts"
import * as Redelivery from "./Redelivery.ts"
import * as RequestReplay from "./RequestReplay.ts"
import * as RequestState from "./RequestState.ts"

const arrived: Arrived = {
  _tag: "Arrived",
  nowMs: 10,
  sequence: 7,
  requestId: "r7",
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "accepted",
  deadlineMs: 5_000,
  sizeBytes: 3,
  maxAttempts: 3
}
const factsWith = (more: Partial<Arrived> = {}, waitMaxMs?: number) =>
  RequestState.factsOf({ ...arrived, ...more }, 1, 2, waitMaxMs)
const facts = factsWith()
const pending = RequestReplay.arrived(facts)
const leased: RequestState.Leased = {
  _tag: "Leased",
  ...facts,
  audience: "claim",
  arrivedRecord: "stored",
  attempt: 2,
  token: 9,
  workerId: "w",
  worker: 4
}
const responding: RequestState.Responding = { ...leased, _tag: "Responding", shown: false, collecting: true }
const recordEnded: Extract<DurableRecord, { _tag: "RecordEnded" }> = {
  _tag: "RecordEnded",
  sequence: 7,
  terminal: "failed",
  reason: "handler-failed",
  message: "boom",
  endedAtMs: 50,
  resultKept: true,
  resultBytes: 4,
  keepUntilMs: 60
}
const terminal: RequestState.Terminal = {
  _tag: "Terminal",
  ...facts,
  audience: "claim",
  arrivedRecord: "stored",
  attempt: 2,
  terminal: "failed",
  reason: "handler-failed",
  message: "boom",
  partial: false,
  lease: null,
  endedAtMs: 50,
  resultKept: true,
  resultBytes: 4,
  keepUntilMs: 60,
  endedRecord: "stored",
  told: true,
  gone: false
}
const lease = (attempt: number): DurableRecord => ({
  _tag: "RecordLeased",
  sequence: 7,
  attempt,
  token: 9,
  workerId: "w"
})
const attemptFailed = (attempt: number): DurableRecord => ({
  _tag: "RecordAttemptFailed",
  sequence: 7,
  attempt,
  notBeforeMs: 80
})
const arrivedRecord: DurableRecord = { _tag: "RecordArrived", arrived }
const detached: DurableRecord = { _tag: "RecordDetached", sequence: 7 }
const forgotten: DurableRecord = { _tag: "RecordForgotten", sequence: 7 }
const replays = (state: RequestState.State, record: DurableRecord, next: object) =>
  assert.deepEqual<object>(RequestReplay.replay(state, record, 4), next)

describe("a request that is read back", () => {
  it("arrived: nobody waits for it, it is stored, and it waits in its class", () => {
    assert.deepEqual<object>(pending, {
      _tag: "Pending",
      ...facts,
      audience: "claim",
      arrivedRecord: "stored",
      attempt: 0,
      notBeforeMs: 0,
      waitsAs: "deadline"
    })
    assert.strictEqual(RequestReplay.arrived(factsWith({ serviceClass: "opportunistic" })).waitsAs, "opportunistic")
    assert.strictEqual(RequestReplay.arrived(factsWith({ serviceClass: "deadline" })).waitsAs, "deadline")
  })

  it("L19: a lease and its loss change it, one of an earlier attempt does not", () => {
    replays(pending, lease(2), leased)
    replays({ ...leased, attempt: 1 }, lease(2), leased)
    for (const attempt of [1, 2]) assert.strictEqual(RequestReplay.replay(leased, lease(attempt), 4), leased)
    replays(leased, attemptFailed(2), { ...pending, attempt: 2, notBeforeMs: 80 })
    replays(leased, attemptFailed(3), { ...pending, attempt: 3, notBeforeMs: 80 })
    assert.strictEqual(RequestReplay.replay(leased, attemptFailed(1), 4), leased)
    for (const record of [arrivedRecord, detached]) assert.strictEqual(RequestReplay.replay(leased, record, 4), leased)
  })

  it("ended, it is told and changes no more until it is forgotten", () => {
    for (const state of [leased, responding]) replays(state, recordEnded, terminal)
    replays(leased, { ...recordEnded, keepUntilMs: 50 }, { ...terminal, keepUntilMs: 50, gone: true })
    for (const record of [arrivedRecord, lease(3), attemptFailed(3), detached, recordEnded]) {
      assert.strictEqual(RequestReplay.replay(terminal, record, 4), terminal)
    }
    replays(terminal, forgotten, { ...terminal, gone: true })
  })

  it("forgotten without an end, it is gone", () => {
    replays(leased, forgotten, {
      ...terminal,
      reason: null,
      message: null,
      endedAtMs: 0,
      resultKept: false,
      resultBytes: 0,
      keepUntilMs: 0,
      gone: true
    })
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    const strange = { ...pending, _tag: "Strange" } as never
    const named = /^unreachable case .*"_tag":"Strange"/
    assert.throws(() => RequestReplay.replay(pending, strange, 4), named)
    assert.throws(() => RequestState.place(strange), named)
    assert.throws(() => RequestState.dueMs(strange), named)
    assert.throws(() => RequestState.copy(strange), named)
  })
})

describe("the state of a request", () => {
  it("is ready when it may be leased: not in a delay, and `always` not before it is stored", () => {
    const place = RequestState.place
    assert.deepStrictEqual([pending, leased, responding, terminal].map(place), ["ready", "leased", "leased", "ended"])
    assert.strictEqual(place({ ...pending, notBeforeMs: 1 }), "parked")
    const always = { ...pending, ...factsWith({ durability: "always" }) }
    assert.strictEqual(place(always), "ready")
    assert.strictEqual(place({ ...always, arrivedRecord: "urgent" }), "parked")
    assert.strictEqual(place({ ...pending, arrivedRecord: "urgent" }), "ready")
  })

  it("is due at the first of its delay, its class, its deadline and its retention", () => {
    const due = RequestState.dueMs
    assert.deepStrictEqual([pending, leased, responding, terminal].map(due), [5_000, 5_000, 5_000, 60])
    assert.strictEqual(due({ ...pending, notBeforeMs: 80 }), 80)
    assert.strictEqual(due({ ...pending, notBeforeMs: 9_000 }), 5_000)
    const aging = factsWith({ serviceClass: "opportunistic" }, 100)
    assert.strictEqual(due({ ...pending, ...aging, waitsAs: "opportunistic" }), 110)
    assert.strictEqual(due({ ...pending, ...aging, waitsAs: "opportunistic", notBeforeMs: 80 }), 80)
    assert.strictEqual(due({ ...pending, ...aging, waitsAs: "deadline" }), 5_000)
    assert.strictEqual(due({ ...terminal, told: false }), Number.POSITIVE_INFINITY)
    assert.strictEqual(due({ ...terminal, told: false, endedRecord: "failed" }), 60)
  })

  it("ages only as opportunistic, and only where a wait is given", () => {
    const opportunistic = { serviceClass: "opportunistic" } as const
    assert.deepStrictEqual(
      [factsWith(opportunistic, 90), factsWith(opportunistic), factsWith({}, 90)].map(({ agedAtMs }) => agedAtMs),
      [100, null, null]
    )
    assert.deepStrictEqual({ ...facts }, { arrived, version: 1, tenant: 2, agedAtMs: null })
    const classAt = (nowMs: number) => RequestState.classAt(factsWith(opportunistic, 90), nowMs)
    assert.deepStrictEqual([99, 100].map(classAt), ["opportunistic", "deadline"])
    assert.strictEqual(RequestState.classAt(facts, 0), "deadline")
  })

  it("is written unless it is memory's without a key, and kept unless a caller alone waits", () => {
    const isWritten = (more: Partial<Arrived>) => RequestState.isWritten({ ...arrived, ...more })
    assert.deepStrictEqual(
      [{}, { durability: "always" }, { durability: "memory" }, { durability: "memory", idempotencyKey: "k" }].map(
        (more) => isWritten(more as Partial<Arrived>)
      ),
      [true, true, false, true]
    )
    const audiences = ["waiting", "waiting-kept", "claim-owed", "claim"] as const
    assert.deepStrictEqual(
      audiences.map((audience) => RequestState.isKept({ ...pending, audience })),
      [false, true, true, true]
    )
  })

  it("a copy is the same, in the same order of fields, and another object", () => {
    const states: ReadonlyArray<RequestState.State> = [pending, leased, responding, terminal]
    for (const state of states) {
      const copy = RequestState.copy(state)
      assert.deepEqual<object>(copy, state)
      assert.notStrictEqual<object>(copy, state)
    }
    assert.deepStrictEqual(Object.keys(RequestState.copyTerminal(terminal)), Object.keys(terminal))
  })
})

describe("the delay of a redelivery", () => {
  const limits = { redeliveryDelayMs: 100, redeliveryDelayMaxMs: 1_000 }

  it("doubles from the first to the longest, and is the whole of that without a seed", () => {
    const delays = [1, 2, 3, 4, 5, 2_000].map((attempt) => Redelivery.delayMs({}, attempt, limits))
    assert.deepStrictEqual(delays, [100, 200, 400, 800, 1_000, 1_000])
    const endless = { redeliveryDelayMs: 1, redeliveryDelayMaxMs: Number.POSITIVE_INFINITY }
    assert.strictEqual(Redelivery.delayMs({}, 1_024, endless), 2 ** 1023)
    assert.strictEqual(Redelivery.delayMs({}, 5_000, endless), 2 ** 1023)
  })

  it("with a seed it is the same on every machine and for ever, or a replay would differ", () => {
    const delays = (seed: number) =>
      [1, 2, 3, 4].map((attempt) =>
        Redelivery.delayMs({ redelivery: { delayMs: 1_000, delayMaxMs: 4_000, seed } }, attempt, limits)
      )
    assert.deepStrictEqual([0, 1, 0xdeadbeef].map(delays), [
      [535, 1731, 3677, 3920],
      [847, 1054, 2893, 3812],
      [600, 1849, 3186, 2116]
    ])
  })
})
