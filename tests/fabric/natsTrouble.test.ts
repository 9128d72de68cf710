/**
 * The NATS fabric when something goes wrong, on real servers: they are killed, paused and sent away, consumers vanish and
 * stall, answers get lost, credentials expire.
 *
 * @module
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Fabric } from "../../src/planes/fabric/EmbeddedFabric.ts"
import { type Change, KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import { Log } from "../../src/planes/fabric/Log.ts"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import * as KeySweep from "../../src/planes/fabric/nats/KeySweep.ts"
import { defaultPrefix } from "../../src/planes/fabric/nats/NatsOptions.ts"
import * as Streams from "../../src/planes/fabric/nats/Streams.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"
import { type Delivery, WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"
import { NatsOperator } from "../services/NatsOperator.ts"
import { natsIsMissing, type RunningNats, startCluster, startNats } from "../services/RunningNats.ts"
import { Wire } from "../services/Wire.ts"
import { eventually, type FabricPlace } from "./FabricMaker.ts"
import { makePlace, optionsOf } from "./NatsMaker.ts"

interface Opened {
  readonly run: <A, E>(effect: Effect.Effect<A, E, Fabric | NatsFabric.NatsLink>) => Promise<A>
  readonly supervisor: NatsFabric.NatsLink["Service"]
  readonly close: () => Promise<void>
}

const openWith = async (options: NatsFabric.NatsFabricOptions): Promise<Opened> => {
  const runtime = ManagedRuntime.make(Layer.provide(NatsFabric.layer(options), Logger.layer([])))
  const supervisor = await runtime.runPromise(NatsFabric.NatsLink)
  return { run: (effect) => runtime.runPromise(effect), supervisor, close: () => runtime.dispose() }
}

let placeCount = 0

/** A fabric on this server, in a place of its own. */
const withFabric = async (
  server: RunningNats,
  change: Partial<NatsFabric.NatsFabricOptions>,
  body: (opened: Opened, place: FabricPlace, options: NatsFabric.NatsFabricOptions) => Promise<void>
) => {
  const place = await makePlace(server, `trouble${placeCount++}`)
  const options = { ...optionsOf(place.address), ...change }
  const opened = await openWith(options)
  try {
    await body(opened, place, options)
  } finally {
    await opened.close()
    await place.remove()
  }
}

const text = (value: string) => Buffer.from(value)

const append = (shard: string, position: number, records: ReadonlyArray<string>) =>
  Log.use((log) => log.append(shard, position, records.map(text)))

const readAll = (shard: string) =>
  Effect.gen(function* () {
    const log = yield* Log
    const { first, end } = yield* log.bounds(shard)
    const found: Array<string> = []
    for (let position = first; position < end; position = first + found.length) {
      for (const record of yield* log.read(shard, position, 500)) found.push(Buffer.from(record.bytes).toString())
    }
    return found
  })

