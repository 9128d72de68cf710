/**
 * The reconcile loop of an agent: looks at what runs, makes it what is wanted (`Reconcile`), tells what is. Each heartbeat
 * does so, and so does a gap in what the backend told, so nothing depends on a single message.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { ComputeBackend } from "../../backends/ComputeBackend.ts"
import type { BackendUnavailable } from "../../backends/LaunchError.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { knownOf, reported } from "./AgentInstance.ts"
import type { AgentInstances } from "./AgentInstances.ts"
import type { AgentReports } from "./AgentReports.ts"
import * as HeartbeatPart from "./HeartbeatPart.ts"
import * as Reconcile from "./Reconcile.ts"

export interface AgentHeartbeat {
  /** Makes what runs what is wanted; a failure is logged, and the next time makes it good. */
  readonly reconcile: Effect.Effect<void>
  /** The same, and tells the control plane what is: in turn a part of the instances where they are many. */
  readonly beat: Effect.Effect<void>
  /** The same, of all instances. */
  readonly beatWhole: Effect.Effect<void>
}

export interface AgentHeartbeatOptions {
  readonly cluster: string
  readonly backend: ComputeBackend["Service"]
  readonly instances: AgentInstances
  readonly reports: AgentReports
  readonly nowMs: () => number
  /** Undefined: this agent does not act for its cluster. */
  readonly epoch: () => number | undefined
  /** Starts in this turn; ends with the agent. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** Grace of an instance that nobody wants any more. */
const unwantedGraceMs = 10_000

export const make = (options: AgentHeartbeatOptions): AgentHeartbeat => {
  const { cluster, backend, instances, reports, nowMs, epoch, fork } = options

  const endUnwanted = (instanceId: string) =>
    fork(
      Effect.logWarning("an instance runs that nobody wants: ended", { cluster, instanceId }).pipe(
        Effect.andThen(backend.terminate(instanceId, unwantedGraceMs)),
        // The next heartbeat finds it again.
        Effect.catch((error) => Effect.logWarning(error.message, { cluster, instanceId }))
      )
    )

  const reconcile: Effect.Effect<void, BackendUnavailable> = Effect.gen(function* () {
    if (epoch() === undefined) return
    const launchedBefore = new Set([...instances.entries.values()].filter((entry) => entry.isLaunched))
    const listed = yield* backend.list
    const found = new Map(listed.map((one) => [one.instanceId, { one, known: knownOf(one) }]))
    const wanted = [...instances.entries.values()].map((entry) => ({
      instanceId: entry.create.instanceId,
      isLaunched: launchedBefore.has(entry),
      missedCount: entry.missedCount
    }))
    const observed = [...found].map(([instanceId, { known }]) => ({
      instanceId,
      isAdoptable: known !== undefined && instances.ended(instanceId) === undefined
    }))
    const plan = Reconcile.plan(wanted, observed)
    for (const instanceId of plan.adopt) {
      const { one, known } = found.get(instanceId) ?? {}
      if (one !== undefined && known !== undefined) instances.adopt(one, known)
    }
    for (const instanceId of plan.end) endUnwanted(instanceId)
    const missed = new Set(plan.missed)
    for (const entry of instances.entries.values()) {
      entry.missedCount = missed.has(entry.create.instanceId) ? entry.missedCount + 1 : 0
    }
    for (const instanceId of plan.vanished) {
      const entry = instances.entries.get(instanceId)
      if (entry === undefined) continue
      const detail = "it is gone and nobody saw it end"
      instances.apply(entry, reported(nowMs(), { state: "failed", detail, retryable: true }))
      instances.forget(entry)
    }
  })

  let turn = 0
  /** To be told now. */
  const partsOf = (isWhole: boolean): ReadonlyArray<HeartbeatPart.HeartbeatPart | undefined> => {
    const count = HeartbeatPart.countFor(instances.entries.size)
    if (count === 1) return [undefined]
    if (isWhole) return Array.from({ length: count }, (_, index) => ({ index, count }))
    turn = (turn + 1) % count
    return [{ index: turn, count }]
  }

  const tell = (isWhole: boolean) =>
    Effect.gen(function* () {
      CrashPoint.hit("agent.heartbeat.before")
      if (epoch() === undefined) return
      yield* reconcile
      const { instanceTypes } = yield* backend.capacity
      for (const part of partsOf(isWhole)) reports.heartbeat(instanceTypes, instances.reports(part), part)
      CrashPoint.hit("agent.heartbeat.after")
    }).pipe(Effect.catchCause((cause) => Effect.logError("a heartbeat of the agent failed", cause, { cluster })))

  return {
    reconcile: Effect.catchCause(reconcile, (cause) =>
      Effect.logError("the agent could not see what runs", cause, { cluster })
    ),
    beat: tell(false),
    beatWhole: tell(true)
  }
}
