import { assert, describe, it } from "@effect/vitest"
import * as BufferOptions from "../core/buffer/BufferOptions.ts"
import * as WorkerToken from "./invocation/WorkerToken.ts"
import * as Rehearsal from "./Rehearsal.ts"

describe("a rehearsal goes the whole way of a first call", () => {
  it("a request that arrives waits, and is told as demand", () => {
    const { pending, arrivalsTotal } = Rehearsal.arrival(BufferOptions.defaults)
    assert.deepStrictEqual({ pending, arrivalsTotal }, { pending: 1, arrivalsTotal: 1 })
  })

  it("a request that waits leads to one order", () => {
    assert.strictEqual(Rehearsal.decision(), 1)
  })

  it("the token that is signed is of no use to anybody", () => {
    const secret = new Uint8Array(32)
    assert.isUndefined(WorkerToken.verify(secret, Rehearsal.order(secret), Date.now()))
  })
})
