import { assert, describe, it } from "vitest"
import type { Arrived, Command, RecordKind } from "../buffer/BufferEvent.ts"
import * as Request from "./Request.ts"
import type * as RequestState from "./RequestState.ts"
import { type Audience, factsOf } from "./RequestState.ts"

const limits: Request.Limits = { redeliveryDelayMs: 100, redeliveryDelayMaxMs: 1_000, resultRetentionMs: 60_000 }
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
const factsWith = (more: Partial<Arrived> = {}, waitMaxMs?: number) => factsOf({ ...arrived, ...more }, 1, 2, waitMaxMs)
const facts = factsWith()

const base = { facts, audience: "waiting", arrivedRecord: "stored", attempt: 1 } as const
const lease = { token: 9, workerId: "w", worker: 4 } as const
const pending: RequestState.Pending = { ...base, _tag: "Pending", attempt: 0, notBeforeMs: 0, waitsAs: "deadline" }
const leased: RequestState.Leased = { ...base, ...lease, _tag: "Leased" }
const responding: RequestState.Responding = { ...base, ...lease, _tag: "Responding", shown: false, collecting: false }
const shown: RequestState.Responding = { ...responding, shown: true }
const collecting: RequestState.Responding = { ...responding, audience: "claim", collecting: true }
const terminal: RequestState.Terminal = {
  ...base,
  _tag: "Terminal",
  audience: "claim",
  terminal: "responded",
  reason: null,
  message: null,
  partial: false,
  lease: { token: 9, workerId: "w" },
  endedAtMs: 50,
  resultKept: true,
  resultBytes: 4,
  keepUntilMs: 60_050,
  endedRecord: "queued",
  told: false,
  gone: false
}
const live = [pending, leased, responding, shown, collecting]

const from = { sequence: 7, workerId: "w", token: 9, nowMs: 40 } as const
const assigned: Request.Event = { _tag: "Assigned", token: 9, workerId: "w", worker: 4 }
const started: Request.Event = { _tag: "ResponseStarted", ...from }
const responded: Request.Event = { _tag: "ResponseEnded", ...from, resultBytes: 4 }
const failed = (retryable: boolean): Request.Event => ({ _tag: "AttemptFailed", ...from, retryable, message: "boom" })
const lost = (cancel: boolean): Request.Event => ({ _tag: "AttemptLost", nowMs: 40, reason: "lease-expired", cancel })
const callerLeft = (cancel: boolean): Request.Event => ({ _tag: "CallerLeft", nowMs: 40, sequence: 7, cancel })
const detached: Request.Event = { _tag: "Detached", nowMs: 40, sequence: 7 }
const cancelRequested: Request.Event = { _tag: "CancelRequested", nowMs: 40, sequence: 7 }
const removed: Request.Event = { _tag: "FunctionRemoved", nowMs: 40 }
const ticked = (nowMs: number): Request.Event => ({ _tag: "Ticked", nowMs })
const flushing = (kind: RecordKind): Request.Event => ({ _tag: "RecordFlushing", kind })
const persisted = (kind: RecordKind): Request.Event => ({ _tag: "RecordPersisted", kind, nowMs: 40 })
const storeFailed = (kind: RecordKind, isUnknown = false): Request.Event => ({
  _tag: "RecordFailed",
  kind,
  nowMs: 40,
  isUnknown
})

const append = (kind: RecordKind, record: object, urgent: boolean) => ({
  _tag: "Append",
  record,
  ref: { kind, sequence: 7 },
  urgent
})
const order = (_tag: Command["_tag"], more: object = {}) => ({ _tag, sequence: 7, ...more })
const cancelAttempt = (reason: string) => order("CancelAttempt", { workerId: "w", token: 9, reason })
const collect = order("CollectResponse", { token: 9 })
const release = order("ReleaseResponse", { token: 9 })
const discard = order("DiscardResponse", { token: 9 })
const tell = (as: string, reason: string | null, more: object = {}) =>
  order("TellEnded", { terminal: as, reason, message: null, partial: false, resultKept: false, ...more })
const recordEnded = (as: string, reason: string | null, urgent: boolean, more: object = {}) =>
  append(
    "ended",
    {
      _tag: "RecordEnded",
      sequence: 7,
      terminal: as,
      reason,
      message: null,
      endedAtMs: 40,
      resultKept: false,
      resultBytes: 0,
      keepUntilMs: 40,
      ...more
    },
    urgent
  )
