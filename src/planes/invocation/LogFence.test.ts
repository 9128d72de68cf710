import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import * as MemoryLog from "../../../tests/support/MemoryLog.ts"
import type { LogRecord } from "../fabric/Log.ts"
import * as LogFence from "./LogFence.ts"

const text = (value: string) => Buffer.from(value)

const open = (log: MemoryLog.MemoryLog["service"], isShared: boolean) => {
  const seen: Array<string> = []
  const onRecord = ({ bytes }: LogRecord) => seen.push(Buffer.from(bytes).toString())
  const reading = Effect.flatMap(log.bounds("a"), ({ end }) =>
    LogFence.readToEnd(log, { name: "a", from: 0, end, chunk: 2, turn: isShared ? Effect.void : false, onRecord })
  )
  return Effect.runPromise(Effect.map(reading, (position) => ({ position, seen })))
}

describe("the fence of a log", () => {
  it("refuses an owner of before, also where the new one has written nothing of its own yet", async () => {
    const log = MemoryLog.make().service
    await Effect.runPromise(log.append("a", 0, [text("one"), text("two"), text("three")]))
    const first = await open(log, true)
    assert.deepStrictEqual(first, { position: 4, seen: ["one", "two", "three"] })
    const second = await open(log, true)
    assert.deepStrictEqual(second, { position: 5, seen: ["one", "two", "three"] })
    const late = await Effect.runPromise(Effect.flip(log.append("a", first.position, [text("late")])))
    assert.strictEqual(late._tag, "PositionConflict")
    assert.strictEqual(await Effect.runPromise(log.append("a", second.position, [text("mine")])), 6)
  })

  it("shows what an owner of before wrote while it was being deposed, and stands behind it", async () => {
    const log = MemoryLog.make().service
    await Effect.runPromise(log.append("a", 0, [text("one")]))
    let late = 0
    const racing = {
      ...log,
      append: ((shard, position, records, options) =>
        late++ < 3
          ? Effect.andThen(
              log.append(shard, position, [text(`late ${late}`)]),
              log.append(shard, position, records, options)
            )
          : log.append(shard, position, records, options)) satisfies typeof log.append
    }
    const opened = await open(racing, true)
    assert.deepStrictEqual(opened, { position: 5, seen: ["one", "late 1", "late 2", "late 3"] })
  })

  it("reads before its turn, and writes nothing until it is", async () => {
    const log = MemoryLog.make().service
    await Effect.runPromise(log.append("a", 0, [text("one")]))
    const seen: Array<string> = []
    let begin = () => {}
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    const turn = Effect.promise(() => begun)
    const onRecord = ({ bytes }: LogRecord) => seen.push(Buffer.from(bytes).toString())
    const position = Effect.runPromise(
      LogFence.readToEnd(log, { name: "a", from: 0, end: 1, chunk: 2, turn, onRecord })
    )
    await Effect.runPromise(Effect.yieldNow)
    assert.deepStrictEqual(seen, ["one"])
    await Effect.runPromise(log.append("a", 1, [text("late")]))
    begin()
    assert.strictEqual(await position, 3)
    assert.deepStrictEqual(seen, ["one", "late"])
  })

  it("writes nothing where no other process can have the log open", async () => {
    const log = MemoryLog.make().service
    await Effect.runPromise(log.append("a", 0, [text("one")]))
    assert.strictEqual((await open(log, false)).position, 1)
    assert.deepStrictEqual(await Effect.runPromise(log.bounds("a")), { first: 0, end: 1 })
  })
})
