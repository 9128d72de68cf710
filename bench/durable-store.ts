/**
 * What the embedded store does alone: records a second that are durable when the append answers, for callers that batch
 * and for one that does not, against one commit per record on the same disk in the same run; and how long opening and
 * closing take.
 *
 * `node bench/durable-store.ts [--json]`. Medians of `repetitions` interleaved rounds; the last line is one JSON object.
 *
 * @module
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as EmbeddedFabric from "../src/planes/fabric/EmbeddedFabric.ts"
import { Log } from "../src/planes/fabric/Log.ts"

const repetitions = 5
const recordBytes = 1024
const record = new Uint8Array(recordBytes).fill(7)

const say = (line: string) => {
  if (!process.argv.includes("--json")) console.log(line)
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[sorted.length >> 1] ?? 0
}

const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

const round = (value: number, digits = 0): number => Number(value.toFixed(digits))

/** On the disk of this repository: the folder for temporary files may be memory. */
const makeDirectory = () => fs.mkdtempSync(path.join(import.meta.dirname, ".durable-store-"))

/** `callers` wait for one record each; what waits at a shard goes into its next batch, as a shard's owner does it. */
const appendFromCallers = (log: Log["Service"], callers: number, shards: number, recordsTotal: number) =>
  Effect.promise(async () => {
    const latencies: Array<number> = []
    const runFork = Effect.runFork
    let issued = 0
    const makeShard = (name: string) => {
      const waiting: Array<() => void> = []
      let isAppending = false
      let position = 0
      const pump = () => {
        if (isAppending || waiting.length === 0) return
        isAppending = true
        const batch = waiting.splice(0, 4096)
        const records = batch.map(() => record)
        runFork(
          Effect.map(log.append(name, position, records), (end) => {
            position = end
            isAppending = false
            for (const resume of batch) resume()
            pump()
          })
        )
      }
      return {
        append: () =>
          new Promise<void>((resolve) => {
            waiting.push(resolve)
            queueMicrotask(pump)
          })
      }
    }
    const owners = Array.from({ length: shards }, (_, index) => makeShard(`${Math.random()}-${index}`))
    const caller = async (index: number) => {
      while (issued < recordsTotal) {
        issued += 1
        const startMs = performance.now()
        await owners[index % shards]!.append()
        latencies.push(performance.now() - startMs)
      }
    }
    const startMs = performance.now()
    await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)))
    const elapsedMs = performance.now() - startMs
    return {
      perSecond: (recordsTotal / elapsedMs) * 1000,
      p50: percentile(latencies, 0.5),
      p99: percentile(latencies, 0.99)
    }
  })

/** What a store without group commit does: a transaction a record, on the serving thread. */
const oneCommitPerRecord = (recordsTotal: number) => {
  const directory = makeDirectory()
  const database = new DatabaseSync(path.join(directory, "one.db"))
  database.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE log (position INTEGER PRIMARY KEY, bytes BLOB)"
  )
  const insert = database.prepare("INSERT INTO log (bytes) VALUES (?)")
  const startMs = performance.now()
  for (let index = 0; index < recordsTotal; index++) insert.run(record)
  const elapsedMs = performance.now() - startMs
  database.close()
  fs.rmSync(directory, { recursive: true })
  return (recordsTotal / elapsedMs) * 1000
}

const measureRound = async () => {
  const directory = makeDirectory()
  const openStartMs = performance.now()
  const runtime = ManagedRuntime.make(EmbeddedFabric.layer({ directory }))
  const log = await runtime.runPromise(Effect.map(Log, (log) => log))
  const openMs = performance.now() - openStartMs
  const single = await runtime.runPromise(appendFromCallers(log, 1, 1, 500))
  const many = await runtime.runPromise(appendFromCallers(log, 256, 16, 60_000))
  const hot = await runtime.runPromise(appendFromCallers(log, 256, 1, 60_000))
  const closeStartMs = performance.now()
  await runtime.dispose()
  const closeMs = performance.now() - closeStartMs
  fs.rmSync(directory, { recursive: true })
  const oneCommit = oneCommitPerRecord(1_000)
  say(
    `open ${round(openMs)} ms · close ${round(closeMs)} ms · one caller p50 ${round(single.p50, 2)} ms · ` +
      `256 callers on 16 shards ${round(many.perSecond)}/s, p50 ${round(many.p50, 2)} ms, p99 ${round(many.p99, 2)} ms · ` +
      `on 1 shard ${round(hot.perSecond)}/s, p99 ${round(hot.p99, 2)} ms · one commit a record ${round(oneCommit)}/s`
  )
  return { openMs, closeMs, single, many, hot, oneCommit }
}

const rounds: Array<Awaited<ReturnType<typeof measureRound>>> = []
for (let repetition = 0; repetition < repetitions; repetition++) rounds.push(await measureRound())

console.log(
  JSON.stringify({
    bench: "durable-store",
    record_bytes: recordBytes,
    open_ms: round(median(rounds.map((one) => one.openMs))),
    close_ms: round(median(rounds.map((one) => one.closeMs))),
    single_append_p50_ms: round(median(rounds.map((one) => one.single.p50)), 3),
    single_append_p99_ms: round(median(rounds.map((one) => one.single.p99)), 3),
    records_per_s_16_shards: round(median(rounds.map((one) => one.many.perSecond))),
    p99_ms_16_shards: round(median(rounds.map((one) => one.many.p99)), 2),
    records_per_s_1_shard: round(median(rounds.map((one) => one.hot.perSecond))),
    ratio_single_commit: round(median(rounds.map((one) => one.many.perSecond / one.oneCommit)), 1)
  })
)
