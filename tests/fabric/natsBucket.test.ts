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
})
