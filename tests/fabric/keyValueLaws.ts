/**
 * The laws of `KeyValue`, for any maker. Numbers as in `src/planes/fabric/KeyValue.ts`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Change, KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import {
  eventually,
  type FabricMaker,
  type FabricPlace,
  killWhileWriting,
  type OpenFabric,
  open,
  using,
  withPlace
} from "./FabricMaker.ts"
import * as Written from "./Written.ts"

const bytes = (text: string) => Buffer.from(text)
const isCaughtUp = (changes: ReadonlyArray<Change>) => changes.some((change) => change._tag === "CaughtUp")

const revisionOf = (change: Change): number =>
  change._tag === "Put" ? change.entry.revision : change._tag === "Deleted" ? change.revision : 0

/** What a watcher holds after these changes, as `key=value@revision`. */
const fold = (changes: ReadonlyArray<Change>): ReadonlyArray<string> => {
  const state = new Map<string, string>()
  for (const change of changes) {
    if (change._tag === "Deleted") state.delete(change.key)
    if (change._tag === "Put") {
      const { key, value, revision } = change.entry
      state.set(key, `${key}=${Buffer.from(value)}@${revision}`)
    }
  }
  return [...state.values()].sort()
}

const stored = (prefix: string) =>
  Effect.map(
    KeyValue.use((keyValue) => keyValue.list(prefix)),
    (entries) => entries.map(({ key, value, revision }) => `${key}=${Buffer.from(value)}@${revision}`)
  )

/** Waits until the watcher who collects `changes` holds what is stored now. */
const hasAll = (prefix: string, changes: ReadonlyArray<Change>) =>
  Effect.flatMap(stored(prefix), (entries) => {
    const expected = JSON.stringify([...entries].sort())
    return Effect.promise(() =>
      eventually(
        "the watcher has what is stored",
        () => fold(changes),
        (seen) => isCaughtUp(changes) && JSON.stringify(seen) === expected
      )
    )
  })

/** Keys that are in one another's way on purpose. */
const keys = ["a", "a.b", "a.c", "ab", "a%", "a_"] as const

type Write = { readonly key: string; readonly value: string | undefined }

const writes = fc.array(
  fc.record({ key: fc.constantFrom(...keys), value: fc.option(fc.string({ maxLength: 8 }), { nil: undefined }) }),
  { maxLength: 30 }
)

const write = (prefix: string, { key, value }: Write) =>
  KeyValue.use((keyValue) =>
    value === undefined ? keyValue.remove(prefix + key) : keyValue.put(prefix + key, bytes(value))
  )

const findFaults = async (fabric: OpenFabric, confirmed: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const entries = await fabric.run(KeyValue.use((keyValue) => keyValue.list("")))
  const values = new Map(entries.map((entry) => [entry.key, Buffer.from(entry.value)]))
  return confirmed.flatMap((key) => {
    const value = values.get(key)
    if (value === undefined) return [`${key} was confirmed and is gone`]
    return value.equals(Written.bytes(key)) ? [] : [`the value of ${key} changed`]
  })
}

