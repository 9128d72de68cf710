/**
 * Durable records a second: the log on NATS (`sync_interval: always`; one server with one replica, three with three)
 * against the naive way, one JetStream message for each request, published and acked, on one server; and against the
 * embedded log on the same disk. 1 KiB, 256 callers, 16 shards, in one run. What waits at a shard goes into its next batch,
 * as a shard's owner does it.
 *
 * @module
 */
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { jetstream, jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as EmbeddedFabric from "../src/planes/fabric/EmbeddedFabric.ts"
import { Log } from "../src/planes/fabric/Log.ts"
import * as NatsFabric from "../src/planes/fabric/NatsFabric.ts"
import { connectionOptions } from "../src/planes/fabric/nats/Supervisor.ts"
import { type RunningNats, startCluster, startNats } from "../tests/services/RunningNats.ts"
import type { Bench } from "./Bench.ts"
import { median, quantile, round } from "./Statistics.ts"

const callers = 256
const shardCount = 16
const record = Buffer.alloc(1024, "x")
const warmUpMs = 500
const durationMs = 2_000
/** The room of one stream: more than a round fills. */
const streamBytesMax = 1024 * 1024 * 1024

interface Measured {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** `callers` ask for one record each, over and over. */
const measure = async (append: (caller: number) => Promise<void>): Promise<Measured> => {
  const latencies: Array<number> = []
  const startMs = performance.now() + warmUpMs
  const endMs = startMs + durationMs
  const caller = async (index: number) => {
    for (let beganMs = performance.now(); beganMs < endMs; beganMs = performance.now()) {
      await append(index)
      if (beganMs >= startMs && performance.now() <= endMs) latencies.push(performance.now() - beganMs)
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)))
  return {
    perSecond: (latencies.length / durationMs) * 1000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99)
  }
}

/** One batch of a shard at a time; the next takes everything that came meanwhile. */
const owner = (log: Log["Service"], shard: string) => {
  let waiting: Array<() => void> = []
  let isAppending = false
  let position = 0
  const pump = async () => {
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      const records = batch.map(() => record)
      position = await Effect.runPromise(log.append(shard, position, records))
      for (const resume of batch) resume()
    }
    isAppending = false
  }
  return () =>
    new Promise<void>((resolve, reject) => {
      waiting.push(resolve)
      if (isAppending) return
      isAppending = true
      setImmediate(() => void pump().catch(reject))
    })
}

const measureLog = async <R, E>(layer: Layer.Layer<Log | R, E>): Promise<Measured> => {
  const runtime = ManagedRuntime.make(layer)
  try {
    const log = await runtime.runPromise(Log)
    const shards = Array.from({ length: shardCount }, (_, index) => owner(log, `shard-${index}`))
    return await measure((caller) => shards[caller % shardCount]!())
  } finally {
    await runtime.dispose()
  }
}

const measureNaive = async (server: RunningNats): Promise<Measured> => {
  const connection = await connect(connectionOptions([server.url], { _tag: "Anonymous" }, "naive"))
  try {
    const manager = await jetstreamManager(connection)
    for (let index = 0; index < shardCount; index++) {
      await manager.streams.add({ name: `naive-${index}`, subjects: [`naive.${index}`], max_bytes: streamBytesMax })
    }
    const js = jetstream(connection, { timeout: 60_000 })
    return await measure(async (caller) => {
      await js.publish(`naive.${caller % shardCount}`, record)
    })
  } finally {
    await connection.close()
  }
}

const withFolder = async <A>(body: (folder: string) => Promise<A>): Promise<A> => {
  const folder = await fs.mkdtemp(join(tmpdir(), "millrace-bench-nats-"))
  try {
    return await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

/** A fresh server for each measurement, so that none carries the streams of those before it. */
const withServer = async <A>(body: (server: RunningNats) => Promise<A>): Promise<A> => {
  const server = await startNats()
  try {
    return await body(server)
  } finally {
    await server.remove()
  }
}

const measureNats = (servers: ReadonlyArray<RunningNats>) =>
  withFolder((blobDirectory) =>
    measureLog(
      NatsFabric.layer({
        servers: servers.map(({ url }) => url),
        system: { servers: servers.map(({ systemUrl }) => systemUrl), credentials: { _tag: "Anonymous" } },
        blobDirectory,
        logBytesMax: streamBytesMax
      })
    )
  )

const electionMs = 30_000

const measureCluster = async (): Promise<Measured> => {
  const servers = await startCluster()
  try {
    for (const endMs = performance.now() + electionMs; ; ) {
      try {
        return await measureNats(servers)
      } catch (error) {
        // The three elect first.
        if (performance.now() > endMs) throw error
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.remove()))
  }
}

export const nats: Bench = async ({ repetitions, say }) => {
  const rounds: Array<Readonly<Record<"nats" | "cluster" | "naive" | "embedded", Measured>>> = []
  for (let index = 0; index < repetitions; index++) {
    const nats = await withServer((server) => measureNats([server]))
    const cluster = await measureCluster()
    const naive = await withServer(measureNaive)
    const embedded = await withFolder((directory) => measureLog(EmbeddedFabric.layer({ directory })))
    rounds.push({ nats, cluster, naive, embedded })
    const text = (name: string, { perSecond, p50Ms, p99Ms }: Measured) =>
      `${name} ${Math.round(perSecond)}/s, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`
    say(
      `round ${index + 1}: ${text("log on NATS, one replica", nats)}; ${text("three", cluster)}; ` +
        `${text("naive", naive)}; ${text("embedded", embedded)}`
    )
  }
  const figure = (pick: (round: (typeof rounds)[number]) => number, digits = 0) =>
    round(median(rounds.map(pick)), digits)
  return {
    figures: {
      ratio_naive: figure((one) => one.nats.perSecond / one.naive.perSecond, 2),
      ratio_embedded: figure((one) => one.nats.perSecond / one.embedded.perSecond, 2),
      nats_r1_per_s: figure((one) => one.nats.perSecond),
      nats_r1_p50_ms: figure((one) => one.nats.p50Ms, 2),
      nats_r1_p99_ms: figure((one) => one.nats.p99Ms, 2),
      nats_r3_per_s: figure((one) => one.cluster.perSecond),
      nats_r3_p50_ms: figure((one) => one.cluster.p50Ms, 2),
      nats_r3_p99_ms: figure((one) => one.cluster.p99Ms, 2),
      naive_per_s: figure((one) => one.naive.perSecond),
      naive_p50_ms: figure((one) => one.naive.p50Ms, 2),
      embedded_per_s: figure((one) => one.embedded.perSecond),
      embedded_p50_ms: figure((one) => one.embedded.p50Ms, 2)
    },
    budgets: [{ figure: "ratio_naive", atLeast: 1 }]
  }
}