/** Appends `0`, `1`, `2`... until told to stop, whatever happens; answers how far it was confirmed. */
const appender = (opened: Opened, shard: string) => {
  let isStopped = false
  let confirmed = 0
  const run = async () => {
    while (!isStopped) {
      const result = await opened.run(Effect.result(append(shard, confirmed, [`${confirmed}`, `${confirmed + 1}`])))
      if (result._tag === "Success") confirmed = result.success
      else if (result.failure._tag === "OutcomeUnknown" || result.failure._tag === "PositionConflict") {
        // As an owner does it: look, then go on from there.
        confirmed = (await opened.run(Log.use((log) => log.bounds(shard)))).end
      }
    }
    return confirmed
  }
  const ended = run()
  return {
    confirmed: () => confirmed,
    stop: () => {
      isStopped = true
      return ended
    }
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index}`)

describe.skipIf(natsIsMissing)("a server that is killed, paused or sent away", () => {
  let server: RunningNats | undefined
  beforeAll(async () => {
    server = await startNats()
  })
  afterAll(() => server?.remove())

  it("kill -9 three times in the middle of appending takes nothing that was confirmed and doubles nothing", async () => {
    await withFabric(server!, { unknownLimitMs: 20_000 }, async (opened) => {
      const writer = appender(opened, "shard")
      for (let round = 0; round < 3; round++) {
        const before = writer.confirmed()
        await eventually("appends", writer.confirmed, (seen) => seen > before + 20)
        await server!.kill()
        await server!.start()
      }
      const before = writer.confirmed()
      await eventually("appends after the last start", writer.confirmed, (seen) => seen > before)
      const confirmed = await writer.stop()
      const found = await opened.run(readAll("shard"))
      assert.isAtLeast(found.length, confirmed)
      assert.deepStrictEqual(found, numbers(found.length))
    })
  }, 60_000)

  it("kill -STOP: not healthy while it is paused, and what was asked for is done when it wakes", async () => {
    await withFabric(server!, { unknownLimitMs: 30_000, requestTimeoutMs: 500 }, async (opened) => {
      await opened.run(append("shard", 0, ["0"]))
      assert.strictEqual((await opened.supervisor.health())._tag, "Healthy")
      await server!.pause()
      try {
        const waiting = opened.run(append("shard", 1, ["1"]))
        assert.strictEqual((await opened.supervisor.health())._tag, "Unhealthy")
        // A server that keeps the connection and says nothing is noticed by pings.
        await eventually(
          "a disconnect",
          () => [...opened.supervisor.events],
          (seen) => seen.includes("disconnected")
        )
        server!.signal("SIGCONT")
        assert.strictEqual(await waiting, 2)
      } finally {
        server!.signal("SIGCONT")
      }
      assert.deepStrictEqual(await opened.run(readAll("shard")), ["0", "1"])
      assert.strictEqual((await opened.supervisor.health())._tag, "Healthy")
    })
  }, 60_000)

  it("an append whose confirmation got lost is found to be there, once", async () => {
    const wire = await Wire.to(server!.settings.port)
    try {
      const servers = [`nats://millrace:race@127.0.0.1:${wire.port}`]
      await withFabric(server!, { servers, requestTimeoutMs: 300, unknownLimitMs: 20_000 }, async (opened) => {
        await opened.run(append("shard", 0, ["0"]))
        wire.mute()
        const waiting = opened.run(append("shard", 1, ["1", "2"]))
        // Asked of the server by another way: it has it, and the writer does not know.
        const name = Streams.logStream(opened.supervisor.options.prefix, "shard").name
        const other = await connect(connectionOptions([server!.url], { _tag: "Anonymous" }, "test"))
        try {
          const manager = await jetstreamManager(other)
          for (let messages = 0; messages < 2; ) messages = (await manager.streams.info(name)).state.messages
        } finally {
          await other.close()
        }
        wire.cut()
        assert.strictEqual(await waiting, 3)
        assert.deepStrictEqual(await opened.run(readAll("shard")), ["0", "1", "2"])
      })
    } finally {
      await wire.close()
    }
  })

  it("an append that cannot be confirmed in time is unknown, and the next one finds out what happened", async () => {
    await withFabric(server!, { unknownLimitMs: 700, requestTimeoutMs: 200 }, async (opened) => {
      await opened.run(append("shard", 0, ["0"]))
      await server!.pause()
      // It must go on whatever this finds, or no later test has a server.
      const error = await opened.run(Effect.flip(append("shard", 1, ["1"]))).finally(() => server!.signal("SIGCONT"))
      assert.strictEqual(error._tag, "OutcomeUnknown")
      await eventually("it is healthy again", () => opened.supervisor.isConnected, Boolean)
      // What the server had heard before it stood may reach its disk at any moment, also between a read and an append.
      const readAndAppend = Effect.flatMap(readAll("shard"), (found) =>
        Effect.map(append("shard", found.length, ["more"]), (end) => end - found.length)
      )
      assert.strictEqual(await opened.run(Effect.retry(readAndAppend, { times: 20 })), 1)
      assert.isAtMost((await opened.run(readAll("shard"))).length, 3)
    })
  }, 60_000)

  it("a deposed owner is refused, also in the middle of a batch of several parts", async () => {
    await withFabric(server!, {}, async (first, _, options) => {
      const second = await openWith(options)
      try {
        await first.run(append("shard", 0, ["first"]))
        await second.run(append("shard", 1, ["second"]))
        const error = await first.run(Effect.flip(append("shard", 1, ["late"])))
        assert.include(error, { _tag: "PositionConflict", expected: 1, actual: 2 })
        assert.strictEqual(await first.run(append("shard", 2, ["third"])), 3)
        const large = Array.from({ length: 5 }, (_, index) => `${index}`.repeat(700_000))
        const results = await Promise.all(
          [first, second].map((owner) => owner.run(Effect.result(append("shard", 3, large))))
        )
        const winners = results.filter((result) => result._tag === "Success")
        assert.isAtMost(winners.length, 1)
        const found = await first.run(readAll("shard"))
        assert.deepStrictEqual(found, ["first", "second", "third", ...(winners.length === 1 ? large : [])])
        const end = found.length
        assert.strictEqual(await second.run(append("shard", end, ["last"])), end + 1)
        assert.deepStrictEqual((await first.run(readAll("shard"))).at(-1), "last")
      } finally {
        await second.close()
      }
    })
  })

  it("an older snapshot does not replace a newer one", async () => {
    await withFabric(server!, {}, async (opened) => {
      await opened.run(Log.use((log) => log.saveSnapshot("shard", { position: 9, bytes: text("new") })))
      const save = Log.use((log) => log.saveSnapshot("shard", { position: 5, bytes: text("old") }))
      assert.strictEqual((await opened.run(Effect.flip(save)))._tag, "FabricUnavailable")
      const kept = await opened.run(Log.use((log) => log.loadSnapshot("shard")))
      assert.strictEqual(kept?.position, 9)
    })
  })

  it("what brings accepted work to its end has room when nothing new has", async () => {
    await withFabric(server!, { logBytesMax: 4 * 1024 * 1024 }, async (opened) => {
      const body = "x".repeat(500_000)
      let end = 0
      const fill = async (): Promise<string> => {
        for (;;) {
          const result = await opened.run(Effect.result(append("shard", end, [body])))
          if (result._tag === "Failure") return result.failure.message
          end = result.success
        }
      }
      assert.include(await fill(), "max_bytes")
      const reserve = Log.use((log) => log.append("shard", end, [text("ended")], { mayUseReserve: true }))
      assert.strictEqual(await opened.run(reserve), end + 1)
      await opened.run(Log.use((log) => log.truncate("shard", end)))
      assert.strictEqual(await opened.run(append("shard", end + 1, [body])), end + 2)
    })
  })

  it("a watch hears of every change, in order, over a kill -9, a restart and the loss of its consumer", async () => {
    await withFabric(server!, {}, async (opened) => {
      const heard: Array<string> = []
      const put = (value: number) => KeyValue.use((keyValue) => keyValue.put("key", text(`${value}`)))
      const onChange = (change: Change) => {
        if (change._tag === "Put") heard.push(Buffer.from(change.entry.value).toString())
      }
      await opened.run(
        Effect.scoped(
          Effect.gen(function* () {
            yield* KeyValue.use((keyValue) => keyValue.watch("", onChange))
            for (let value = 0; value < 5; value++) yield* put(value)
            yield* Effect.promise(async () => {
              await server!.kill()
              await server!.start()
            })
            for (let value = 5; value < 10; value++) yield* put(value)
            yield* Effect.promise(() =>
              eventually(
                "ten",
                () => [...heard],
                (seen) => seen.length === 10
              )
            )
            yield* Effect.promise(() =>
              removeConsumers(opened, Streams.keyStream(opened.supervisor.options.prefix).name)
            )
            for (let value = 10; value < 15; value++) yield* put(value)
            yield* Effect.promise(() =>
              eventually(
                "fifteen",
                () => [...heard],
                (seen) => seen.length === 15
              )
            )
          })
        )
      )
      assert.deepStrictEqual(heard, numbers(15))
    })
  }, 60_000)

  it("a watch hears of every change, once and in order, over a wire that swallows some and breaks", async () => {
    const wire = await Wire.to(server!.settings.port)
    try {
      await withFabric(server!, {}, async (opened, _, options) => {
        const servers = [`nats://millrace:race@127.0.0.1:${wire.port}`]
        const behind = await openWith({ ...options, servers })
        const heard: Array<string> = []
        const onChange = (change: Change) => {
          if (change._tag === "Put") heard.push(Buffer.from(change.entry.value).toString())
        }
        let next = 0
        const putSome = async (count: number) => {
          for (; count > 0; count--, next++) {
            const value = text(`${next}`)
            await opened.run(KeyValue.use((store) => store.put(`key-${next % 3}`, value)))
          }
        }
        try {
          const watching = Effect.gen(function* () {
            yield* KeyValue.use((store) => store.watch("", onChange))
            yield* Effect.promise(async () => {
              for (const [swallowed, after] of [
                [1, 0],
                [7, 3],
                [2, 0],
                [0, 4]
              ] as const) {
                await putSome(3)
                wire.mute()
                await putSome(swallowed)
                wire.cut()
                await putSome(after)
                await eventually(
                  `all ${next}`,
                  () => [...heard],
                  (seen) => seen.length >= next
                )
              }
            })
          })
          await behind.run(Effect.scoped(watching))
          assert.deepStrictEqual(heard, numbers(next))
        } finally {
          await behind.close()
        }
      })
    } finally {
      await wire.close()
    }
  }, 60_000)

  it("a watch whose connection breaks while it begins has caught up when it has everything, not before", async () => {
    const wire = await Wire.to(server!.settings.port)
    try {
      await withFabric(server!, {}, async (opened, _, options) => {
        const behind = await openWith({ ...options, servers: [`nats://millrace:race@127.0.0.1:${wire.port}`] })
        const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
        const body = "x".repeat(20_000)
        const writeAll = Effect.forEach(keys, (key) =>
          Effect.forEach(["1", "2", "3"], (value) => KeyValue.use((store) => store.put(key, text(value + body))))
        )
        await opened.run(writeAll)
        const heard = new Map<string, string>()
        let whenCaughtUp: ReadonlyArray<string> | undefined
        const onChange = (change: Change) => {
          if (change._tag === "Put")
            heard.set(change.entry.key, Buffer.from(change.entry.value.subarray(0, 1)).toString())
          if (change._tag === "CaughtUp") whenCaughtUp = [...heard.values()]
          if (heard.size === 1) wire.cut()
        }
        try {
          const watching = Effect.gen(function* () {
            yield* KeyValue.use((store) => store.watch("", onChange))
            yield* Effect.promise(() =>
              eventually(
                "it has caught up",
                () => whenCaughtUp?.length,
                (count) => count !== undefined
              )
            )
          })
          await behind.run(Effect.scoped(watching))
          assert.deepStrictEqual(
            whenCaughtUp,
            keys.map(() => "3")
          )
        } finally {
          await behind.close()
        }
      })
    } finally {
      await wire.close()
    }
  }, 60_000)

  it("a watch that was cut off until removals were swept hears of them, and of no removal that was none", async () => {
    const wire = await Wire.to(server!.settings.port)
    try {
      await withFabric(server!, {}, async (opened, _, options) => {
        const servers = [`nats://millrace:race@127.0.0.1:${wire.port}`]
        const cutOff = await openWith({ ...options, servers })
        const heard = new Map<string, string>()
        const changes: Array<string> = []
        const onChange = (change: Change) => {
          if (change._tag === "CaughtUp") return
          if (change._tag === "Put") heard.set(change.entry.key, Buffer.from(change.entry.value).toString())
          else heard.delete(change.key)
          changes.push(change._tag === "Put" ? change.entry.key : `-${change.key}`)
        }
        const put = (key: string, value: string) => opened.run(KeyValue.use((store) => store.put(key, text(value))))
        const remove = (key: string) => opened.run(KeyValue.use((store) => store.remove(key)))
        const here = () => [...heard].map(([key, value]) => `${key} ${value}`).sort()
        const hears = (wanted: ReadonlyArray<string>) =>
          eventually(wanted.join(), here, (seen) => seen.join() === wanted.join())
        try {
          for (const key of ["a/back", "a/gone", "a/kept", "b/other"]) await put(key, "1")
          const watching = Effect.gen(function* () {
            yield* KeyValue.use((store) => store.watch("a/", onChange, { known: () => heard.keys() }))
            yield* Effect.promise(async () => {
              await hears(["a/back 1", "a/gone 1", "a/kept 1"])
              wire.mute()
              for (const key of ["a/back", "a/gone", "b/other"]) await remove(key)
              await put("a/back", "2")
              await put("a/new", "1")
              assert.strictEqual(await KeySweep.run(opened.supervisor, -60_000), 2)
              wire.cut()
              await hears(["a/back 2", "a/kept 1", "a/new 1"])
              // Cut off again, with nothing swept: nothing is compared, and nothing comes twice.
              changes.length = 0
              wire.mute()
              await put("a/new", "2")
              wire.cut()
              await hears(["a/back 2", "a/kept 1", "a/new 2"])
              assert.deepStrictEqual(changes, ["a/new"])
            })
          })
          await cutOff.run(Effect.scoped(watching))
        } finally {
          await cutOff.close()
        }
      })
    } finally {
      await wire.close()
    }
  }, 60_000)

  it("in lame duck mode with nowhere to go it is left when it ends, and found again", async () => {
    await withFabric(server!, { unknownLimitMs: 30_000 }, async (opened) => {
      await opened.run(append("shard", 0, ["0"]))
      server!.signal("SIGUSR2")
      await eventually(
        "the word of it",
        () => [...opened.supervisor.events],
        (seen) => seen.includes("lameDuck")
      )
      await server!.kill()
      const waiting = opened.run(append("shard", 1, ["1"]))
      await server!.start()
      assert.strictEqual(await waiting, 2)
      assert.include(opened.supervisor.events, "reconnected")
    })
  }, 60_000)

  it("a connection that the client gave up is replaced, with its subscriptions", async () => {
    await withFabric(server!, {}, async (opened) => {
      const heard: Array<string> = []
      await opened.run(
        Effect.scoped(
          Effect.gen(function* () {
            const pubSub = yield* PubSub
            yield* pubSub.subscribe("a.*", (payload) => heard.push(Buffer.from(payload).toString()))
            yield* Effect.promise(() => opened.supervisor.link.connection.close())
            yield* Effect.promise(() =>
              eventually(
                "a message over the new connection",
                () => {
                  pubSub.publish("a.b", text("again"))
                  return { heard: heard.length, events: [...opened.supervisor.events] }
                },
                (seen) => seen.heard > 0
              )
            )
            yield* append("shard", 0, ["0"])
          })
        )
      )
      assert.include(opened.supervisor.events, "replaced")
    })
  })
})

