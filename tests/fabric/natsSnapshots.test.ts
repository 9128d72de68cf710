/**
 * A registry on NATS that is started again: what it kept in its folder is where it goes on from, and nothing that happened
 * meanwhile is missed.
 *
 * @module
 */

import { existsSync, readdirSync } from "node:fs"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { deploymentDefaults } from "../../src/planes/control/Domain.ts"
import * as Registry from "../../src/planes/control/Registry.ts"
import * as RegistryTable from "../../src/planes/control/RegistryTable.ts"
import { KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import * as KeySweep from "../../src/planes/fabric/nats/KeySweep.ts"
import * as StreamCopy from "../../src/planes/fabric/nats/StreamCopy.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import type * as WatchMark from "../../src/planes/fabric/nats/WatchMark.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually, type FabricPlace } from "./FabricMaker.ts"
import { layer, makePlace } from "./NatsMaker.ts"

type Service = Registry.Registry["Service"]
const tenant = Registry.defaultTenant
const spec = { command: ["x"], environment: {}, durability: "accepted", inferencePath: "/" } as const
/** Records of functions, names, versions and deployments. */
const functionCount = 20
const recordCount = 4 * functionCount

/** What was told to the watches of a registry before it was there. */
interface Told {
  changes: number
}

/** A store that counts what its watches are told. */
const counting = (keyValue: KeyValue["Service"], told: Told): KeyValue["Service"] => ({
  ...keyValue,
  watch: (prefix, onChange, options) =>
    keyValue.watch(
      prefix,
      (change) => {
        if (change._tag !== "CaughtUp") told.changes += 1
        onChange(change)
      },
      options
    )
})

const create = Effect.fnUntraced(function* (registry: Service, name: string) {
  const { id: functionId } = yield* registry.createFunction({ tenant, name })
  const { id: versionId } = yield* registry.createVersion({ tenant, functionId, spec })
  yield* registry.deploy({ tenant, versionId, spec: deploymentDefaults })
})

/** All that a reader sees. */
const seen = (registry: Service) => {
  const routing = registry.routing(tenant)
  return registry.listFunctions({ tenant, limit: 1_000 }).items.map((one) => {
    const route = routing.byName(one.name)
    return [one, route, ...routing.deployedVersionIds()]
  })
}

