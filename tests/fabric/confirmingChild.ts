/**
 * A process that writes to a fabric without end and says on stdout what was confirmed, one line each. It is killed in
 * the middle by `killWhileWriting`. Arguments: module of the maker, address, scenario, honesty, seed.
 *
 * `early` runs its mouth `aheadCount` writes ahead of its hands: whenever it is killed, something that it confirmed was
 * not even begun.
 */
import { flushCompileCache } from "node:module"
import { setTimeout as sleep } from "node:timers/promises"
import * as Effect from "effect/Effect"
import { BlobStore } from "../../src/planes/fabric/BlobStore.ts"
import type { Fabric } from "../../src/planes/fabric/EmbeddedFabric.ts"
import { KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import { Log } from "../../src/planes/fabric/Log.ts"
import { WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"
import type { MakerModule } from "./FabricMaker.ts"
import * as Written from "./Written.ts"

const aheadCount = 5
const [moduleHref = "", address = "", scenario = "", honesty = "", seed = "1"] = process.argv.slice(2)

const say = (line: string) => process.stdout.write(`${line}\n`)

/** Writes number after number; `write` answers when the fabric has confirmed. */
const writeForEver = <E>(
  line: (index: number) => string,
  write: (index: number) => Effect.Effect<unknown, E, Fabric>
) =>
  Effect.gen(function* () {
    for (let index = 0; ; index++) {
      if (honesty === "early") {
        say(line(index + aheadCount))
        yield* write(index)
      } else {
        yield* write(index)
        say(line(index))
      }
    }
  })

const writeLog = (shard: string) =>
  Effect.gen(function* () {
    const log = yield* Log
    const { end } = yield* log.bounds(shard)
    const ends = [end]
    /** The end after so many batches of this process. */
    const endAfter = (count: number): number => {
      while (ends.length <= count) ends.push(ends.at(-1)! + Written.batchSize(Number(seed), ends.length))
      return ends[count]!
    }
    return yield* writeForEver(
      (index) => `${shard} ${endAfter(index + 1)}`,
      (index) => {
        const first = endAfter(index)
        return log.append(shard, first, Written.batch(shard, first, endAfter(index + 1) - first))
      }
    )
  })

const keyOf = (writer: string, index: number) => `${writer}.${seed}.${index}`

const scenarios: Record<string, () => Effect.Effect<never, unknown, Fabric>> = {
  log: () => Effect.raceAll(Written.shards.map(writeLog)),
  keyValue: () =>
    Effect.raceAll(
      ["a", "b"].map((writer) =>
        writeForEver(
          (index) => keyOf(writer, index),
          (index) => KeyValue.use((keyValue) => keyValue.put(keyOf(writer, index), Written.bytes(keyOf(writer, index))))
        )
      )
    ),
  workQueue: () =>
    writeForEver(
      (index) => keyOf("message", index),
      (index) => {
        const id = keyOf("message", index)
        return WorkQueue.use((queue) => queue.publish("orders.kill", id, Written.bytes(id)))
      }
    ),
  blobStore: () =>
    writeForEver(
      (index) => keyOf("blob", index),
      (index) =>
        BlobStore.use((blobs) =>
          Effect.promise(async () => {
            const id = keyOf("blob", index)
            // Always one in the making, so that the kill meets one.
            const unfinished = await blobs.create(`${id}.unfinished`)
            await unfinished.write(Written.bytes(id))
            const writer = await blobs.create(id)
            await writer.write(Written.bytes(id))
            await writer.finish()
            await unfinished.abort()
          })
        )
    )
}

// Its own exports prove the type: the law suites are given the same module.
const maker = (await import(moduleHref)) as MakerModule
// Killed as it is, it would leave none of what it compiled to the next one.
flushCompileCache()
const scenarioEffect = scenarios[scenario]
if (scenarioEffect === undefined) throw new Error(`no scenario ${scenario}`)
// Whoever started it kills it; should that one die first, nothing may be left behind.
void sleep(30_000, undefined, { ref: false }).then(() => process.exit(3))
await Effect.runPromise(Effect.provide(scenarioEffect(), maker.layer(address)))