const removeConsumers = async (opened: Opened, stream: string): Promise<void> => {
  const { consumers } = opened.supervisor.link.manager
  for await (const { name } of consumers.list(stream)) await consumers.delete(stream, name)
}

describe.skipIf(natsIsMissing)("consumers of a queue that vanish or stall", () => {
  let server: RunningNats | undefined
  beforeAll(async () => {
    server = await startNats()
  })
  afterAll(() => server?.remove())

  const publish = (id: string) => WorkQueue.use((queue) => queue.publish("q", id, text(id)))

  /** Consumes `q` while `body` runs. */
  const consuming = (
    opened: Opened,
    handle: (delivery: Delivery) => void,
    body: (ids: () => ReadonlyArray<string>) => Promise<void>
  ) =>
    opened.run(
      Effect.scoped(
        Effect.gen(function* () {
          const deliveries: Array<string> = []
          const queue = yield* WorkQueue
          yield* queue.consume("q", { ackWaitMs: 20_000, maxInFlight: 5 }, (delivery) => {
            deliveries.push(`${delivery.messageId}#${delivery.deliveryCount}`)
            handle(delivery)
          })
          yield* Effect.promise(() => body(() => [...deliveries]))
        })
      )
    )

  const ack = (delivery: Delivery) => delivery.ack()
  const watchful = { watchdogMs: 300, unknownLimitMs: 30_000 }

  it("one that was deleted is made anew, and what is held then is not shown twice", async () => {
    await withFabric(server!, watchful, async (opened) => {
      const held: Array<Delivery> = []
      const handle = (delivery: Delivery) => (delivery.messageId === "held" ? held.push(delivery) : delivery.ack())
      await consuming(opened, handle as (delivery: Delivery) => void, async (ids) => {
        await opened.run(publish("held"))
        await opened.run(publish("one"))
        await eventually("both", ids, (seen) => seen.length === 2)
        await removeConsumers(opened, Streams.workStream(opened.supervisor.options.prefix).name)
        await opened.run(publish("two"))
        await eventually("the third", ids, (seen) => seen.includes("two#1"))
        assert.deepStrictEqual(ids(), ["held#1", "one#1", "two#1"])
        held[0]!.ack()
      })
      const left = await opened.supervisor.link.manager.streams.info(
        Streams.workStream(opened.supervisor.options.prefix).name
      )
      assert.strictEqual(left.state.messages, 0)
    })
  }, 60_000)

  it("one that has messages and delivers none is found by the watchdog and made anew", async () => {
    await withFabric(server!, watchful, async (opened) => {
      const stream = Streams.workStream(opened.supervisor.options.prefix).name
      await consuming(opened, ack, async (ids) => {
        await opened.run(publish("before"))
        await eventually("the first", ids, (seen) => seen.length === 1)
        const { consumers } = opened.supervisor.link.manager
        const names: Array<string> = []
        for await (const { name } of consumers.list(stream)) names.push(name)
        // Paused by hand: it takes requests, has messages, says that it lives, and delivers nothing.
        await consumers.pause(stream, names[0]!, new Date(Date.now() + 3_600_000))
        await opened.run(publish("after"))
        await eventually("the second", ids, (seen) => seen.includes("after#1"))
      })
    })
  }, 60_000)

  it("kill -9 of the server, a restart and a pause take no message and no ack", async () => {
    await withFabric(server!, watchful, async (opened) => {
      await consuming(opened, ack, async (ids) => {
        for (let index = 0; index < 10; index++) await opened.run(publish(`a${index}`))
        await server!.kill()
        await server!.start()
        for (let index = 0; index < 10; index++) await opened.run(publish(`b${index}`))
        await eventually("twenty", ids, (seen) => new Set(seen.map((id) => id.split("#")[0])).size === 20)
        await server!.pause()
        const waiting = opened.run(publish("c"))
        await eventually(
          "a disconnect",
          () => opened.supervisor.isConnected,
          (seen) => !seen
        )
        server!.signal("SIGCONT")
        await waiting
        await eventually("the last", ids, (seen) => seen.some((id) => id.startsWith("c#")))
      })
      const stream = Streams.workStream(opened.supervisor.options.prefix).name
      const { state } = await opened.supervisor.link.manager.streams.info(stream)
      assert.strictEqual(state.messages, 0)
    })
  }, 60_000)

  describe.each([
    {
      prefix: defaultPrefix,
      name: "",
      root: "",
      which: "under the default prefix they have the names that NVCF gives"
    },
    { prefix: "another", name: "another-", root: "another.", which: "under another prefix they carry it as well" }
  ])("orders to agents", ({ prefix, name, root, which }) => {
    it(`have streams and durable consumers of their own: ${which}`, async () => {
      const place = await makePlace(server!, prefix)
      const opened = await openWith(optionsOf(place.address))
      const ids: Array<string> = []
      const cluster = "7b5e"
      try {
        await opened.run(
          Effect.scoped(
            Effect.gen(function* () {
              const queue = yield* WorkQueue
              const take = (delivery: Delivery) => {
                ids.push(delivery.queue)
                if (delivery.queue.includes("Task")) delivery.terminate("undecodable")
                else delivery.ack()
              }
              yield* queue.consume(`Create.NVCA.*.${cluster}.*.*`, { ackWaitMs: 360_000, maxInFlight: 10 }, take)
              yield* queue.consume(`Terminate.NVCA.${cluster}`, { ackWaitMs: 30_000, maxInFlight: 10 }, take)
              for (const name of [
                `Create.NVCA.Function.${cluster}.H100.NCP|GPU|H100`,
                `Create.NVCA.Task.${cluster}.H100.NCP|GPU|H100`,
                `Create.NVCA.Function.other.H100.NCP|GPU|H100`,
                `Terminate.NVCA.${cluster}`
              ]) {
                yield* queue.publish(name, "id", text("order"))
              }
              yield* Effect.promise(() =>
                eventually(
                  "three",
                  () => [...ids],
                  (seen) => seen.length === 3
                )
              )
            })
          )
        )
        assert.notInclude(ids.join(), "other")
        assert.include(ids, `Create.NVCA.Function.${cluster}.H100.NCP|GPU|H100`)
        const { consumers, streams } = opened.supervisor.link.manager
        const filters = {
          CreateNvcaFunctionTaskStream: `Create.NVCA.*.${cluster}.*.*`,
          TerminateNvcaStream: `Terminate.NVCA.${cluster}`
        }
        for (const [stream, filter] of Object.entries(filters)) {
          const { config } = await consumers.info(name + stream, `${name}${stream}-${cluster}`)
          assert.strictEqual(config.ack_policy, "explicit")
          assert.strictEqual(config.filter_subject ?? config.filter_subjects?.join(), root + filter)
        }
        const letters = await opened.run(WorkQueue.use((queue) => queue.deadLetters("Create.NVCA.Task.>")))
        assert.deepStrictEqual(
          letters.map(({ reason }) => reason),
          ["undecodable"]
        )
        // Of the other cluster alone is something left.
        const { state } = await streams.info(`${name}CreateNvcaFunctionTaskStream`, { subjects_filter: ">" })
        assert.deepStrictEqual(state.subjects, { [`${root}Create.NVCA.Function.other.H100.NCP|GPU|H100`]: 1 })
      } finally {
        await opened.close()
        await place.remove()
      }
    })
  })
})

