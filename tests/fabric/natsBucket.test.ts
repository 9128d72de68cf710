/**
 * What Millrace keeps by key on NATS, as NATS's own key-value client sees it.
 *
 * @module
 */
import { Kvm } from "@nats-io/kv"
import { connect } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import * as KeySweep from "../../src/planes/fabric/nats/KeySweep.ts"
import * as Names from "../../src/planes/fabric/nats/Names.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { layer, makePlace } from "./NatsMaker.ts"

describe.skipIf(natsIsMissing)("the bucket of the keys", () => {
  let server: RunningNats | undefined
  beforeAll(async () => {
    server = await startNats()
  })
  afterAll(() => server?.remove())

  it("is read and deleted in by NATS's own client, and each sees what the other did", async () => {
    const place = await makePlace(server!, "bucket")
    const connection = await connect(connectionOptions([server!.url], { _tag: "Anonymous" }, "test"))
    const key = "functions/a b.é"
    try {
      const left = await Effect.runPromise(
        Effect.gen(function* () {
          const keyValue = yield* KeyValue
          const revision = yield* keyValue.put(key, Buffer.from("value"))
          const bucket = yield* Effect.promise(() => new Kvm(connection).open("bucket"))
          const entry = yield* Effect.promise(() => bucket.get(Names.keySubject(key)))
          assert.strictEqual(entry?.string(), "value")
          assert.strictEqual(entry?.revision, revision)
          yield* Effect.promise(() => bucket.delete(Names.keySubject(key)))
          assert.isUndefined(yield* keyValue.get(key))
          yield* keyValue.put(key, Buffer.from("again"), 0)
          return yield* Effect.promise(() => bucket.get(Names.keySubject(key)))
        }).pipe(Effect.provide(layer(place.address)))
      )
      assert.strictEqual(left?.string(), "again")
    } finally {
      await connection.close()
      await place.remove()
    }
  })

  it("X1: what is left of removed keys is swept, and a key that was put again keeps its value", async () => {
    const place = await makePlace(server!, "sweep")
    try {
      await Effect.runPromise(
        Effect.gen(function* () {
          const keyValue = yield* KeyValue
          const supervisor = yield* NatsFabric.NatsLink
          const messages = () => supervisor.link.manager.streams.info("KV_sweep").then(({ state }) => state.messages)
          for (const key of ["gone", "back", "kept"]) {
            for (let round = 0; round < 3; round++) yield* keyValue.put(key, Buffer.from(`${key} ${round}`))
          }
          yield* keyValue.remove("gone")
          yield* keyValue.remove("back")
          yield* keyValue.put("back", Buffer.from("again"))
          assert.strictEqual(yield* Effect.promise(() => KeySweep.run(supervisor, KeySweep.keptMs)), 0)
          assert.strictEqual(yield* Effect.promise(messages), 12)
          assert.strictEqual(yield* Effect.promise(() => KeySweep.run(supervisor, -60_000)), 1)
          assert.strictEqual(yield* Effect.promise(messages), 9)
          const left = (yield* keyValue.list("")).filter(({ key }) => key !== KeySweep.key)
          assert.deepStrictEqual(
            left.map(({ key, value }) => [key, Buffer.from(value).toString()]),
            [
              ["back", "again"],
              ["kept", "kept 2"]
            ]
          )
          const revision = yield* keyValue.put("gone", Buffer.from("new"), 0)
          assert.isAbove(revision, 12)
          // X3: that one was lately.
          yield* keyValue.remove("gone")
          assert.strictEqual(yield* Effect.promise(() => KeySweep.runInTurn(supervisor)), 0)
          const through = (prefix: string) => Effect.promise(() => KeySweep.sweptThrough(supervisor, prefix))
          assert.isAbove(yield* through(""), 0)
          assert.isAbove(yield* through("gon"), 0)
          // X4.
          assert.strictEqual(yield* through("area/"), 0)
        }).pipe(Effect.provide(layer(place.address)))
      )
    } finally {
      await place.remove()
    }
  })
})