export const keyValueLaws = (maker: FabricMaker): void => {
  describe(`KeyValue: ${maker.name}`, () => {
    let place: FabricPlace
    let fabric: OpenFabric
    let prefixCount = 0
    const freshPrefix = () => `laws${prefixCount++}/`

    beforeAll(async () => {
      place = await maker.makePlace()
      fabric = await open(maker, place)
    })
    afterAll(async () => {
      await fabric?.close()
      await place?.remove()
    })

    it("K1: what was put, replaced and removed is the same after a restart, byte for byte", async () => {
      const binary = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
      await withPlace(maker, async (place) => {
        const before = await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              const keyValue = yield* KeyValue
              yield* keyValue.put("kept", binary)
              yield* keyValue.put("replaced", bytes("old"))
              yield* keyValue.put("replaced", bytes(""))
              yield* keyValue.put("removed", bytes("x"))
              yield* keyValue.remove("removed")
              return yield* stored("")
            })
          )
        )
        await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              const keyValue = yield* KeyValue
              assert.deepStrictEqual(yield* stored(""), before)
              const kept = yield* keyValue.get("kept")
              assert.isTrue(kept !== undefined && binary.equals(kept.value))
              assert.strictEqual((yield* keyValue.get("replaced"))?.value.byteLength, 0)
              assert.isUndefined(yield* keyValue.get("removed"))
            })
          )
        )
      })
    })

    it("K1: a kill in the middle of putting takes nothing that was confirmed", async () => {
      await withPlace(maker, async (place) => {
        const options = { scenario: "keyValue", honesty: "honest", seed: 1, lineCount: 60 } as const
        const lines = await killWhileWriting(maker, place, options)
        assert.deepStrictEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("control: the same check finds the loss of a writer that confirms before it puts", async () => {
      await withPlace(maker, async (place) => {
        const options = { scenario: "keyValue", honesty: "early", seed: 1, lineCount: 60 } as const
        const lines = await killWhileWriting(maker, place, options)
        assert.notDeepEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("K2: revisions grow over all keys, over removals and over a restart", async () => {
      await withPlace(maker, async (place) => {
        const revisions: Array<number> = []
        for (let round = 0; round < 2; round++) {
          await using(maker, place, (fabric) =>
            fabric.run(
              Effect.gen(function* () {
                const keyValue = yield* KeyValue
                for (const key of ["a", "b", "a"]) revisions.push(yield* keyValue.put(key, bytes(key)))
                yield* keyValue.remove("a")
                yield* keyValue.remove("b")
              })
            )
          )
        }
        for (const [index, revision] of revisions.entries()) {
          if (index > 0) assert.isAbove(revision, revisions[index - 1]!)
        }
      })
    })

    it("K3: of several compare-and-sets at one revision exactly one succeeds, and its value stays", async () => {
      const key = `${freshPrefix()}key`
      await fabric.run(
        Effect.gen(function* () {
          const keyValue = yield* KeyValue
          // The first round expects that there is no key, the second a revision that there is.
          for (const expected of [0, yield* Effect.as(Effect.void, undefined)]) {
            const revision = expected ?? (yield* keyValue.get(key))?.revision
            const results = yield* Effect.forEach(
              ["x", "y", "z"],
              (value) => Effect.result(keyValue.put(key, bytes(value), revision)),
              { concurrency: "unbounded" }
            )
            const winners = ["x", "y", "z"].filter((_, index) => results[index]?._tag === "Success")
            assert.strictEqual(winners.length, 1)
            for (const result of results) {
              if (result._tag === "Failure") assert.strictEqual(result.failure._tag, "RevisionConflict")
            }
            assert.strictEqual(Buffer.from((yield* keyValue.get(key))?.value ?? []).toString(), winners[0])
          }
        })
      )
    })

    it("K3: removing compares too, and removing what is not there succeeds", async () => {
      const key = `${freshPrefix()}key`
      await fabric.run(
        Effect.gen(function* () {
          const keyValue = yield* KeyValue
          yield* keyValue.remove(key)
          const first = yield* keyValue.put(key, bytes("1"))
          const second = yield* keyValue.put(key, bytes("2"), first)
          const error = yield* Effect.flip(keyValue.remove(key, first))
          assert.strictEqual(error._tag, "RevisionConflict")
          assert.include(error, { key, expected: first, actual: second })
          yield* keyValue.remove(key, second)
          assert.isUndefined(yield* keyValue.get(key))
        })
      )
    })

    it("K4: a watch that begins in the middle of writing has every change once, in order, and ends with what is stored", async () => {
      await fc.assert(
        fc.asyncProperty(writes, writes, async (before, after) => {
          const prefix = freshPrefix()
          const changes: Array<Change> = []
          await fabric.run(
            Effect.scoped(
              Effect.gen(function* () {
                const keyValue = yield* KeyValue
                const writer = (list: ReadonlyArray<Write>) =>
                  Effect.forEach(list, (one) => write(prefix, one), { concurrency: "unbounded" })
                yield* Effect.all(
                  [writer(before), keyValue.watch(prefix, (change) => changes.push(change)), writer(after)],
                  {
                    concurrency: "unbounded"
                  }
                )
                yield* hasAll(prefix, changes)
              })
            )
          )
          const start = changes.findIndex((change) => change._tag === "CaughtUp")
          const live = changes.slice(start + 1).map(revisionOf)
          assert.deepStrictEqual(
            live,
            [...new Set(live)].sort((left, right) => left - right),
            "changes repeat or are out of order"
          )
          const initial = Math.max(0, ...changes.slice(0, start).map(revisionOf))
          if (live.length > 0) assert.isAbove(live[0]!, initial)
        }),
        { numRuns: 30 }
      )
    })

    it("K4: a watch over more than comes at once has everything, and what changes meanwhile, in order", async () => {
      const prefix = freshPrefix()
      const changes: Array<Change> = []
      const keys = Array.from({ length: 400 }, (_, index) => `${prefix}${String(index).padStart(3, "0")}`)
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const keyValue = yield* KeyValue
            const putAll = (from: number, text: string) =>
              Effect.forEach(keys.slice(from), (key) => keyValue.put(key, bytes(text.repeat(2_000))), {
                concurrency: 32,
                discard: true
              })
            yield* putAll(0, "a")
            const removals = Effect.forEach([0, 199, 399], (index) => keyValue.remove(keys[index] ?? ""))
            yield* Effect.all([keyValue.watch(prefix, (change) => changes.push(change)), putAll(300, "b"), removals], {
              concurrency: "unbounded"
            })
            yield* hasAll(prefix, changes)
          })
        )
      )
      const start = changes.findIndex((change) => change._tag === "CaughtUp")
      const live = changes.slice(start + 1).map(revisionOf)
      assert.deepStrictEqual(
        live,
        live.toSorted((left, right) => left - right)
      )
      const newest = new Map<string, number>()
      for (const change of changes) {
        if (change._tag === "CaughtUp") continue
        const [key, revision] =
          change._tag === "Put" ? [change.entry.key, change.entry.revision] : [change.key, change.revision]
        assert.isAbove(revision, newest.get(key) ?? 0, "an older state came after a newer one")
        newest.set(key, revision)
      }
    })

    it("K4: no change is left out, not even one that was overwritten at once", async () => {
      const prefix = freshPrefix()
      const changes: Array<Change> = []
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const keyValue = yield* KeyValue
            yield* keyValue.put(`${prefix}old`, bytes("old"))
            yield* keyValue.watch(prefix, (change) => changes.push(change))
            yield* Effect.promise(() => eventually("the watcher catches up", () => changes, isCaughtUp))
            yield* Effect.forEach([1, 2, 3, 4, 5], (value) => keyValue.put(`${prefix}key`, bytes(`${value}`)), {
              concurrency: "unbounded"
            })
            yield* keyValue.remove(`${prefix}key`)
            yield* keyValue.put(`${prefix}elsewhere`, bytes("e"))
            yield* Effect.promise(() =>
              eventually(
                "nine changes arrive",
                () => changes.length,
                (count) => count >= 9
              )
            )
          })
        )
      )
      assert.deepStrictEqual(
        changes.map((change) =>
          change._tag === "Put"
            ? `${change.entry.key.slice(prefix.length)}=${Buffer.from(change.entry.value)}`
            : change._tag === "Deleted"
              ? `-${change.key.slice(prefix.length)}`
              : change._tag
        ),
        ["old=old", "CaughtUp", "key=1", "key=2", "key=3", "key=4", "key=5", "-key", "elsewhere=e"]
      )
    })

    it("K4: a watcher that throws harms neither the writer nor another watcher, and one whose scope closed hears nothing", async () => {
      const prefix = freshPrefix()
      const heard: Array<Change> = []
      const closed: Array<Change> = []
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const keyValue = yield* KeyValue
            yield* keyValue.watch(prefix, () => {
              throw new Error("a watcher's own fault, thrown by the test")
            })
            yield* keyValue.watch(prefix, (change) => heard.push(change))
            yield* Effect.scoped(keyValue.watch(prefix, (change) => closed.push(change)))
            const closedBefore = closed.length
            yield* keyValue.put(`${prefix}key`, bytes("1"))
            yield* Effect.promise(() =>
              eventually(
                "the change is heard",
                () => heard.length,
                (count) => count === 2
              )
            )
            assert.strictEqual(closed.length, closedBefore)
          })
        )
      )
    })

    it("K6: a watch that goes on from where another stood ends with what is stored, and hears of nothing twice", async () => {
      await fc.assert(
        fc.asyncProperty(writes, writes, writes, async (before, between, after) => {
          const prefix = freshPrefix()
          const first: Array<Change> = []
          const second: Array<Change> = []
          const held = () => new Set(fold(first).map((entry) => entry.slice(0, entry.indexOf("="))))
          let isGoingOn = false
          const all = (list: ReadonlyArray<Write>) => Effect.forEach(list, (one) => write(prefix, one))
          const heardOf = (entry: string) => Number(entry.slice(entry.lastIndexOf("@") + 1))
          await fabric.run(
            Effect.gen(function* () {
              const keyValue = yield* KeyValue
              yield* all(before)
              const position = yield* Effect.scoped(
                Effect.gen(function* () {
                  const watch = yield* keyValue.watch(prefix, (change) => first.push(change), { known: held })
                  yield* hasAll(prefix, first)
                  return watch.position()
                })
              )
              yield* all(between)
              const onGoingOn = () => {
                isGoingOn = true
              }
              const goOn = { from: position ?? "nowhere", onGoingOn }
              const onChange = (change: Change) => {
                // Said before the first change, and only where there was a position.
                if (second.length === 0 && isGoingOn) assert.isDefined(position)
                second.push(change)
              }
              yield* Effect.scoped(
                Effect.gen(function* () {
                  yield* keyValue.watch(prefix, onChange, { known: held, goOn })
                  yield* all(after)
                  const wanted = JSON.stringify([...(yield* stored(prefix))].sort())
                  const seen = () => JSON.stringify(fold([...(isGoingOn ? first : []), ...second]))
                  yield* Effect.promise(() =>
                    eventually("the second has what is stored", seen, (one) => isCaughtUp(second) && one === wanted)
                  )
                })
              )
              assert.strictEqual(isGoingOn, position !== undefined)
            })
          )
          if (!isGoingOn) return
          const known = Math.max(0, ...fold(first).map(heardOf))
          const heard = second.filter((change) => change._tag !== "CaughtUp").map(revisionOf)
          assert.deepStrictEqual(
            heard,
            [...new Set(heard)].sort((left, right) => left - right)
          )
          for (const revision of heard) assert.isAbove(revision, known)
        }),
        { numRuns: 30 }
      )
    })

    it("K5: a prefix is text: no character of it is special, and a list is in order of key", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(
            fc.string({ unit: fc.constantFrom("a", "b", "%", "_", "*", ".", ">"), minLength: 1, maxLength: 4 }),
            {
              maxLength: 12
            }
          ),
          fc.string({ unit: fc.constantFrom("a", "b", "%", "_", "*", ".", ">"), maxLength: 2 }),
          async (names, wanted) => {
            const prefix = freshPrefix()
            const found = await fabric.run(
              Effect.gen(function* () {
                const keyValue = yield* KeyValue
                yield* Effect.forEach(names, (name) => keyValue.put(prefix + name, bytes(name)), {
                  concurrency: "unbounded"
                })
                return yield* keyValue.list(prefix + wanted)
              })
            )
            assert.deepStrictEqual(
              found.map((entry) => entry.key),
              names
                .filter((name) => name.startsWith(wanted))
                .map((name) => prefix + name)
                .sort()
            )
          }
        ),
        { numRuns: 30 }
      )
    })

    it("refuses the empty key and a key of more than a kilobyte", async () => {
      for (const key of ["", "k".repeat(2000)]) {
        const error = await fabric.run(Effect.flip(KeyValue.use((keyValue) => keyValue.put(key, bytes("x")))))
        assert.strictEqual(error._tag, "FabricUnavailable")
      }
    })
  })
}