describe.skipIf(natsIsMissing)("a cluster of three", () => {
  let servers: ReadonlyArray<RunningNats> = []
  beforeAll(async () => {
    servers = await startCluster()
  })
  afterAll(() => Promise.all(servers.map((server) => server.remove())))

  it("one in lame duck mode is left at once, and a second one that is killed costs nothing that was confirmed", async () => {
    const place = await makePlace(servers[1]!, "cluster")
    const options = {
      ...optionsOf(place.address),
      servers: servers.map(({ url }) => url),
      unknownLimitMs: 30_000,
      connectLimitMs: 30_000
    }
    let opened: Opened | undefined
    // The three elect first.
    for (const endMs = performance.now() + 30_000; opened === undefined; ) {
      opened = await openWith(options).catch((error: unknown) => {
        if (performance.now() > endMs) throw error
        return undefined
      })
    }
    const { supervisor } = opened
    try {
      const writer = appender(opened, "shard")
      await eventually("appends", writer.confirmed, (seen) => seen > 10)
      const mine = () =>
        servers.find((server) => supervisor.link.connection.getServer().endsWith(`:${server.settings.port}`))
      const left = mine()!
      left.signal("SIGUSR2")
      await eventually(
        "another server",
        () => mine()?.settings.name,
        (seen) => seen !== undefined && seen !== left.settings.name
      )
      await left.kill()
      await left.start()
      const before = writer.confirmed()
      await eventually("appends at the other", writer.confirmed, (seen) => seen > before + 10)
      const killed = mine()!
      await killed.kill()
      const atKill = writer.confirmed()
      await eventually("appends at the third", writer.confirmed, (seen) => seen > atKill + 10)
      await killed.start()
      const confirmed = await writer.stop()
      const found = await opened.run(readAll("shard"))
      assert.isAtLeast(found.length, confirmed)
      assert.deepStrictEqual(found, numbers(found.length))
    } finally {
      await opened.close()
      // Its streams go with the servers: three that have just elected anew may not answer for half a minute.
      await place.remove().catch(() => undefined)
    }
  }, 120_000)
})

