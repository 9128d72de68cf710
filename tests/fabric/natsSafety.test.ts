/**
 * Settings that could lose accepted work are refused, each with the line to change: every rule flipped once, on a real
 * server.
 *
 * @module
 */
import { createServer } from "node:http"
import { type JetStreamManager, jetstreamManager, type StreamConfig } from "@nats-io/jetstream"
import { connect, type NatsConnection, nanos } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { NatsFabricOptions } from "../../src/planes/fabric/NatsFabric.ts"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import { defaultPrefix } from "../../src/planes/fabric/nats/NatsOptions.ts"
import * as Safety from "../../src/planes/fabric/nats/Safety.ts"
import * as Streams from "../../src/planes/fabric/nats/Streams.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import {
  accounts,
  freePort,
  type NatsSettings,
  natsIsMissing,
  type RunningNats,
  startCluster,
  startNats
} from "../services/RunningNats.ts"
import { eventually } from "./FabricMaker.ts"
import { logBytesMax, makePlace, optionsOf } from "./NatsMaker.ts"

/** What it says when it is opened, or `undefined` when it opens. Warnings are collected in `warnings`. */
const opening = (options: NatsFabricOptions, warnings: Array<string> = []): Promise<string | undefined> =>
  Effect.runPromise(
    Effect.scoped(Layer.build(NatsFabric.layer(options))).pipe(
      Effect.match({ onFailure: (error) => `${error._tag}: ${error.message}`, onSuccess: () => undefined }),
      Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
    )
  )

let prefixCount = 0
const freshPrefix = () => `safety${prefixCount++}`

/** Opens the fabric of a fresh prefix on this server, its options changed. */
const openingOn = async (
  server: RunningNats,
  change: Partial<NatsFabricOptions> = {},
  warnings: Array<string> = []
): Promise<string | undefined> => {
  const place = await makePlace(server, change.prefix ?? freshPrefix())
  try {
    return await opening({ ...optionsOf(place.address), ...change }, warnings)
  } finally {
    await place.remove()
  }
}

const withServer = async (settings: Partial<NatsSettings>, body: (server: RunningNats) => Promise<void>) => {
  const server = await startNats(settings)
  try {
    await body(server)
  } finally {
    await server.remove()
  }
}

const requireRefusal = (message: string | undefined, ...texts: ReadonlyArray<string>) => {
  assert.match(message ?? "it opened", /^UnsafeServer/)
  for (const text of texts) assert.include(message, text)
}

describe.skipIf(natsIsMissing)("servers that would lose accepted work are refused", () => {
  it("one that does not sync always, with the line to write; process-crash-only lets it through and says so", () =>
    withServer({ syncInterval: '"2m"' }, async (server) => {
      requireRefusal(await openingOn(server), "sync_interval = 120s", "jetstream { sync_interval: always }")
      const warnings: Array<string> = []
      assert.isUndefined(await openingOn(server, { durability: "process-crash-only" }, warnings))
      assert.include(warnings.join("\n"), "sync_interval")
    }))

  it("one whose settings nobody can read, until its monitoring address is given", async () => {
    const monitor = await freePort()
    await withServer({ more: `http: "127.0.0.1:${monitor}"` }, async (server) => {
      const nobody = { system: undefined }
      requireRefusal(await openingOn(server, nobody), "can not be read", "monitorUrls")
      const wrong = { servers: ["nats://nobody:nobody@127.0.0.1:1"], credentials: { _tag: "Anonymous" as const } }
      requireRefusal(await openingOn(server, { system: wrong }), "can not be read")
      assert.isUndefined(await openingOn(server, { ...nobody, monitorUrls: [`http://127.0.0.1:${monitor}`] }))
    })
  })

  it("one whose messages are too small", () =>
    withServer({ maxPayload: "64KB" }, async (server) => {
      requireRefusal(await openingOn(server), "max_payload = 65536", "max_payload: 8MB")
    }))

  it("an account without room for one log", () =>
    withServer({ accounts: accounts("jetstream: { max_file: 1MB }") }, async (server) => {
      requireRefusal(await openingOn(server), "max_file", String(logBytesMax))
    }))

  it("one that is older than what is demanded, also where only the power may be lost", async () => {
    const monitor = await freePort()
    await withServer({ more: `http: "127.0.0.1:${monitor}"` }, async (server) => {
      // What the real server says of itself, but for its version: an old one is not to be had everywhere.
      let version: string | undefined
      const relay = createServer(async (_, response) => {
        const varz = await (await fetch(`http://127.0.0.1:${monitor}/varz`)).json()
        response.end(JSON.stringify({ ...Object(varz), ...(version === undefined ? {} : { version }) }))
      })
      await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve))
      const address = relay.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const options = { system: undefined, monitorUrls: [`http://127.0.0.1:${port}`] }
      try {
        assert.isUndefined(await openingOn(server, options))
        for (const old of ["2.9.10", "2.12.6", "2.12.7-RC.1"]) {
          version = old
          const words = [`version = ${old}`, "install nats-server 2.14.6 or newer"]
          requireRefusal(await openingOn(server, options), ...words)
          requireRefusal(await openingOn(server, { ...options, durability: "process-crash-only" }), ...words)
        }
        // Newer, and yet one that rewrites a file of messages without a sync.
        for (const old of ["2.12.7", "2.14.5", "2.14.6-RC.1"]) {
          version = old
          const words = [`version = ${old}`, "install nats-server 2.14.6 or newer"]
          requireRefusal(await openingOn(server, options), ...words)
          const warnings: Array<string> = []
          const waived = { ...options, durability: "process-crash-only" } as const
          assert.isUndefined(await openingOn(server, waived, warnings))
          assert.include(warnings.join("\n"), "2.14.6")
        }
        version = "2.14.6"
        assert.isUndefined(await openingOn(server, options))
      } finally {
        relay.close()
      }
    })
  })
})

