/**
 * Workers of the SDK for the bench of many functions, in a process of their own, so that what they hold is not counted as the
 * platform's. Its parent says `{ kind: "start", spec }` and `{ kind: "signal", instanceId, signal }`, and hears `started` and
 * `ended`. Ends when its channel closes.
 *
 * @module
 */
import type { Exit, InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { built } from "./built.ts"

// Built of the source that its type is of.
const SimulatedWorker = (await built(
  "cli/backend/SimulatedWorker"
)) as typeof import("../../src/cli/backend/SimulatedWorker.ts")

export type ToWorkers =
  | { readonly kind: "start"; readonly spec: InstanceSpec }
  | { readonly kind: "signal"; readonly instanceId: string; readonly signal: "SIGTERM" | "SIGKILL" }

export type FromWorkers =
  | { readonly kind: "started"; readonly instanceId: string }
  | { readonly kind: "ended"; readonly instanceId: string; readonly exit: Exit }

const say = (message: FromWorkers) => process.send?.(message)
const running = new Map<string, ReturnType<typeof SimulatedWorker.run>>()

process.on("message", (message: ToWorkers) => {
  if (message.kind === "signal") return running.get(message.instanceId)?.signal(message.signal)
  const { instanceId } = message.spec
  running.set(
    instanceId,
    SimulatedWorker.run(message.spec, {
      started: () => say({ kind: "started", instanceId }),
      output: () => undefined,
      ended: (exit) => {
        running.delete(instanceId)
        say({ kind: "ended", instanceId, exit })
      }
    })
  )
})
process.once("disconnect", () => process.exit(0))