describe.skipIf(natsIsMissing)("credentials that expire", () => {
  it("are read again, and what is under way goes on", async () => {
    const operator = new NatsOperator()
    const server = await startNats({ accounts: operator.configuration() })
    try {
      const place = await makePlace(server, "expiry").catch(() => undefined)
      const lifetimeS = 4
      const path = await operator.writeUser(server.folder, "millrace", Math.floor(Date.now() / 1000) + lifetimeS)
      const opened = await openWith({
        ...optionsOf(place!.address),
        servers: [`nats://127.0.0.1:${server.settings.port}`],
        credentials: { _tag: "File", path },
        system: {
          servers: [`nats://127.0.0.1:${server.settings.port}`],
          credentials: { _tag: "File", path: await operator.writeUser(server.folder, "system") }
        },
        unknownLimitMs: 20_000
      })
      try {
        await opened.run(append("shard", 0, ["0"]))
        await operator.writeUser(server.folder, "millrace")
        await eventually(
          "the end of the first ones",
          () => [...opened.supervisor.events],
          (seen) => seen.includes("reconnected")
        )
        assert.include(opened.supervisor.events, "authExpired")
        assert.strictEqual(await opened.run(append("shard", 1, ["1"])), 2)
      } finally {
        await opened.close()
      }
    } finally {
      await server.remove()
    }
  }, 60_000)
})
