/**
 * Laws S1 to S4 of a log beside the shard's (text in `src/planes/invocation/SideLog.ts`), over a log in memory whose disk
 * fills up and is freed again.
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as SideLog from "../../src/planes/invocation/SideLog.ts"
import * as MemoryLog from "../support/MemoryLog.ts"
import { eventually } from "../support/TestPlatform.ts"

const open = (log: MemoryLog.MemoryLog) => Effect.runPromise(SideLog.open(log.service, "beside", false, () => {}))
const bytesOf = (value: number) => Uint8Array.of(value)
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe("a log beside the shard's", () => {
  it("S1, S2: records are read where add said, in the order of the adds", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 40 }), async (pauses) => {
        const side = await open(MemoryLog.make())
        const added: Array<Promise<number>> = []
        for (const [index, isPause] of pauses.entries()) {
          added.push(side.add(bytesOf(index)))
          if (isPause) await turn()
        }
        const positions = await Promise.all(added)
        assert.deepStrictEqual(
          positions,
          pauses.map((_, index) => index)
        )
        for (const position of positions) assert.deepStrictEqual(await side.read(position), bytesOf(position))
      }),
      { numRuns: 50 }
    )
  })

  it("S3: after a failed append everything fails, the waiting ones as never written", async () => {
    const log = MemoryLog.make()
    const side = await open(log)
    log.fail = true
    const outcomes = await Promise.allSettled([side.add(bytesOf(1)), turn().then(() => side.add(bytesOf(2)))])
    log.fail = false
    const later = await Promise.allSettled([side.add(bytesOf(3))])
    for (const outcome of [...outcomes, ...later]) {
      assert.isTrue(outcome.status === "rejected" && outcome.reason instanceof SideLog.SideLogFailed)
    }
    assert.strictEqual(log.bytes("beside"), 0)
  })

  it("S4: what a full disk refuses waits, in order, until there is room", async () => {
    const log = MemoryLog.make()
    const side = await open(log)
    log.isFull = true
    const first = side.add(bytesOf(7))
    await eventually("it is refused", () => log.refusedCount > 0 || undefined)
    const second = side.add(bytesOf(8))
    await eventually("it is refused again", () => log.refusedCount > 1 || undefined)
    assert.isUndefined(side.failed)
    log.isFull = false
    assert.deepStrictEqual(await Promise.all([first, second]), [0, 1])
    assert.deepStrictEqual(await side.read(1), bytesOf(8))
  })

  it("S4: a log that closes does not wait for room", async () => {
    const log = MemoryLog.make()
    const side = await open(log)
    log.isFull = true
    const lost = side.add(bytesOf(7)).catch((error: unknown) => error)
    await eventually("it is refused", () => log.refusedCount > 0 || undefined)
    await side.flushed()
    assert.instanceOf(await lost, SideLog.SideLogFailed)
    assert.strictEqual(log.bytes("beside"), 0)
  })
})