describe.skipIf(natsIsMissing)("a registry on NATS that starts again", () => {
  let server: RunningNats | undefined
  let place: FabricPlace | undefined
  let directory = ""
  beforeAll(async () => {
    server = await startNats()
    place = await makePlace(server, "snapshots")
    directory = await fs.mkdtemp(join(tmpdir(), "millrace-registry-"))
  })
  afterAll(async () => {
    await place?.remove()
    await fs.rm(directory, { recursive: true, force: true })
    await server?.remove()
  })

  const snapshots = () => ({ directory: join(directory, "registry"), recordsMin: 1, lookMs: 20 })
  const files = () => (existsSync(snapshots().directory) ? readdirSync(snapshots().directory).sort() : [])
  const wantedFiles = RegistryTable.areas.map((area) => `${area}.snapshot`).sort()

  /** A registry while it is there, with the folder and without. */
  const within = <A, E>(use: (registry: Service, told: number) => Effect.Effect<A, E>, keeps: boolean): Promise<A> =>
    Effect.runPromise(
      Effect.gen(function* () {
        const told = { changes: 0 }
        const keyValue = counting(yield* KeyValue, told)
        const registry = yield* Registry.make(keeps ? { snapshots: snapshots() } : {}).pipe(
          Effect.provideService(KeyValue, keyValue)
        )
        return yield* use(registry, told.changes)
      }).pipe(Effect.scoped, Effect.provide(layer(place!.address)))
    )

  /** What one sees that read everything, and what one sees and was told that kept snapshots. */
  const compared = async () => {
    const wanted = await within((registry) => Effect.sync(() => seen(registry)), false)
    return within((registry, told) => {
      assert.deepStrictEqual(seen(registry), wanted)
      return Effect.succeed(told)
    }, true)
  }

  /** Runs until each area has a new snapshot. */
  const save = async () => {
    await fs.rm(snapshots().directory, { recursive: true, force: true })
    const areSaved = () => eventually("the snapshots", files, (found) => found.join() === wantedFiles.join())
    await within(() => Effect.promise(areSaved), true)
  }

  it("is told of what changed since, and of nothing else", async () => {
    await within(
      (registry) =>
        Effect.forEach(
          Array.from({ length: functionCount }, (_, index) => `f${index}`),
          (name) => create(registry, name)
        ),
      false
    )
    await save()
    assert.strictEqual(await compared(), 0)
    await within(
      (registry) =>
        Effect.gen(function* () {
          yield* create(registry, "new")
          const gone = yield* registry.findFunction(tenant, "f3")
          yield* registry.deleteFunction({ tenant, functionId: gone.id, force: true })
          const other = yield* registry.findFunction(tenant, "f4")
          yield* registry.undeploy(tenant, other.activeVersionId ?? "")
        }),
      false
    )
    const told = await compared()
    assert.isAbove(told, 0)
    assert.isBelow(told, recordCount / 4)
  })

  it("reads everything where removals were swept that it never heard of", async () => {
    await save()
    await within(
      (registry) =>
        Effect.gen(function* () {
          const gone = yield* registry.findFunction(tenant, "f5")
          yield* registry.deleteFunction({ tenant, functionId: gone.id, force: true })
        }),
      false
    )
    const swept = await Effect.runPromise(
      Effect.flatMap(NatsFabric.NatsLink, (supervisor) => Effect.promise(() => KeySweep.run(supervisor, -60_000))).pipe(
        Effect.provide(layer(place!.address))
      )
    )
    assert.isAbove(swept, 0)
    assert.isAbove(await compared(), recordCount / 2)
    // And once it has, the next start goes on again.
    await save()
    assert.strictEqual(await compared(), 0)
  })

  it("reads everything where the store was set back, however much was written since", async () => {
    const stream = "KV_snapshots"
    const copy = join(directory, "copy")
    const connection = await connect(connectionOptions([server!.url], { _tag: "Anonymous" }, "test"))
    try {
      const { streams } = await jetstreamManager(connection)
      const described = await StreamCopy.save(connection, stream, copy)
      await within(
        (registry) =>
          Effect.gen(function* () {
            yield* create(registry, "undone")
            const back = yield* registry.findFunction(tenant, "f6")
            yield* registry.deleteFunction({ tenant, functionId: back.id, force: true })
          }),
        false
      )
      await save()
      assert.strictEqual(await compared(), 0)
      const { state } = await streams.info(stream)
      await streams.delete(stream)
      await StreamCopy.restore(connection, described, copy)
      assert.isBelow((await streams.info(stream)).state.last_seq, state.last_seq)
      assert.isAbove(await compared(), recordCount / 2)
      const others = Array.from({ length: state.last_seq }, (_, index) => `other/${index}`)
      await Effect.runPromise(
        KeyValue.use((keyValue) =>
          Effect.forEach(others, (key) => keyValue.put(key, Buffer.from(key)), { concurrency: 32, discard: true })
        ).pipe(Effect.provide(layer(place!.address)))
      )
      assert.isAbove(await compared(), recordCount / 2)
    } finally {
      await connection.close()
    }
  })

  it("M2: a watch goes on from what the store vouches for, and from nothing else", async () => {
    const options = { known: () => [] }
    const goesOn = (from: string) =>
      Effect.gen(function* () {
        let isGoingOn = false
        const onGoingOn = () => {
          isGoingOn = true
        }
        const keyValue = yield* KeyValue
        yield* Effect.scoped(keyValue.watch("vouched/", () => undefined, { ...options, goOn: { from, onGoingOn } }))
        return isGoingOn
      })
    await Effect.runPromise(
      Effect.gen(function* () {
        const keyValue = yield* KeyValue
        yield* keyValue.put("vouched/one", Buffer.from("1"))
        const watch = yield* keyValue.watch("vouched/", () => undefined, options)
        const position = yield* Effect.promise(() =>
          eventually("it has caught up", watch.position, (found) => found !== undefined)
        )
        // What `WatchMark` wrote.
        const mark = JSON.parse(position ?? "") as WatchMark.Mark
        const { newest } = mark
        assert.isTrue(yield* goesOn(JSON.stringify(mark)))
        for (const other of [
          { ...mark, created: "2000-01-01T00:00:00Z" },
          { ...mark, through: mark.through + 1_000 },
          { ...mark, newest: { ...newest, storedAtMs: newest.storedAtMs + 10 } },
          { ...mark, newest: { ...newest, sequence: newest.sequence + 500 } },
          { through: mark.through }
        ]) {
          assert.isFalse(yield* goesOn(JSON.stringify(other)), JSON.stringify(other))
        }
      }).pipe(Effect.scoped, Effect.provide(layer(place!.address)))
    )
  })

  it("reads everything where its folder is damaged, or is of another store", async () => {
    const path = join(snapshots().directory, "versions.snapshot")
    await save()
    const bytes = await fs.readFile(path)
    await fs.writeFile(path, bytes.subarray(0, bytes.byteLength - 1))
    assert.strictEqual(await compared(), functionCount - 1)
    await fs.writeFile(path, bytes)
    await place!.remove()
    place = await makePlace(server!, "snapshots")
    assert.strictEqual(await compared(), 0)
    await within((registry) => create(registry, "only"), false)
    assert.strictEqual(await compared(), 4)
  })
})