const recordArrived = append("arrived", { _tag: "RecordArrived", arrived }, true)
const refuse = (kept: "nothing" | "unknown") => order("Refuse", { refusal: { kind: "store-failed", kept } })
const forget = order("Forget")

const leads = (state: RequestState.State, event: Request.Event, next: object, orders: ReadonlyArray<object> = []) => {
  const [after, commands] = Request.step(state, event, limits)
  assert.deepEqual<object>(commands, orders)
  assert.deepEqual<object>(after, next)
}
const changesNothing = (event: Request.Event, ...states: ReadonlyArray<RequestState.State>) => {
  for (const state of states) {
    const [next, commands] = Request.step(state, event, limits)
    assert.strictEqual(next, state, `${event._tag} in ${state._tag}`)
    assert.deepStrictEqual(commands, [], `${event._tag} in ${state._tag}`)
  }
}
/** The end of a request that nobody keeps. */
const over = (of: RequestState.State, as: string, reason: string | null, more: object = {}) => ({
  _tag: "Terminal",
  facts: of.facts,
  audience: "waiting",
  arrivedRecord: of.arrivedRecord,
  attempt: of.attempt,
  terminal: as,
  reason,
  message: null,
  partial: false,
  lease: of._tag === "Leased" || of._tag === "Responding" ? { token: 9, workerId: "w" } : null,
  endedAtMs: 40,
  resultKept: false,
  resultBytes: 0,
  keepUntilMs: 40,
  endedRecord: "none",
  told: true,
  gone: true,
  ...more
})
const kept = { keepUntilMs: 60_040, endedRecord: "queued", told: false, gone: false }

describe("a request is admitted", () => {
  const admit = (more: Partial<Arrived>) => {
    const orders: Request.Orders = []
    const state = Request.admit(factsWith(more), orders)
    return { state, orders, said: [state.audience, state.arrivedRecord, state.waitsAs] }
  }

  it("and its record is urgent for whoever waits for it: a 202, a key, or `always`", () => {
    const record = (more: Partial<Arrived>, urgent: boolean) =>
      append("arrived", { _tag: "RecordArrived", arrived: { ...arrived, ...more } }, urgent)
    const cases: ReadonlyArray<readonly [Partial<Arrived>, Audience, boolean]> = [
      [{}, "waiting", false],
      [{ mode: "async" }, "claim-owed", true],
      [{ idempotencyKey: "k" }, "waiting-kept", true],
      [{ durability: "always" }, "waiting", true],
      [{ durability: "memory", idempotencyKey: "k" }, "waiting-kept", true]
    ]
    for (const [more, audience, urgent] of cases) {
      const { orders, said } = admit(more)
      assert.deepEqual(said, [audience, urgent ? "urgent" : "queued", "deadline"])
      assert.deepEqual<object>(orders, [record(more, urgent)])
    }
  })

  it("without a record where nothing is to be written, and then a 202 is told at once", () => {
    assert.deepEqual(admit({ durability: "memory" }).said, ["waiting", "none", "deadline"])
    assert.deepEqual(admit({ durability: "memory" }).orders, [])
    const { said, orders } = admit({ durability: "memory", mode: "async" })
    assert.deepEqual(said, ["claim", "none", "deadline"])
    assert.deepEqual<object>(orders, [order("TellAccepted")])
  })

  it("pending, never leased, in its class", () => {
    const { state } = admit({ serviceClass: "opportunistic" })
    const { facts: its, ...rest } = state
    assert.deepEqual(rest, {
      _tag: "Pending",
      audience: "waiting",
      arrivedRecord: "queued",
      attempt: 0,
      notBeforeMs: 0,
      waitsAs: "opportunistic"
    })
    assert.strictEqual(admit({ serviceClass: "deadline" }).state.waitsAs, "deadline")
  })
})

