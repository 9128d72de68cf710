/** What the log says of the records of a request, and what is told by that. */
import { assert, describe, it } from "vitest"
import {
  cancelAttempt,
  changesNothing,
  collecting,
  flushing,
  forget,
  leads,
  leased,
  limits,
  order,
  over,
  pending,
  persisted,
  refuse,
  release,
  responding,
  shown,
  storeFailed,
  tell,
  terminal
} from "../../../property-tests/RequestStory.ts"
import * as Request from "./Request.ts"
import type * as RequestState from "./RequestState.ts"

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
