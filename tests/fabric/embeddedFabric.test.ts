/**
 * What only the embedded maker promises: one process per directory, a thread that may die, order within one turn of the
 * event loop, and what lies on the disk.
 *
 * @module
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as StoreClient from "../../src/planes/fabric/embedded/StoreClient.ts"
import { type Change, KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import { Log } from "../../src/planes/fabric/Log.ts"
import { WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"
import { embedded, layer } from "./EmbeddedMaker.ts"
import { eventually, type FabricPlace, using } from "./FabricMaker.ts"

const bytes = (text: string) => Buffer.from(text)

/** Rows of the closed store. */
const rows = (directory: string, sql: string) => {
  const database = new DatabaseSync(path.join(directory, "millrace.db"), { readOnly: true })
  try {
    return database.prepare(sql).all()
  } finally {
    database.close()
  }
}

describe("embedded fabric", () => {
  let place: FabricPlace
  beforeEach(async () => {
    place = await embedded.makePlace()
  })
  afterEach(() => place.remove())

  it("refuses a directory that another process uses, names its pid, and takes it as soon as that one was killed", async () => {
    const child = spawn(
      process.execPath,
      [
        fileURLToPath(new URL("./confirmingChild.ts", import.meta.url)),
        embedded.module.href,
        place.address,
        "keyValue",
        "honest",
        "1"
      ],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    let output = ""
    child.stdout.on("data", (data) => {
      output += String(data)
    })
    try {
      await eventually(
        "the other process writes",
        () => output.length,
        (length) => length > 0
      )
      const error = await Effect.runPromise(
        Effect.flip(
          Effect.scoped(
            Effect.provide(
              Log.use((log) => log.bounds("a")),
              layer(place.address)
            )
          )
        )
      )
      assert.strictEqual(error._tag, "FabricUnavailable")
      assert.include(error.message, `in use by process ${child.pid}`)
      assert.include(error.message, "--state")
    } finally {
      const closed = new Promise((resolve) => child.once("close", resolve))
      child.kill("SIGKILL")
      await closed
    }
    await using(embedded, place, (fabric) => fabric.run(Log.use((log) => log.append("a", 0, [bytes("x")]))))
  })

  it("gives the directory back on closing, with everything in one file", async () => {
    await using(embedded, place, (fabric) => fabric.run(Log.use((log) => log.append("a", 0, [bytes("x")]))))
    assert.deepStrictEqual(fs.readdirSync(place.address).sort(), [
      "blobs",
      "blobs-partial",
      "millrace.db",
      "millrace.mark"
    ])
  })

  it("finishes what was asked for before it closes", async () => {
    await using(embedded, place, async (fabric) => {
      // Not awaited: closing begins while they wait for the disk.
      void fabric
        .run(
          Effect.gen(function* () {
            const log = yield* Log
            yield* Effect.forEach(
              Array.from({ length: 100 }, (_, index) => index),
              (index) => log.append("a", index, [new Uint8Array(5000)]),
              { concurrency: "unbounded" }
            )
          })
        )
        .catch(() => undefined)
    })
    const bounds = await using(embedded, place, (fabric) => fabric.run(Log.use((log) => log.bounds("a"))))
    assert.deepStrictEqual(bounds, { first: 0, end: 100 })
  })

  it("K4: a change reaches the watchers before the put that made it answers", async () => {
    await using(embedded, place, (fabric) =>
      fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const keyValue = yield* KeyValue
            const changes: Array<Change> = []
            yield* keyValue.watch("", (change) => changes.push(change))
            for (let index = 1; index <= 20; index++) {
              const revision = yield* keyValue.put("key", bytes(`${index}`))
              const last = changes.at(-1)
              assert.strictEqual(last?._tag === "Put" ? last.entry.revision : 0, revision)
            }
          })
        )
      )
    )
  })

  it("a published message is with its consumer in the same turn, and one that is acked at once is never written", async () => {
    await using(embedded, place, (fabric) =>
      fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const workQueue = yield* WorkQueue
            const delivered: Array<string> = []
            yield* workQueue.consume("orders.>", { ackWaitMs: 60_000, maxInFlight: 10 }, (delivery) => {
              delivered.push(delivery.messageId)
              if (delivery.messageId !== "held") delivery.ack()
            })
            for (const id of ["one", "two", "held"]) {
              const publishing = yield* Effect.forkChild(workQueue.publish("orders.a", id, bytes(id)), {
                startImmediately: true
              })
              assert.strictEqual(delivered.at(-1), id, "it was not delivered before publish had to wait")
              assert.strictEqual(
                publishing.pollUnsafe() === undefined,
                id === "held",
                "what is acked waits for no disk"
              )
            }
          })
        )
      )
    )
    const stored = rows(place.address, "SELECT message_id FROM queue_message").map((row) => row["message_id"])
    assert.deepStrictEqual(stored, ["held"])
  })

  it("an append that is interrupted before it was sent never happens", async () => {
    await using(embedded, place, (fabric) =>
      fabric.run(
        Effect.gen(function* () {
          const log = yield* Log
          const appending = yield* Effect.forkChild(log.append("a", 0, [bytes("x")]), { startImmediately: true })
          yield* Fiber.interrupt(appending)
          assert.deepStrictEqual(yield* log.bounds("a"), { first: 0, end: 0 })
        })
      )
    )
  })

  it("what would make the waiting orders take too much memory is refused, may be tried again, and did not happen", async () => {
    const client = await StoreClient.open({ directory: place.address, onFailure: () => undefined })
    const append = (expectedPosition: number) =>
      new Promise<unknown>((resolve) =>
        client.submit<"Append">({
          bytes: 50 * 1024 * 1024,
          order: () => ({ _tag: "Append", shard: "a", expectedPosition, count: 1, bytes: new Uint8Array(4) }),
          onAnswer: resolve
        })
      )
    const answers = await Promise.all([append(0), append(1), append(2)])
    assert.deepStrictEqual(answers.slice(0, 2), [
      { _tag: "Done", value: 1 },
      { _tag: "Done", value: 2 }
    ])
    assert.deepInclude(answers[2], { _tag: "Refused", retryable: true })
    assert.deepStrictEqual(await append(2), { _tag: "Done", value: 3 })
    await client.close()
  })

  it("when the store thread dies, writes under way are unknown and later ones refused, and what was confirmed is there", async () => {
    const failures: Array<string> = []
    const threads: Array<Worker> = []
    const client = await StoreClient.open({
      directory: place.address,
      onFailure: (reason) => failures.push(reason),
      startThread: (url, workerData) => {
        const thread = new Worker(url, { workerData })
        threads.push(thread)
        return thread
      }
    })
    const append = (expectedPosition: number) =>
      new Promise<string>((resolve) =>
        client.submit<"Append">({
          bytes: 100_000,
          order: () => ({ _tag: "Append", shard: "a", expectedPosition, count: 1, bytes: new Uint8Array(100_000) }),
          onAnswer: (answer) => resolve(answer._tag)
        })
      )
    assert.strictEqual(await append(0), "Done")
    const underWay = Array.from({ length: 300 }, (_, index) => append(index + 1))
    await threads[0]!.terminate()
    const answers = ["Done", ...(await Promise.all(underWay))]
    assert.include(answers, "Unknown")
    assert.includeMembers(["Done", "Unknown", "Refused"], answers)
    assert.strictEqual(await append(400), "Refused")
    assert.strictEqual(failures.length, 1)
    await client.close()
    const { end } = await using(embedded, place, (fabric) => fabric.run(Log.use((log) => log.bounds("a"))))
    assert.isAtLeast(end, answers.filter((answer) => answer === "Done").length)
    assert.isAtMost(end, answers.filter((answer) => answer !== "Refused").length)
  })
})