describe("an attempt", () => {
  it("begins with a record, where the request has one, and the order to the worker", () => {
    const assign = order("Assign", { workerId: "w", token: 9, attempt: 1, deadlineMs: 5_000 })
    const record = { _tag: "RecordLeased", sequence: 7, attempt: 1, token: 9, workerId: "w" }
    leads(pending, assigned, leased, [append("leased", record, false), assign])
    leads({ ...pending, arrivedRecord: "none" }, assigned, { ...leased, arrivedRecord: "none" }, [assign])
    changesNothing(assigned, leased, responding, terminal)
  })

  it("L6: its first byte goes to the caller when the arrival is on disk, and hurries it there", () => {
    leads(leased, started, shown, [release])
    leads({ ...leased, arrivedRecord: "none" }, started, { ...shown, arrivedRecord: "none" }, [release])
    leads({ ...leased, arrivedRecord: "queued" }, started, { ...responding, arrivedRecord: "urgent" }, [recordArrived])
    for (const arrivedRecord of ["urgent", "flushing"] as const) {
      leads({ ...leased, arrivedRecord }, started, { ...responding, arrivedRecord })
    }
    for (const audience of ["claim", "claim-owed", "waiting-kept"] as const) {
      leads(
        { ...leased, audience, arrivedRecord: "queued" },
        started,
        { ...collecting, audience, arrivedRecord: "queued" },
        [collect]
      )
    }
    const stale: Request.Event = { ...started, token: 8 }
    changesNothing(stale, leased)
    changesNothing(started, pending, responding, terminal)
  })

  it("L9: bytes that a reader saw are known", () => {
    const event: Request.Event = { _tag: "ResponseShown", nowMs: 40, sequence: 7, token: 9 }
    leads(collecting, event, { ...collecting, shown: true })
    changesNothing({ ...event, token: 8 }, collecting)
    changesNothing(event, pending, leased, terminal)
  })

  it("that answers whole ends it, and what is kept is collected and told when that is stored", () => {
    leads(shown, responded, over(shown, "responded", null, { resultBytes: 4 }), [
      recordEnded("responded", null, false, { resultBytes: 4 }),
      tell("responded", null),
      forget
    ])
    const keeps = { ...kept, audience: "claim", resultKept: true, resultBytes: 4 }
    const record = recordEnded("responded", null, true, { resultKept: true, resultBytes: 4, keepUntilMs: 60_040 })
    leads(collecting, responded, over(collecting, "responded", null, keeps), [record])
    const claimed: RequestState.Leased = { ...leased, audience: "claim" }
    leads(claimed, responded, over(claimed, "responded", null, keeps), [collect, record])
    const short = factsWith({ resultRetentionMs: 500 })
    const [ended] = Request.step({ ...collecting, facts: short }, responded, limits)
    assert.strictEqual(ended._tag === "Terminal" && ended.keepUntilMs, 540)
    changesNothing({ ...responded, token: 8 }, leased, responding)
    changesNothing(responded, pending, terminal)
  })

  it("of a request that was never written is told at once, and remembered where it is kept", () => {
    const memory: RequestState.Responding = { ...collecting, arrivedRecord: "none" }
    leads(
      memory,
      responded,
      over(memory, "responded", null, {
        audience: "claim",
        resultKept: true,
        resultBytes: 4,
        keepUntilMs: 60_040,
        gone: false
      }),
      [tell("responded", null, { resultKept: true })]
    )
    for (const arrivedRecord of ["queued", "urgent"] as const) {
      const early: RequestState.Leased = { ...leased, arrivedRecord }
      const orders = [order("DropAppend"), tell("responded", null), forget]
      leads(early, responded, over(early, "responded", null, { resultBytes: 4 }), orders)
    }
    const late: RequestState.Leased = { ...leased, arrivedRecord: "flushing" }
    leads(late, responded, over(late, "responded", null, { resultBytes: 4 }), [
      recordEnded("responded", null, false, { resultBytes: 4 }),
      tell("responded", null),
      forget
    ])
    const refused: RequestState.Leased = { ...leased, arrivedRecord: "failed" }
    leads(refused, responded, over(refused, "responded", null, { resultBytes: 4 }), [tell("responded", null), forget])
  })

  it("that fails for good ends it, with its message", () => {
    const message = "boom"
    leads(leased, failed(false), over(leased, "failed", "handler-failed", { message }), [
      recordEnded("failed", "handler-failed", false, { message }),
      tell("failed", "handler-failed", { message }),
      forget
    ])
    leads(shown, failed(false), over(shown, "failed", "handler-failed", { message, partial: true }), [
      recordEnded("failed", "handler-failed", false, { message }),
      tell("failed", "handler-failed", { message, partial: true }),
      forget
    ])
    changesNothing({ _tag: "AttemptFailed", ...from, token: 8, retryable: false, message }, leased)
    changesNothing(failed(false), pending, terminal)
  })

  it("L9: that was lost comes again after a delay, unless the caller has bytes of it", () => {
    const again = (of: RequestState.State, notBeforeMs: number) => ({
      ...pending,
      facts: of.facts,
      audience: of.audience,
      arrivedRecord: of.arrivedRecord,
      attempt: of.attempt,
      notBeforeMs
    })
    const record = (attempt: number, notBeforeMs: number) =>
      append("attempt-failed", { _tag: "RecordAttemptFailed", sequence: 7, attempt, notBeforeMs }, false)
    leads(leased, failed(true), again(leased, 140), [record(1, 140)])
    const second: RequestState.Leased = { ...leased, attempt: 2 }
    leads(second, lost(false), again(second, 240), [record(2, 240)])
    leads(leased, lost(true), again(leased, 140), [cancelAttempt("lease-expired"), record(1, 140)])
    leads(responding, lost(false), again(responding, 140), [discard, record(1, 140)])
    leads(collecting, lost(false), again(collecting, 140), [discard, record(1, 140)])
    const memory: RequestState.Leased = { ...leased, arrivedRecord: "none" }
    leads(memory, lost(false), again(memory, 140))
    leads(shown, lost(false), over(shown, "failed", "lease-expired", { partial: true }), [
      recordEnded("failed", "lease-expired", false),
      tell("failed", "lease-expired", { partial: true }),
      forget
    ])
    changesNothing(lost(true), pending, terminal)
  })

  it("L12: the last that is lost makes a dead letter of it", () => {
    const last: RequestState.Leased = { ...leased, attempt: 3 }
    const message = "boom"
    leads(last, failed(true), over(last, "dead-lettered", "attempts-exhausted", { message }), [
      recordEnded("dead-lettered", "attempts-exhausted", false, { message }),
      tell("dead-lettered", "attempts-exhausted", { message }),
      forget
    ])
    const seen: RequestState.Responding = { ...collecting, attempt: 3 }
    const keeps = { ...kept, audience: "claim" }
    leads(seen, lost(false), over(seen, "dead-lettered", "attempts-exhausted", keeps), [
      discard,
      recordEnded("dead-lettered", "attempts-exhausted", true, { keepUntilMs: 60_040 })
    ])
  })

  it("of an opportunistic request comes again in the class of its age", () => {
    const aging = factsWith({ serviceClass: "opportunistic" }, 30)
    const young = factsWith({ serviceClass: "opportunistic" }, 31)
    const waitsAs = (its: RequestState.Facts) => {
      const [next] = Request.step({ ...leased, facts: its }, lost(false), limits)
      return next._tag === "Pending" ? next.waitsAs : next._tag
    }
    assert.deepStrictEqual([waitsAs(aging), waitsAs(young)], ["deadline", "opportunistic"])
  })
})

