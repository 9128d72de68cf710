/**
 * An agent's backend in a process of its own, to be killed: launches the instances that its argument says, then goes on
 * until it is ended, and prints what it knows ten times a second as a line of JSON. Of several parts, each but the first
 * waits for a line on its input.
 *
 * @module
 */
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Api } from "../../src/backends/kubernetes/Api.ts"
import { openBackend, specOf } from "./harness.ts"

const {
  cluster,
  kubeconfig,
  count,
  parts = 1
}: { cluster: string; kubeconfig: string; count: number; parts?: number } = JSON.parse(process.argv[2] ?? "{}")

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

let api: Api | undefined
const rssMiB = () => Math.round(process.memoryUsage().rss / 1024 ** 2)

const program = Effect.gen(function* () {
  const backend = yield* openBackend({ cluster, kubeconfig, leaseMs: 15_000, onApi: (made) => (api = made) })
  const rssAtStartMiB = rssMiB()
  const started = new Set<string>()
  let launched = 0
  yield* backend.watch((one) => {
    if (one._tag === "Started") started.add(one.instanceId)
  })
  const say = Effect.sync(() => {
    const calls = api?.requestCount() ?? 0
    console.log(JSON.stringify({ launched, started: started.size, calls, rssMiB: rssMiB(), rssAtStartMiB }))
  })
  yield* Effect.forkScoped(Effect.repeat(say, Schedule.spaced("100 millis")))
  const launch = (index: number) =>
    backend
      .launch(specOf(`i${index}`, { kind: "sleeps" }, { startDeadlineMs: 1_800_000 }))
      .pipe(
        Effect.retry({ times: 120, schedule: Schedule.spaced("500 millis") }),
        Effect.andThen(Effect.sync(() => launched++))
      )
  for (let part = 0; part < parts; part++) {
    if (part > 0) yield* Effect.promise(() => lines.next())
    const from = Math.round((part * count) / parts)
    const to = Math.round(((part + 1) * count) / parts)
    const indexes = Array.from({ length: to - from }, (_, index) => from + index)
    yield* Effect.forEach(indexes, launch, { concurrency: 32, discard: true })
  }
  yield* Effect.never
})

Effect.runFork(Effect.scoped(program))