describe.skipIf(natsIsMissing)("streams and consumers that would lose accepted work are refused", () => {
  let server: RunningNats | undefined
  let connection: NatsConnection
  let manager: JetStreamManager

  beforeAll(async () => {
    server = await startNats()
    connection = await connect(connectionOptions([server.url], { _tag: "Anonymous" }, "test"))
    manager = await jetstreamManager(connection)
    // With its last stream a server removes the folder of all of them, also under one that is being made.
    await manager.streams.add({ name: "anchor", subjects: ["anchor"] })
  })
  afterAll(async () => {
    await connection?.close()
    await server?.remove()
  })

  const specs: Readonly<Record<Safety.StreamRole, (prefix: string) => Streams.StreamSpec>> = {
    log: (prefix) => Streams.logStream(prefix, "shard"),
    snapshots: Streams.snapshotStream,
    keys: Streams.keyStream,
    queue: Streams.workStream,
    deadLetters: Streams.deadLetterStream
  }

  const safe = (spec: Streams.StreamSpec): Partial<StreamConfig> & { name: string } => ({
    name: spec.name,
    subjects: [...spec.subjects],
    storage: "file",
    retention: spec.role === "queue" ? "workqueue" : "limits",
    discard: "new",
    duplicate_window: nanos(120_000),
    max_msgs_per_subject: spec.role === "keys" ? 64 : -1,
    allow_direct: false
  })

  const everyRole: Readonly<Record<string, Partial<StreamConfig>>> = {
    storage: { storage: "memory" },
    persist_mode: { persist_mode: "async" },
    no_ack: { no_ack: true },
    max_age: { max_age: nanos(3_600_000) },
    duplicate_window: { duplicate_window: nanos(1_000) }
  }
  const direct: Partial<StreamConfig> = { allow_direct: true }
  const discardOld: Partial<StreamConfig> = { discard: "old" }
  const byInterest: Partial<StreamConfig> = { retention: "interest" }
  const flips: Readonly<Record<Safety.StreamRole, Readonly<Record<string, Partial<StreamConfig>>>>> = {
    log: {
      ...everyRole,
      discard: discardOld,
      retention: byInterest,
      max_msgs: { max_msgs: 100 },
      max_msgs_per_subject: { max_msgs_per_subject: 1 },
      deny_purge: { deny_purge: true }
    },
    snapshots: {
      ...everyRole,
      allow_direct: direct,
      discard: discardOld,
      retention: byInterest,
      deny_purge: { deny_purge: true }
    },
    keys: {
      ...everyRole,
      allow_direct: direct,
      discard: discardOld,
      retention: byInterest,
      max_msgs_per_subject: { max_msgs_per_subject: 1 }
    },
    queue: {
      ...everyRole,
      allow_direct: direct,
      discard: discardOld,
      retention: { retention: "limits" },
      max_msgs_per_subject: { max_msgs_per_subject: 1 }
    },
    deadLetters: { ...everyRole, allow_direct: direct, retention: byInterest }
  }
  /** Settings that no client can choose at the making of a stream; each has a test of its own. */
  const elsewhere = ["sealed", "mirror", "num_replicas"]

  const refusalOf = async (prefix: string) => openingOn(server!, { prefix })

  for (const [role, settings] of Object.entries(flips)) {
    // The keys of the table are roles.
    const spec = specs[role as Safety.StreamRole]
    it(`a stream of ${role}, for each of its settings`, async () => {
      assert.sameMembers(
        [...Object.keys(settings), ...elsewhere],
        // As above.
        [...Safety.streamSettings(role as Safety.StreamRole)]
      )
      for (const [setting, change] of Object.entries(settings)) {
        const prefix = freshPrefix()
        await manager.streams.add({ ...safe(spec(prefix)), ...change })
        requireRefusal(await refusalOf(prefix), `stream ${spec(prefix).name} has ${setting} = `, `with ${setting}: `)
      }
      const prefix = freshPrefix()
      await manager.streams.add(safe(spec(prefix)))
      assert.isUndefined(await refusalOf(prefix))
    })
  }

  it("a stream that is sealed", async () => {
    const prefix = freshPrefix()
    const { config } = await manager.streams.add({ ...safe(Streams.workStream(prefix)), retention: "limits" })
    const sealed = JSON.stringify({ ...config, sealed: true })
    const answer = await connection.request(`$JS.API.STREAM.UPDATE.${config.name}`, sealed)
    assert.notProperty(answer.json(), "error")
    requireRefusal(await refusalOf(prefix), "sealed = true")
  })

  it("a stream that mirrors another", async () => {
    const prefix = freshPrefix()
    await manager.streams.add({ ...safe(Streams.workStream(`${prefix}-origin`)), retention: "limits" })
    await manager.streams.add({
      name: Streams.logStream(prefix, "shard").name,
      storage: "file",
      mirror: { name: `${prefix}-origin-work` }
    })
    requireRefusal(await refusalOf(prefix), "mirror = ")
  })

  it("a consumer, for each of its settings", async () => {
    const changes = {
      ack_policy: { ack_policy: "none" },
      max_deliver: { max_deliver: 3 },
      mem_storage: { mem_storage: true },
      inactive_threshold: { inactive_threshold: nanos(60_000) },
      deliver_subject: { deliver_subject: "somewhere" }
    } as const
    assert.sameMembers(Object.keys(changes), [...Safety.consumerSettings])
    for (const [setting, change] of Object.entries(changes)) {
      const prefix = freshPrefix()
      const spec = Streams.workStream(prefix)
      // A work queue itself refuses every ack policy but one.
      const retention = setting === "ack_policy" ? "limits" : "workqueue"
      await manager.streams.add({ ...safe(spec), retention })
      await manager.consumers.add(spec.name, { durable_name: "old", ack_policy: "explicit", ...change })
      requireRefusal(await refusalOf(prefix), `consumer old of stream ${spec.name} has ${setting} = `)
    }
  })

  it("the streams of NVCF's queues are judged as well", async () => {
    const { name, subjects } = Streams.orderStreams(defaultPrefix)[1]!
    await manager.streams.add({ name, subjects: [...subjects], storage: "memory" })
    requireRefusal(await refusalOf(defaultPrefix), "TerminateNvcaStream has storage = memory", "retention = limits")
  })

  it("process-crash-only lets no stream through that loses work with the server's process", async () => {
    const prefix = freshPrefix()
    await manager.streams.add({ ...safe(Streams.logStream(prefix, "shard")), storage: "memory" })
    const message = await openingOn(server!, { prefix, durability: "process-crash-only" })
    requireRefusal(message, "storage = memory")
  })
})

