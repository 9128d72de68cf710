/**
 * The laws of `Log`, for any maker. Numbers as in `src/planes/fabric/Log.ts`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { Log } from "../../src/planes/fabric/Log.ts"
import {
  type FabricMaker,
  type FabricPlace,
  killWhileWriting,
  type OpenFabric,
  open,
  using,
  withPlace
} from "./FabricMaker.ts"
import * as LogModel from "./LogModel.ts"
import * as Written from "./Written.ts"

const text = (value: string) => Buffer.from(value)
const texts = (records: ReadonlyArray<{ readonly bytes: Uint8Array }>) =>
  records.map((record) => Buffer.from(record.bytes).toString())

const readAll = (shard: string) =>
  Effect.gen(function* () {
    const log = yield* Log
    const { first, end } = yield* log.bounds(shard)
    const records = []
    for (let position = first; position < end; ) {
      const more = yield* log.read(shard, position, 500)
      assert.notEqual(more.length, 0, `nothing at ${position} of ${shard}, which ends at ${end}`)
      records.push(...more)
      position += more.length
    }
    return { first, end, records }
  })

/** What was confirmed and is not there, or is not what was written. */
const findFaults = async (fabric: OpenFabric, lines: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const faults: Array<string> = []
  for (const shard of Written.shards) {
    const confirmed = lines
      .filter((line) => line.startsWith(`${shard} `))
      .reduce((end, line) => Math.max(end, Number(line.split(" ")[1])), 0)
    const { end, records } = await fabric.run(readAll(shard))
    if (end < confirmed) faults.push(`${shard} was confirmed up to ${confirmed} and ends at ${end}`)
    for (const [index, record] of records.entries()) {
      const fault = Written.recordFault(shard, index, end, record.bytes)
      if (fault !== undefined) faults.push(fault)
    }
  }
  return faults
}

