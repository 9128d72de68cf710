/** A request as those see it who send it, wait for it, end it, or only let time pass. */
import { assert, describe, it } from "vitest"
import {
  append,
  arrived,
  callerLeft,
  cancelAttempt,
  cancelRequested,
  changesNothing,
  collect,
  collecting,
  detached,
  discard,
  factsWith,
  forget,
  leads,
  leased,
  limits,
  live,
  order,
  over,
  pending,
  recordArrived,
  recordEnded,
  removed,
  responding,
  shown,
  tell,
  terminal,
  ticked
} from "../../../property-tests/RequestStory.ts"
import type { Arrived } from "../buffer/BufferEvent.ts"
import * as Request from "./Request.ts"
import type * as RequestState from "./RequestState.ts"
import type { Audience } from "./RequestState.ts"

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
    assert.deepEqual(state, {
      _tag: "Pending",
      ...factsWith({ serviceClass: "opportunistic" }),
      audience: "waiting",
      arrivedRecord: "queued",
      attempt: 0,
      notBeforeMs: 0,
      waitsAs: "opportunistic"
    })
    assert.strictEqual(admit({ serviceClass: "deadline" }).state.waitsAs, "deadline")
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
    const waiting: RequestState.Pending = { ...pending, ...aging, waitsAs: "opportunistic" }
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