describe("who waits", () => {
  it("and leaves is forgotten, or takes the work along where it asked for that", () => {
    leads(leased, callerLeft(true), over(leased, "cancelled", "caller-left"), [
      cancelAttempt("caller-left"),
      recordEnded("cancelled", "caller-left", false),
      tell("cancelled", "caller-left"),
      forget
    ])
    const record = append("detached", { _tag: "RecordDetached", sequence: 7 }, false)
    leads(leased, callerLeft(false), { ...leased, audience: "claim" }, [record])
    for (const audience of ["claim", "claim-owed"] as const) {
      changesNothing(callerLeft(true), { ...leased, audience })
      changesNothing(detached, { ...leased, audience })
    }
    const keyed: RequestState.Leased = { ...leased, audience: "waiting-kept", arrivedRecord: "queued" }
    leads(keyed, callerLeft(false), { ...keyed, audience: "claim" })
    const [cancelled] = Request.step(keyed, callerLeft(true), limits)
    assert.strictEqual(cancelled._tag, "Terminal")
  })

  it("and would rather claim it later is told so when the arrival is on disk", () => {
    const record = (urgent: boolean) => append("detached", { _tag: "RecordDetached", sequence: 7 }, urgent)
    const accepted = order("TellAccepted")
    leads(leased, detached, { ...leased, audience: "claim" }, [record(false), accepted])
    const memory: RequestState.Pending = { ...pending, arrivedRecord: "none" }
    leads(memory, detached, { ...memory, audience: "claim" }, [accepted])
    const early: RequestState.Pending = { ...pending, arrivedRecord: "queued" }
    leads(early, detached, { ...early, audience: "claim-owed", arrivedRecord: "urgent" }, [recordArrived, record(true)])
    const keyed: RequestState.Pending = { ...pending, audience: "waiting-kept", arrivedRecord: "urgent" }
    leads(keyed, detached, { ...keyed, audience: "claim-owed" })
  })

  it("and has bytes already is told nothing more, and the rest is collected", () => {
    const record = append("detached", { _tag: "RecordDetached", sequence: 7 }, false)
    leads(shown, detached, { ...shown, audience: "claim", collecting: true }, [record, collect])
    leads(responding, detached, { ...responding, audience: "claim", collecting: true }, [
      record,
      order("TellAccepted"),
      collect
    ])
    const keyed: RequestState.Responding = { ...collecting, audience: "waiting-kept" }
    leads(keyed, callerLeft(false), { ...keyed, audience: "claim" })
  })

  it("for an end that is told is there no more, for one that is not he may still leave", () => {
    const told: RequestState.Terminal = { ...terminal, audience: "waiting-kept", told: true }
    changesNothing(callerLeft(true), told)
    changesNothing(detached, told)
    const untold: RequestState.Terminal = { ...terminal, audience: "waiting-kept" }
    leads(untold, callerLeft(true), { ...untold, audience: "claim" })
    leads(untold, detached, { ...untold, audience: "claim" }, [order("TellAccepted")])
  })
})

