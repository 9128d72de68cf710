/**
 * The agent of one cluster: carries out what the control plane orders, with one backend, and tells what is.
 *
 * - Orders of the queue (`AgentOrders`) make and end instances (`AgentInstances`), whose changes are told (`AgentReports`).
 * - The order to launch leaves in the turn in which a Create is delivered; acked when the backend took it or refused.
 * - A Terminate first drains: the shard's owner is asked to drain the worker, and the backend is told to end the
 *   instance when the worker is gone, or `drainMs` and the deadlines of what it holds have passed.
 * - Each heartbeat (`AgentHeartbeat`) reconciles wanted against observed, so nothing depends on a single message.
 * - What is wanted lives in memory. An agent that starts anew takes over what it finds by its labels; the control plane
 *   hears of it and ends what is too much. What an agent did not launch, or knows to have ended, it ends when it finds it.
 *
 * Laws (`tests/compute/Agent.test.ts`): A1 an order that came twice is carried out once. A2 an instance that was told to
 * end before it was told to start never starts. A3 an order that nobody can read is put aside at once, with its reason,
 * and stops nothing. A4 an order older than its start deadline is not carried out. A5 an instance that is not ready
 * within its start deadline is ended and reported as failed. A6 on shutdown all instances end, in bounded time. A8 an order of an older leader
 * than was seen changes nothing. A9 an agent that does not act for its cluster tells nothing, starts nothing and ends nothing. A7 whatever
 * call it died at, whatever it did not see and however old a list was, the next heartbeats bring what runs to what is
 * wanted, with no instance twice and nothing of others touched (`tests/compute/AgentFaults.test.ts`).
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { ComputeBackend, type LogLine } from "../../backends/ComputeBackend.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import type { Payload } from "../fabric/Message.ts"
import { PubSub } from "../fabric/PubSub.ts"
import { WorkQueue } from "../fabric/WorkQueue.ts"
import * as AgentHeartbeat from "./AgentHeartbeat.ts"
import { reportOf } from "./AgentInstance.ts"
import * as AgentInstances from "./AgentInstances.ts"
import { type CreateInstance, type InstanceReport, subjects } from "./AgentMessage.ts"
import * as AgentMessageCheck from "./AgentMessageCheck.ts"
import * as AgentOrders from "./AgentOrders.ts"
import * as AgentReports from "./AgentReports.ts"

export interface Options {
  /** Name of the cluster, part of its subjects. */
  readonly cluster: string
  readonly site: AgentReports.ClusterSite
  /** Between heartbeats, each of which also reconciles. Default 2,000. */
  readonly heartbeatMs?: number
  /**
   * Where workers connect, for example `ws://127.0.0.1:8789`; asked at each start. Undefined: nobody knows at the moment,
   * so that an order waits, up to its start deadline.
   */
  readonly workerUrl: string | (() => string | undefined)
  /**
   * Of this agent among those of its cluster, at this very moment; undefined: another one acts for the cluster, or nobody
   * knows, and this one writes nothing, orders nothing and ends nothing. Absent: it is alone.
   */
  readonly epoch?: () => number | undefined
  /** The newest epoch of the control plane's leadership that this process has seen elsewhere. Absent = 0. */
  readonly leaderEpoch?: () => number
  /** The credential of the worker of one instance. */
  readonly workerToken: (create: CreateInstance) => string
  /** All instances have ended, or are left to the backend to kill, so long after the agent's scope began to close. Default 15,000. */
  readonly shutdownMs?: number
}

