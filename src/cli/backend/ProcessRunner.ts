/**
 * Real processes behind simulated instances, so that any function runs in a simulated cluster: the process backend starts
 * the same command, when the simulated start is over.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ComputeBackend } from "../../backends/ComputeBackend.ts"
import * as ProcessBackend from "../../backends/process/ProcessBackend.ts"
import type { Runner } from "../../backends/simulated/SimulatedBackend.ts"

/** Of an end whose grace the simulated backend counts. */
const graceMsMax = 86_400_000

export const make = Effect.fnUntraced(function* (processes: ComputeBackend["Service"]) {
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const lives = new Map<string, Parameters<Runner>[1]>()
  let starts = 0
  yield* processes.watch((observation) => {
    if (observation._tag === "Gap" || observation._tag === "Phase") return
    const life = lives.get(observation.instanceId)
    if (observation._tag === "Started") return life?.started(observation.pid)
    lives.delete(observation.instanceId)
    life?.ended(observation.exit)
  })
  yield* processes.followLogs((key, { stream, text }) => lives.get(key)?.output(stream, Buffer.from(`${text}\n`)))
  const run: Runner = (spec, life) => {
    // An id may come again while the process of its last life is on its way out.
    const key = `${spec.instanceId}.${++starts}`
    lives.set(key, life)
    const { image: _image, secrets: _secrets, ...rest } = spec
    const inner = {
      ...rest,
      instanceId: key,
      instanceType: ProcessBackend.instanceTypeName,
      gpu: { kind: "none", count: 0 }
    }
    runFork(
      Effect.catch(processes.launch(inner), (error) =>
        Effect.sync(() => {
          lives.delete(key)
          life.ended({ kind: "start-failed", error })
        })
      )
    )
    return {
      signal: (signal) => void runFork(Effect.ignore(processes.terminate(key, signal === "SIGKILL" ? 0 : graceMsMax)))
    }
  }
  return run
})
