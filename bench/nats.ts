/**
 * Durable records a second: the log on NATS (`sync_interval: always`; one server with one replica, three with three)
 * against the naive way, one JetStream message for each request, published and acked, on one server; and against the
 * embedded log on the same disk. 1 KiB, 256 callers, 16 shards, in one run. What waits at a shard goes into its next batch,
 * as a shard's owner does it.
 *
 * And whole calls on each of the three fabrics, over HTTP: `accept` (202 after the commit, 256 callers, one function, so one
 * shard) and `warm` (64 callers of an instance that runs, answered).
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
import * as HttpLoad from "./HttpLoad.ts"
import * as PlatformUnderTest from "./PlatformUnderTest.ts"
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

const optionsOf = (servers: ReadonlyArray<RunningNats>) => ({
  servers: servers.map(({ url }) => url),
  system: { servers: servers.map(({ systemUrl }) => systemUrl), credentials: { _tag: "Anonymous" as const } },
  logBytesMax: streamBytesMax
})

const measureNats = (servers: ReadonlyArray<RunningNats>) =>
  withFolder((blobDirectory) => measureLog(NatsFabric.layer({ ...optionsOf(servers), blobDirectory })))

interface Calls {
  readonly accept: Measured
  readonly warm: Measured
}

const warmCallers = 64

/** `servers`: none = the embedded fabric. */
const measureCalls = async (servers: ReadonlyArray<RunningNats>, say: (line: string) => void): Promise<Calls> => {
  const platform = await PlatformUnderTest.start(
    [
      {
        name: "echo",
        file: "echo.mjs",
        deployment: { minInstances: 1, maxInstances: 1, concurrency: 256 },
        version: {}
      },
      { name: "slow", file: "never.mjs", deployment: { maxInstances: 1, concurrency: 1 }, version: {} }
    ],
    { fabric: servers.length === 0 ? undefined : { ...optionsOf(servers), prefix: "calls" } }
  )
  const load = async (path: string, options: Pick<HttpLoad.LoadOptions, "status" | "headers" | "connections">) => {
    const result = await HttpLoad.run({
      ...options,
      host: "127.0.0.1",
      port: platform.port,
      method: "POST",
      path,
      body: record,
      warmUpMs,
      durationMs,
      pids: []
    })
    if (result.errors > 0) say(`${result.errors} errors at ${path}, the first: ${result.firstError}`)
    return {
      perSecond: result.requestsPerSecond,
      p50Ms: quantile(result.latencies, 0.5),
      p99Ms: quantile(result.latencies, 0.99)
    }
  }
  try {
    const headers = { "content-type": "application/octet-stream" }
    const warm = () => load("/f/echo/", { status: 200, headers, connections: warmCallers })
    const accept = () =>
      load("/f/slow/", { status: 202, headers: { ...headers, prefer: "respond-async" }, connections: callers })
    // When its instance is there; the first seconds belong to the compiler.
    await PlatformUnderTest.call(platform.port, "/f/echo/")
    await warm()
    const warmed = await warm()
    await accept()
    return { warm: warmed, accept: await accept() }
  } finally {
    await platform.close()
  }
}

const electionMs = 30_000

/** When the three have elected: a stream can be made that lies on all of them. */
const untilElected = async (servers: ReadonlyArray<RunningNats>): Promise<void> => {
  const urls = servers.map(({ url }) => url)
  const connection = await connect(connectionOptions(urls, { _tag: "Anonymous" }, "bench"))
  try {
    for (const endMs = performance.now() + electionMs; ; ) {
      try {
        const { streams } = await jetstreamManager(connection)
        await streams.add({ name: "elected", subjects: ["elected"], num_replicas: servers.length })
        return
      } catch (error) {
        if (performance.now() > endMs) throw error
      }
    }
  } finally {
    await connection.close()
  }
}

const onCluster = async <A>(body: (servers: ReadonlyArray<RunningNats>) => Promise<A>): Promise<A> => {
  const servers = await startCluster()
  try {
    await untilElected(servers)
    return await body(servers)
  } finally {
    await Promise.all(servers.map((server) => server.remove()))
  }
}

const names = ["nats_r1", "nats_r3", "embedded"] as const

export const nats: Bench = async ({ repetitions, say }) => {
  type Round = Readonly<Record<(typeof names)[number], Measured & { readonly calls: Calls }>> & {
    readonly naive: Measured
  }
  const rounds: Array<Round> = []
  for (let index = 0; index < repetitions; index++) {
    const log = {
      nats_r1: await withServer((server) => measureNats([server])),
      nats_r3: await onCluster(measureNats),
      naive: await withServer(measureNaive),
      embedded: await withFolder((directory) => measureLog(EmbeddedFabric.layer({ directory })))
    }
    const calls = {
      nats_r1: await withServer((server) => measureCalls([server], say)),
      nats_r3: await onCluster((servers) => measureCalls(servers, say)),
      embedded: await measureCalls([], say)
    }
    const text = (name: string, { perSecond, p50Ms, p99Ms }: Measured) =>
      `${name} ${Math.round(perSecond)}/s, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`
    say(
      `round ${index + 1}: ${text("log on NATS, one replica", log.nats_r1)}; ${text("three", log.nats_r3)}; ` +
        `${text("naive", log.naive)}; ${text("embedded", log.embedded)}`
    )
    for (const name of names) {
      say(`round ${index + 1}: ${name}: ${text("accept", calls[name].accept)}; ${text("warm", calls[name].warm)}`)
    }
    rounds.push({
      nats_r1: { ...log.nats_r1, calls: calls.nats_r1 },
      nats_r3: { ...log.nats_r3, calls: calls.nats_r3 },
      embedded: { ...log.embedded, calls: calls.embedded },
      naive: log.naive
    })
  }
  const figure = (pick: (round: Round) => number, digits = 0) => round(median(rounds.map(pick)), digits)
  const figuresOf = (name: string, pick: (round: Round) => Measured) => ({
    [`${name}_per_s`]: figure((one) => pick(one).perSecond),
    [`${name}_p50_ms`]: figure((one) => pick(one).p50Ms, 2),
    [`${name}_p99_ms`]: figure((one) => pick(one).p99Ms, 2)
  })
  return {
    figures: {
      ratio_naive: figure((one) => one.nats_r1.perSecond / one.naive.perSecond, 2),
      ratio_embedded: figure((one) => one.nats_r1.perSecond / one.embedded.perSecond, 2),
      ...Object.assign(
        {},
        ...names.flatMap((name) => [
          figuresOf(name, (one) => one[name]),
          figuresOf(`accept_${name}`, (one) => one[name].calls.accept),
          figuresOf(`warm_${name}`, (one) => one[name].calls.warm)
        ])
      ),
      ...figuresOf("naive", (one) => one.naive)
    },
    budgets: [{ figure: "ratio_naive", atLeast: 1 }]
  }
}
