import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as RegistrySnapshots from "./RegistrySnapshots.ts"
import * as RegistryTable from "./RegistryTable.ts"

const area = "function-names"
const lookMs = 5

describe("snapshots of the registry", () => {
  let directory = ""
  beforeEach(async () => {
    directory = join(await fs.mkdtemp(join(tmpdir(), "millrace-snapshots-")), "registry")
  })
  afterEach(() => fs.rm(join(directory, ".."), { recursive: true, force: true }))

  /** A registry with so many names, each of which was a change, and its watch. */
  const world = (count: number) => {
    const table = RegistryTable.make({ onListenerFailure: () => undefined })
    const state = { changes: 0, isIncomplete: false, hasOne: false }
    const add = () => {
      state.changes += 1
      const value = Buffer.from(JSON.stringify({ functionId: "00000000-0000-4000-8000-00000000000a" }))
      const key = `${area}/default/f${state.changes}`
      table.apply(area, { _tag: "Put", entry: { key, value, revision: state.changes } })
    }
    for (let left = count; left > 0; left--) add()
    const make = (table_: RegistryTable.RegistryTable, place: Partial<RegistrySnapshots.SnapshotsPlace> = {}) =>
      RegistrySnapshots.make({
        directory,
        recordsMin: 10,
        lookMs,
        ...place,
        table: table_,
        revision: () => state.changes,
        changes: (one) => (one === area ? state.changes : 0),
        hasOne: () => state.hasOne,
        isIncomplete: () => state.isIncomplete
      })
    return { table, state, add, make, watch: { position: () => `at ${state.changes}` } }
  }

  /** While it keeps them: what it warned of. */
  const whileKeeping = async (
    snapshots: RegistrySnapshots.RegistrySnapshots,
    watch: { readonly position: () => string },
    body: (warnings: ReadonlyArray<string>) => Promise<void>
  ) => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ message, cause }) => {
      warnings.push(`${String(message)} ${Cause.pretty(cause)}`)
    })
    await Effect.runPromise(
      Effect.gen(function* () {
        yield* Effect.forkScoped(snapshots.keep(new Map([[area, watch]])))
        yield* Effect.promise(() => body(warnings))
      }).pipe(Effect.scoped, Effect.provide(Logger.layer([logger])))
    )
  }

  const seen = async (snapshots: RegistrySnapshots.RegistrySnapshots) =>
    (await Effect.runPromise(snapshots.read(area)))?.position

  const waitFor = async (isTrue: () => Promise<boolean>) => {
    for (let tries = 0; !(await isTrue()); tries++) {
      if (tries > 2_000) throw new Error("it did not happen")
      await new Promise((resolve) => setTimeout(resolve, lookMs))
    }
  }
  const someLooks = () => new Promise((resolve) => setTimeout(resolve, 20 * lookMs))

  it("P1: its position is the one from before the first record was read", async () => {
    const { table, state, add, make, watch } = world(30)
    const changing: RegistryTable.RegistryTable = {
      ...table,
      *chunks(area) {
        for (const chunk of table.chunks(area, 10)) {
          add()
          yield chunk
        }
      }
    }
    const snapshots = make(changing)
    assert.isTrue(await Effect.runPromise(snapshots.save(area, watch)))
    assert.isAbove(state.changes, 30)
    assert.strictEqual(await seen(snapshots), "at 30")
    assert.strictEqual((await Effect.runPromise(snapshots.read(area)))?.revision, 30)
  })

  it("is written at the start, then again when there is enough that is new", async () => {
    const { add, make, table, watch } = world(20)
    const snapshots = make(table)
    await whileKeeping(snapshots, watch, async () => {
      await waitFor(async () => (await seen(snapshots)) === "at 20")
      for (let left = 999; left > 0; left--) add()
      await someLooks()
      assert.strictEqual(await seen(snapshots), "at 20")
      add()
      await waitFor(async () => (await seen(snapshots)) === "at 1020")
    })
  })

  it("is not written where there is one, too few records, nowhere to go on from, or a record that cannot be read", async () => {
    for (const [given, without] of [
      [{ hasOne: true }, 0],
      [{}, 11],
      [{ isIncomplete: true }, 0]
    ] as const) {
      const { make, state, table, watch } = world(20 - without)
      Object.assign(state, given)
      const snapshots = make(table)
      await whileKeeping(snapshots, watch, async () => void (await someLooks()))
      assert.isUndefined(await seen(snapshots), JSON.stringify(given))
    }
    const { make, table } = world(20)
    assert.isFalse(await Effect.runPromise(make(table).save(area, { position: () => undefined })))
  })

  it("says once that it cannot be written, and tries again with the next changes", async () => {
    const { add, make, table, watch } = world(20)
    await fs.writeFile(directory, "in the way")
    const snapshots = make(table)
    await whileKeeping(snapshots, watch, async (warnings) => {
      await waitFor(async () => warnings.length > 0)
      await someLooks()
      assert.strictEqual(warnings.length, 1)
      assert.include(warnings[0], area)
      assert.include(warnings[0], "EEXIST")
      await fs.rm(directory)
      for (let left = 1_000; left > 0; left--) add()
      await waitFor(async () => (await seen(snapshots)) === "at 1020")
    })
  })
})
