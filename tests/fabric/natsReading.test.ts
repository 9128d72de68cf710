/**
 * Reading a long log from real servers: in few questions, of whoever has it, and the same as its leader has it.
 *
 * @module
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect, headers, type NatsConnection } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { Log } from "../../src/planes/fabric/Log.ts"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import * as StreamReader from "../../src/planes/fabric/nats/StreamReader.ts"
import * as Streams from "../../src/planes/fabric/nats/Streams.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { makePlace, optionsOf } from "./NatsMaker.ts"

const batchCount = 700
const recordsEach = 3
const recordCount = batchCount * recordsEach
const shard = "long"

const nameOf = (position: number) => `record ${position}`

/** Reads as a successor does, in pages. */
const readAll = (from: number, page: number) =>
  Effect.gen(function* () {
    const log = yield* Log
    const { end } = yield* log.bounds(shard)
    const found: Array<string> = []
    for (let position = from; position < end; position = from + found.length) {
      for (const { bytes } of yield* log.read(shard, position, page)) found.push(Buffer.from(bytes).toString())
    }
    return found
  })

describe.skipIf(natsIsMissing)("a long log on NATS", () => {
  let server: RunningNats
  let connection: NatsConnection

  beforeAll(async () => {
    server = await startNats()
    connection = await connect(connectionOptions([server.url], { _tag: "Anonymous" }, "test"))
  })
  afterAll(async () => {
    await connection?.close()
    await server?.remove()
  })

  const open = async (prefix: string) => {
    const place = await makePlace(server, prefix)
    const options = optionsOf(place.address)
    const fabric = () => {
      const runtime = ManagedRuntime.make(Layer.provide(NatsFabric.layer(options), Logger.layer([])))
      return {
        run: <A, E>(effect: Effect.Effect<A, E, Log | NatsFabric.NatsLink>) => runtime.runPromise(effect),
        close: () => runtime.dispose()
      }
    }
    return { place, fabric }
  }

  const fill = Effect.gen(function* () {
    const log = yield* Log
    for (let position = 0; position < recordCount; position += recordsEach) {
      const records = Array.from({ length: recordsEach }, (_, index) => Buffer.from(nameOf(position + index)))
      yield* log.append(shard, position, records)
    }
  })

  const all = Array.from({ length: recordCount }, (_, position) => nameOf(position))

  it("is read by one that never saw it in a few questions, and from the middle of a batch on", async () => {
    const { place, fabric } = await open("reading")
    const writer = fabric()
    await writer.run(fill)
    await writer.close()
    const reader = fabric()
    const supervisor = await reader.run(NatsFabric.NatsLink)
    const before = supervisor.link.connection.stats().outMsgs
    assert.deepStrictEqual(await reader.run(readAll(0, 512)), all)
    // Three for the bounds, a row for each page, and what the supervisor asks meanwhile.
    assert.isAtMost(supervisor.link.connection.stats().outMsgs - before, 30)
    assert.deepStrictEqual(await reader.run(readAll(1_000, 37)), all.slice(1_000))
    await reader.close()
    await place.remove()
  })

  it("is read the same of a stream that lets its leader alone answer", async () => {
    const { place, fabric } = await open("leader")
    const manager = await jetstreamManager(connection)
    const spec = Streams.logStream("leader", shard)
    await manager.streams.add({
      name: spec.name,
      subjects: [...spec.subjects],
      storage: "file",
      discard: "new",
      allow_direct: false
    })
    const writer = fabric()
    await writer.run(fill)
    await writer.close()
    const reader = fabric()
    assert.deepStrictEqual(await reader.run(readAll(0, 512)), all)
    await reader.close()
    await place.remove()
  })

  it("is refused before its first position, also by one that read there before another truncated it", async () => {
    const { place, fabric } = await open("truncated")
    const owner = fabric()
    await owner.run(fill)
    const reader = fabric()
    await reader.run(readAll(0, 500))
    await owner.run(Log.use((log) => log.truncate(shard, 1_500)))
    const early = await reader.run(Effect.flip(Log.use((log) => log.read(shard, 10, 5))))
    assert.strictEqual(early._tag, "FabricUnavailable")
    assert.deepStrictEqual(await reader.run(readAll(1_500, 512)), all.slice(1_500))
    await reader.close()
    await owner.close()
    await place.remove()
  })

  describe("messages in a row, from a server that answers badly (played by the test)", () => {
    let close: () => Promise<void>
    let supervisor: NatsFabric.NatsLink["Service"]
    beforeAll(async () => {
      const { place, fabric } = await open("row")
      const reader = fabric()
      supervisor = await reader.run(NatsFabric.NatsLink)
      close = async () => {
        await reader.close()
        await place.remove()
      }
    })
    afterAll(() => close?.())

    /** What `inRow` makes of these answers to a question for five messages from 10 on. */
    const answered = async (answers: ReadonlyArray<number | "end" | "error">): Promise<ReadonlyArray<number>> => {
      const subscription = connection.subscribe("$JS.API.DIRECT.GET.row", {
        callback: (_, question) => {
          for (const answer of answers) {
            const head = typeof answer === "number" ? headers() : headers(answer === "end" ? 204 : 404, answer)
            if (typeof answer === "number") {
              head.set("Nats-Sequence", String(answer))
              head.set("Nats-Subject", "row")
            }
            question.respond(new Uint8Array(0), { headers: head })
          }
        }
      })
      await connection.flush()
      const found = await StreamReader.inRow(supervisor, "row", { seq: 10, count: 5, bytesMax: 1_000 })
      subscription.unsubscribe()
      return found.map(({ sequence }) => sequence)
    }

    it("D1: nothing behind a gap, and nothing where the first is missing", async () => {
      assert.deepStrictEqual(await answered([10, 11, 13, "end"]), [10, 11])
      assert.deepStrictEqual(await answered([12, 13, "end"]), [])
    })

    it("D2: what there was before the end, an error or a silence", async () => {
      assert.deepStrictEqual(await answered([10, 11, "end", 12]), [10, 11])
      assert.deepStrictEqual(await answered(["error"]), [])
      assert.deepStrictEqual(await answered([10, "error"]), [10])
      assert.deepStrictEqual(await answered([10, 11]), [10, 11])
      assert.deepStrictEqual(await answered([]), [])
    })
  })
})
