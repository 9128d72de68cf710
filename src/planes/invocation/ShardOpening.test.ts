import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { assert, beforeEach, describe, it } from "vitest"
import { FabricUnavailable } from "../fabric/FabricError.ts"
import type * as LogFence from "./LogFence.ts"
import type { OpenShard } from "./OpenShard.ts"
import { ShardOpening } from "./ShardOpening.ts"

// What is opened is passed on and not looked at.
const opened = {} as OpenShard

describe("the opening of a shard", () => {
  let said: Array<string> = []
  let isBroken = false
  const open = (turn: LogFence.Turn) =>
    Effect.gen(function* () {
      said.push("reads")
      if (isBroken) return yield* new FabricUnavailable({ port: "Log", operation: "read", reason: "", retryable: true })
      if (turn !== false) yield* turn
      said.push("owns")
      return opened
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => said.push("stops"))))
  const finished = (opening: ShardOpening) =>
    new Promise<Exit.Exit<OpenShard, unknown>>((resolve) => opening.finish((exit) => resolve(exit)))
  const turns = () => new Promise<void>((resolve) => setTimeout(resolve, 0))

  beforeEach(() => {
    said = []
    isBroken = false
  })

  it("goes on with what it has read ahead, once", async () => {
    const opening = new ShardOpening(open)
    opening.begin()
    opening.begin()
    await turns()
    assert.deepStrictEqual(said, ["reads"])
    assert.deepStrictEqual(await finished(opening), Exit.succeed(opened))
    assert.deepStrictEqual(said, ["reads", "owns"])
  })

  it("begins anew when what it read ahead was dropped", async () => {
    const opening = new ShardOpening(open)
    opening.begin()
    await turns()
    opening.drop()
    await turns()
    await finished(opening)
    assert.deepStrictEqual(said, ["reads", "stops", "reads", "owns"])
  })

  it("begins anew when reading ahead failed, and tells when that fails too", async () => {
    const opening = new ShardOpening(open)
    isBroken = true
    opening.begin()
    await turns()
    assert.isTrue(Exit.isFailure(await finished(opening)))
    isBroken = false
    assert.deepStrictEqual(await finished(opening), Exit.succeed(opened))
    assert.deepStrictEqual(said, ["reads", "reads", "reads", "owns"])
  })

  it("tells nobody of what was abandoned", async () => {
    const opening = new ShardOpening(open)
    let isTold = false
    opening.begin()
    await turns()
    opening.finish(() => {
      isTold = true
    })
    opening.abandon()
    await turns()
    assert.isFalse(isTold)
    assert.deepStrictEqual(said.filter((what) => what === "reads").length, 1)
  })
})