describe("from outside", () => {
  it("a cancel, a removal or the deadline ends whatever is not over", () => {
    const cases = [
      [cancelRequested, "cancelled", "caller-cancelled", 40],
      [removed, "failed", "function-removed", 40],
      [ticked(5_000), "expired", "deadline-passed", 5_000]
    ] as const
    for (const [event, as, reason, nowMs] of cases) {
      const at = { endedAtMs: nowMs, keepUntilMs: nowMs }
      const told = [recordEnded(as, reason, false, at), tell(as, reason), forget]
      leads(pending, event, over(pending, as, reason, at), told)
      leads(leased, event, over(leased, as, reason, at), [cancelAttempt(reason), ...told])
      const hidden = [cancelAttempt(reason), discard, ...told]
      leads(responding, event, over(responding, as, reason, at), hidden)
      if (event !== cases[2][0]) changesNothing(event, terminal)
    }
    changesNothing(ticked(4_999), ...live)
  })

  it("time ends a delay and a class", () => {
    const delayed: RequestState.Pending = { ...pending, notBeforeMs: 100 }
    changesNothing(ticked(99), delayed)
    leads(delayed, ticked(100), pending)
    const aging = factsWith({ serviceClass: "opportunistic" }, 90)
    const waiting: RequestState.Pending = { ...pending, facts: aging, waitsAs: "opportunistic" }
    changesNothing(ticked(99), waiting)
    leads(waiting, ticked(100), { ...waiting, waitsAs: "deadline" })
    const aged: RequestState.Pending = { ...waiting, waitsAs: "deadline" }
    changesNothing(ticked(50), aged)
  })

  it("an end is forgotten after its retention, when it was told or cannot be", () => {
    const told: RequestState.Terminal = { ...terminal, told: true, endedRecord: "stored" }
    changesNothing(ticked(60_049), told)
    const record = append("forgotten", { _tag: "RecordForgotten", sequence: 7 }, false)
    leads(told, ticked(60_050), { ...told, gone: true }, [record, forget])
    changesNothing(ticked(99_000), terminal)
    const untold: RequestState.Terminal = { ...terminal, endedRecord: "failed" }
    leads(untold, ticked(60_050), { ...untold, gone: true }, [forget])
    const memory: RequestState.Terminal = { ...terminal, told: true, endedRecord: "none" }
    leads(memory, ticked(60_050), { ...memory, gone: true }, [forget])
  })
})

