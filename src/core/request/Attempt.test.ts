/** An attempt at a request: its lease, its answer, its failure and its loss. */
import { assert, describe, it } from "vitest"
import {
  append,
  assigned,
  cancelAttempt,
  changesNothing,
  collect,
  collecting,
  discard,
  factsWith,
  failed,
  forget,
  from,
  kept,
  leads,
  leased,
  limits,
  lost,
  order,
  over,
  pending,
  recordArrived,
  recordEnded,
  release,
  responded,
  responding,
  shown,
  started,
  tell,
  terminal
} from "../../../property-tests/RequestStory.ts"
import * as Request from "./Request.ts"
import type * as RequestState from "./RequestState.ts"

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
    const [ended] = Request.step({ ...collecting, ...short }, responded, limits)
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
      arrived: of.arrived,
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
      const [next] = Request.step({ ...leased, ...its }, lost(false), limits)
      return next._tag === "Pending" ? next.waitsAs : next._tag
    }
    assert.deepStrictEqual([waitsAs(aging), waitsAs(young)], ["deadline", "opportunistic"])
  })
})
