/**
 * A process that holds a process backend with zygotes, to be killed by a test. Prints one JSON line with the pids of two
 * that wait and of two instances that were such, then waits.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { ComputeBackend } from "../../src/backends/ComputeBackend.ts"
import * as PooledBackend from "./PooledBackend.ts"
import { stubborn } from "./scripts.ts"

const program = Effect.gen(function* () {
  const backend = yield* ComputeBackend
  const before = yield* PooledBackend.untilWaiting(backend, 2)
  for (const id of ["a", "b"]) yield* backend.launch(PooledBackend.entrySpec(id, stubborn))
  const waiting = yield* PooledBackend.untilWaiting(backend, 2)
  const running = (yield* backend.list).flatMap(({ pid }) => (pid !== undefined && before.includes(pid) ? [pid] : []))
  console.log(JSON.stringify([...waiting, ...running]))
  return yield* Effect.never
})

Effect.runFork(Effect.scoped(program).pipe(Effect.provide(PooledBackend.layer({ zygotes: 2 }))))