describe("the log", () => {
  const waiting = ["queued", "urgent", "flushing"] as const
  const settled = ["none", "stored", "failed"] as const

  it("has the arrival in hand", () => {
    for (const arrivedRecord of ["queued", "urgent"] as const) {
      leads({ ...pending, arrivedRecord }, flushing("arrived"), { ...pending, arrivedRecord: "flushing" })
    }
    for (const arrivedRecord of [...settled, "flushing"] as const) {
      changesNothing(flushing("arrived"), { ...pending, arrivedRecord })
    }
    changesNothing(flushing("ended"), { ...pending, arrivedRecord: "queued" })
  })

  it("L6: has stored the arrival: what waited for that is told and shown", () => {
    for (const arrivedRecord of waiting) {
      leads({ ...pending, arrivedRecord }, persisted("arrived"), pending)
      leads(
        { ...pending, audience: "claim-owed", arrivedRecord },
        persisted("arrived"),
        { ...pending, audience: "claim" },
        [order("TellAccepted")]
      )
      leads({ ...responding, arrivedRecord }, persisted("arrived"), shown, [release])
      leads({ ...shown, arrivedRecord }, persisted("arrived"), shown)
      leads({ ...collecting, arrivedRecord }, persisted("arrived"), collecting)
      leads({ ...collecting, audience: "claim-owed", arrivedRecord }, persisted("arrived"), collecting, [
        order("TellAccepted")
      ])
    }
    for (const arrivedRecord of settled) changesNothing(persisted("arrived"), { ...pending, arrivedRecord })
    changesNothing(persisted("leased"), { ...pending, arrivedRecord: "urgent" }, terminal)
  })

  it("L6: has stored the end, which is told then and once", () => {
    leads(terminal, persisted("ended"), { ...terminal, endedRecord: "stored", told: true }, [
      tell("responded", null, { resultKept: true })
    ])
    changesNothing(persisted("ended"), pending, { ...terminal, told: true }, { ...terminal, endedRecord: "failed" })
  })

  it("refused the arrival: it never was accepted, and ends", () => {
    for (const arrivedRecord of waiting) {
      const early: RequestState.Leased = { ...leased, arrivedRecord }
      leads(early, storeFailed("arrived"), over({ ...early, arrivedRecord: "none" }, "failed", "store-failed"), [
        cancelAttempt("store-failed"),
        tell("failed", "store-failed"),
        forget
      ])
      const owed: RequestState.Leased = { ...early, audience: "claim-owed" }
      for (const kept of ["nothing", "unknown"] as const) {
        leads(
          owed,
          storeFailed("arrived", kept === "unknown"),
          over({ ...owed, arrivedRecord: "none" }, "failed", "store-failed"),
          [cancelAttempt("store-failed"), refuse(kept)]
        )
      }
      const untold: RequestState.Terminal = { ...terminal, arrivedRecord, endedRecord: "failed" }
      leads(untold, storeFailed("arrived"), { ...untold, gone: true }, [forget])
    }
    const early: RequestState.Terminal = { ...terminal, arrivedRecord: "flushing" }
    leads(early, storeFailed("arrived"), over({ ...early, arrivedRecord: "none" }, "failed", "store-failed"), [
      tell("failed", "store-failed"),
      forget
    ])
    for (const arrivedRecord of settled) changesNothing(storeFailed("arrived"), { ...pending, arrivedRecord })
    changesNothing(storeFailed("leased"), { ...pending, arrivedRecord: "urgent" }, terminal)
  })

  it("refused the end: whoever waits is let go, and it stays untold", () => {
    const untold = { ...terminal, endedRecord: "failed", audience: "claim" }
    leads(terminal, storeFailed("ended"), untold)
    for (const audience of ["waiting", "waiting-kept", "claim-owed"] as const) {
      for (const arrivedRecord of ["stored", "flushing", "queued", "urgent"] as const) {
        const kept = arrivedRecord === "queued" || arrivedRecord === "urgent" ? "nothing" : "unknown"
        leads({ ...terminal, audience, arrivedRecord }, storeFailed("ended"), { ...untold, arrivedRecord }, [
          refuse(kept)
        ])
      }
    }
    changesNothing(storeFailed("ended"), pending, { ...terminal, told: true }, { ...terminal, endedRecord: "stored" })
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    assert.throws(
      () => Request.step(pending, { _tag: "Strange" } as never, limits),
      'unreachable case {"_tag":"Strange"}'
    )
  })
})