describe.skipIf(natsIsMissing)("a cluster", () => {
  let servers: ReadonlyArray<RunningNats> = []
  beforeAll(async () => {
    servers = await startCluster()
  })
  afterAll(() => Promise.all(servers.map((server) => server.remove())))

  it("keeps every stream on three servers, and one that lies on one alone is refused", async () => {
    const server = servers[0]!
    const prefix = freshPrefix()
    const place = await makePlace(server, prefix)
    const options = { ...optionsOf(place.address), servers: servers.map(({ url }) => url), connectLimitMs: 30_000 }
    const connection = await connect(connectionOptions([server.url], { _tag: "Anonymous" }, "test"))
    try {
      const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 20_000 })
      // The three elect first.
      const endMs = performance.now() + 30_000
      let message = await opening(options)
      while (message !== undefined && performance.now() < endMs) message = await opening(options)
      assert.isUndefined(message)
      const { config } = await manager.streams.info(Streams.keyStream(prefix).name)
      assert.strictEqual(config.num_replicas, Safety.replicasWhenClustered)
      const spec = Streams.logStream(prefix, "shard")
      await manager.streams.add({
        name: spec.name,
        subjects: [...spec.subjects],
        storage: "file",
        discard: "new",
        allow_direct: false,
        num_replicas: 1
      })
      requireRefusal(await opening(options), `stream ${spec.name} has num_replicas = 1`, "num_replicas: 3")
    } finally {
      await connection.close()
      await place.remove()
    }
  }, 90_000)

  it("that has a silent server is used, says which one was not judged, and judges it when it answers", async () => {
    const [first, second, third] = [servers[0]!, servers[1]!, servers[2]!]
    await third.kill()
    const place = await makePlace(first, freshPrefix())
    const options = { ...optionsOf(place.address), servers: [first.url, second.url], connectLimitMs: 30_000 }
    const said: Array<string> = []
    const logger = Logger.make(({ message }) => void said.push(String(message)))
    const runtime = ManagedRuntime.make(Layer.provide(NatsFabric.layer(options), Logger.layer([logger])))
    const saying = (what: string) =>
      eventually(
        what,
        () => [...said],
        () => said.some((line) => line.includes(what))
      )
    try {
      await runtime.runPromise(NatsFabric.NatsLink)
      await saying("were not judged, and are when they answer: n3")
      // It comes back with other settings than those it left with.
      await third.start({ ...third.settings, syncInterval: undefined })
      await saying("accepted requests could be lost: server n3 has jetstream.sync_interval")
    } finally {
      await runtime.dispose()
      await third.kill()
      await third.start(third.settings)
      await place.remove()
    }
  }, 90_000)
})