export class Agent extends Context.Service<
  Agent,
  {
    readonly cluster: string
    /** All that run or are on their way in or out. */
    readonly instances: Effect.Effect<ReadonlyArray<InstanceReport>>
    /** The kept tail of its output, oldest first; also of instances that ended a short while ago. */
    readonly logs: (instanceId: string) => Effect.Effect<ReadonlyArray<LogLine>>
    /** New lines of any instance until the scope closes. */
    readonly followLogs: (
      onLine: (instanceId: string, line: LogLine) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/planes/compute/Agent") {}

const consumeOptions = { ackWaitMs: 30_000, maxInFlight: 1_000 }
/** A third, so that one that is late costs nothing. */
const extendMs = 10_000
const shutdownMsDefault = 15_000

export const make: (
  options: Options
) => Effect.Effect<Agent["Service"], FabricUnavailable, ComputeBackend | WorkQueue | PubSub | Scope.Scope> =
  Effect.fnUntraced(function* (options) {
    const { cluster, site } = options
    const backend = yield* ComputeBackend
    const workQueue = yield* WorkQueue
    const pubSub = yield* PubSub
    const clock = yield* Clock.Clock
    const scope = yield* Effect.scope
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const nowMs = () => clock.currentTimeMillisUnsafe()
    const epoch = options.epoch ?? (() => 0)
    const { workerUrl } = options

    /** Starts in this turn; ends with the agent. */
    const fork = (effect: Effect.Effect<void>): Fiber.Fiber<void> => Fiber.runIn(runFork(effect), scope)

    const reports = AgentReports.make({ cluster, site, abilities: backend.abilities, pubSub, epoch })
    const instances = AgentInstances.make({ cluster, backend, reports, clock, epoch, fork })
    const orders = AgentOrders.make({
      cluster,
      backend,
      instances,
      reports,
      clock,
      epoch,
      leaderEpoch: options.leaderEpoch ?? (() => 0),
      workerUrl: typeof workerUrl === "string" ? () => workerUrl : workerUrl,
      workerToken: options.workerToken,
      fork
    })
    const heartbeat = AgentHeartbeat.make({ cluster, backend, instances, reports, nowMs, epoch, fork })

    const onWorker = (payload: Payload) => {
      const report = AgentMessageCheck.workerReport(payload)
      // A hint of another's making; what it should have said comes again with the next one.
      if (Result.isSuccess(report)) instances.onWorker(report.success)
    }

    const shutdown = Effect.suspend(() => {
      if (epoch() === undefined) return Effect.void
      const all = [...instances.entries.values()]
      for (const entry of all) {
        const reason = "the agent is shutting down"
        const [next] = Instance.step(
          entry.state,
          Instance.Event.DrainOrdered({ nowMs: nowMs(), holdsWork: false, reason })
        )
        if (next !== entry.state) reports.changed(reportOf(cluster, entry.create, next))
        entry.state = next
      }
      return Effect.forEach(
        all,
        (entry) => instances.terminateSurely(entry.create.instanceId, entry.state.facts.graceMs),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.timeoutOption(options.shutdownMs ?? shutdownMsDefault))
    })

    yield* backend.watch((observation) => {
      CrashPoint.hit("agent.observed")
      if (observation._tag === "Gap") fork(heartbeat.reconcile)
      else instances.observe(observation)
    })
    yield* pubSub.hear(subjects.worker, onWorker)
    yield* pubSub.subscribe(subjects.reportWanted, () => void fork(heartbeat.beatWhole))
    yield* Effect.addFinalizer(() => shutdown)
    yield* heartbeat.beatWhole
    yield* workQueue.consume(subjects.terminate(cluster), consumeOptions, orders.onTerminate)
    yield* workQueue.consume(subjects.creates(cluster), consumeOptions, orders.onCreate)
    yield* Effect.sync(orders.extend).pipe(Effect.delay(extendMs), Effect.repeat(Schedule.forever), Effect.forkScoped)
    yield* heartbeat.beat.pipe(
      Effect.delay(options.heartbeatMs ?? 2_000),
      Effect.repeat(Schedule.forever),
      Effect.forkScoped
    )

    return Agent.of({
      cluster,
      instances: Effect.sync(() => instances.reports()),
      logs: (instanceId) =>
        Effect.catch(backend.logs(instanceId), ({ message }) =>
          Effect.succeed([{ atMs: nowMs(), stream: "stderr" as const, text: message }])
        ),
      followLogs: backend.followLogs
    })
  })

export const layer = (options: Options): Layer.Layer<Agent, FabricUnavailable, ComputeBackend | WorkQueue | PubSub> =>
  Layer.effect(Agent, make(options))