export const logLaws = (maker: FabricMaker): void => {
  describe(`Log: ${maker.name}`, () => {
    let place: FabricPlace
    let fabric: OpenFabric
    let shardCount = 0
    const freshShard = () => `laws-${shardCount++}`

    beforeAll(async () => {
      place = await maker.makePlace()
      fabric = await open(maker, place)
    })
    afterAll(async () => {
      await fabric?.close()
      await place?.remove()
    })

    it("F1, F3, F4, F5: behaves like an array, whatever is asked and however often it is reopened", async () => {
      await withPlace(maker, async (place) => {
        let run = 0
        await fc.assert(
          fc.asyncProperty(LogModel.commands, async (commands) => {
            const real: LogModel.Real = {
              fabric: await open(maker, place),
              reopen: () => open(maker, place),
              run: run++
            }
            try {
              await fc.asyncModelRun(() => ({ model: LogModel.empty(), real }), commands)
            } finally {
              await real.fabric.close()
            }
          }),
          { numRuns: 20, interruptAfterTimeLimit: 20_000 }
        )
      })
    }, 60_000)

    it("F1, F2: a kill in the middle of appending takes nothing that was confirmed and leaves no half batch", async () => {
      await withPlace(maker, async (place) => {
        for (const seed of [1, 2]) {
          const lines = await killWhileWriting(maker, place, {
            scenario: "log",
            honesty: "honest",
            seed,
            lineCount: 60
          })
          assert.deepStrictEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
        }
      })
    }, 60_000)

    it("control: the same check finds the loss of a writer that confirms before it appends", async () => {
      await withPlace(maker, async (place) => {
        const lines = await killWhileWriting(maker, place, {
          scenario: "log",
          honesty: "early",
          seed: 4,
          lineCount: 60
        })
        assert.notDeepEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("F3: of several owners that append at one position exactly one succeeds, and its batch is there whole", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 6 }), async (sizes) => {
          const shard = freshShard()
          const batches = sizes.map((size, owner) => Array.from({ length: size }, (_, index) => `${owner}.${index}`))
          const results = await fabric.run(
            Effect.gen(function* () {
              const log = yield* Log
              return yield* Effect.forEach(batches, (batch) => Effect.result(log.append(shard, 0, batch.map(text))), {
                concurrency: "unbounded"
              })
            })
          )
          const winners = results.flatMap((result, owner) => (result._tag === "Success" ? [owner] : []))
          assert.strictEqual(winners.length, 1)
          const winner = batches[winners[0]!]!
          for (const result of results) {
            if (result._tag === "Failure") {
              assert.strictEqual(result.failure._tag, "PositionConflict")
              assert.include(result.failure, { shard, expected: 0, actual: winner.length })
            }
          }
          assert.deepStrictEqual(texts((await fabric.run(readAll(shard))).records), winner)
        }),
        { numRuns: 20 }
      )
    })

    it("F3: a stale append leaves the batches alone that were sent together with it", async () => {
      const [stale, ...healthy] = [freshShard(), freshShard(), freshShard()]
      const answers = await fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          yield* log.append(stale!, 0, [text("owner")])
          return yield* Effect.forEach(
            [stale!, ...healthy],
            (shard) => Effect.result(log.append(shard, 0, [text(shard)])),
            { concurrency: "unbounded" }
          )
        })
      )
      assert.deepStrictEqual(
        answers.map((answer) => answer._tag),
        ["Failure", "Success", "Success"]
      )
      assert.deepStrictEqual(texts((await fabric.run(readAll(stale!))).records), ["owner"])
      for (const shard of healthy) assert.deepStrictEqual(texts((await fabric.run(readAll(shard))).records), [shard])
    })

    it("F4: an owner may append the next batch before the last one was confirmed", async () => {
      const shard = freshShard()
      const ends = await fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          return yield* Effect.forEach(
            Array.from({ length: 50 }, (_, index) => index),
            (index) => log.append(shard, index * 2, [text(`${index}a`), text(`${index}b`)]),
            { concurrency: "unbounded" }
          )
        })
      )
      assert.deepStrictEqual(
        ends,
        Array.from({ length: 50 }, (_, index) => index * 2 + 2)
      )
      const { records } = await fabric.run(readAll(shard))
      assert.deepStrictEqual(
        texts(records),
        Array.from({ length: 100 }, (_, index) => `${Math.floor(index / 2)}${index % 2 === 0 ? "a" : "b"}`)
      )
    })

    it("F5: reading before the truncation point fails and says to load the snapshot", async () => {
      const shard = freshShard()
      const error = await fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          for (let position = 0; position < 10; position++) yield* log.append(shard, position, [text(`${position}`)])
          yield* log.truncate(shard, 6)
          return yield* Effect.flip(log.read(shard, 0, 10))
        })
      )
      assert.strictEqual(error._tag, "FabricUnavailable")
      assert.isFalse(error.retryable)
      assert.include(error.message, "snapshot")
    })

    it("F5: a snapshot of some megabytes comes back whole and replaces the one before it", async () => {
      const shard = freshShard()
      const first = Buffer.alloc(3_000_000, "first ")
      const second = Buffer.alloc(1_500_001, "second ")
      await withPlace(maker, async (place) => {
        await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              const log = yield* Log
              assert.isUndefined(yield* log.loadSnapshot(shard))
              yield* log.saveSnapshot(shard, { position: 3, bytes: first })
              const loaded = yield* log.loadSnapshot(shard)
              assert.strictEqual(loaded?.position, 3)
              assert.isTrue(loaded !== undefined && first.equals(loaded.bytes))
              yield* log.saveSnapshot(shard, { position: 7, bytes: second })
            })
          )
        )
        const loaded = await using(maker, place, (fabric) => fabric.run(Log.use((log) => log.loadSnapshot(shard))))
        assert.strictEqual(loaded?.position, 7)
        assert.isTrue(loaded !== undefined && second.equals(loaded.bytes))
      })
    })

    it("F5: a snapshot that stands behind the one that is there is refused for good and changes nothing", async () => {
      const shard = freshShard()
      await fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          yield* log.saveSnapshot(shard, { position: 9, bytes: text("newer") })
          const error = yield* Effect.flip(log.saveSnapshot(shard, { position: 8, bytes: text("older") }))
          assert.strictEqual(error._tag, "FabricUnavailable")
          assert.isFalse(error._tag === "FabricUnavailable" && error.retryable)
          const loaded = yield* log.loadSnapshot(shard)
          assert.strictEqual(loaded?.position, 9)
          assert.deepStrictEqual(Buffer.from(loaded?.bytes ?? []).toString(), "newer")
          yield* log.saveSnapshot(shard, { position: 9, bytes: text("again") })
          assert.deepStrictEqual(Buffer.from((yield* log.loadSnapshot(shard))?.bytes ?? []).toString(), "again")
        })
      )
    })

    it("F6: shards with similar names do not see each other", async () => {
      const base = freshShard()
      const shards = [base, `${base}.x`, `${base}-x`, base.toUpperCase(), `${base}%`]
      await fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          for (const shard of shards) yield* log.append(shard, 0, [text(shard)])
          yield* log.truncate(shards[1]!, 1)
        })
      )
      for (const shard of shards) {
        const { end, records } = await fabric.run(readAll(shard))
        assert.strictEqual(end, 1)
        assert.deepStrictEqual(texts(records), shard === shards[1] ? [] : [shard])
      }
    })

    it("refuses an empty batch, one of 4097 records and a position that is none, and changes nothing", async () => {
      const shard = freshShard()
      const bad: ReadonlyArray<readonly [number, number]> = [
        [0, 0],
        [0, 4097],
        [-1, 1],
        [0.5, 1]
      ]
      await fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          for (const [position, count] of bad) {
            const error = yield* Effect.flip(log.append(shard, position, new Array(count).fill(text("x"))))
            assert.strictEqual(error._tag, "FabricUnavailable")
          }
          assert.deepStrictEqual(yield* log.bounds(shard), { first: 0, end: 0 })
          assert.strictEqual(yield* log.append(shard, 0, new Array(4096).fill(text("x"))), 4096)
        })
      )
    })
  })
}
