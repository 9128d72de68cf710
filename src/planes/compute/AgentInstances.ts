/**
 * The instances of one agent: each from its order to its end, driven by what the backend, its worker and the clock tell,
 * and a bounded memory of those that ended.
 *
 * An end waits for the launch, because what is not there yet cannot be ended; then, where it drains, until the worker is
 * gone or `drainMs` and the deadlines of what it holds have passed; then the backend is told until it obeys.
 *
 * @module
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type { ComputeBackend, InstanceObservation, RunningInstance } from "../../backends/ComputeBackend.ts"
import { RecentMap } from "../../core/collections/RecentMap.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { describeExit, isExitRetryable, type Known, reported, reportOf } from "./AgentInstance.ts"
import type { InstanceReport, WorkerReport } from "./AgentMessage.ts"
import type { AgentReports } from "./AgentReports.ts"
import * as Alarms from "./Alarms.ts"
import * as HeartbeatPart from "./HeartbeatPart.ts"

export interface Entry extends Alarms.Alarmed {
  readonly create: Known
  state: Instance.State
  /** The launch succeeded. */
  isLaunched: boolean
  /** It was there, and is not. */
  isWorkerGone: boolean
  /** The last deadline of what its worker holds, once it drains. */
  holdsUntilMs: number
  /** Lists in a row that lacked it. */
  missedCount: number
  ending: Ending | undefined
}

interface Ending {
  readonly isDrained: boolean
  readonly drainUntilMs: number
  readonly graceMs: number
  /** The backend is being told, or was. */
  isTold: boolean
  /** Who tells it, once it has begun. */
  fiber: Fiber.Fiber<void> | undefined
}

type Order = Pick<Extract<Instance.Command, { _tag: "OrderTerminate" }>, "drainMs" | "graceMs" | "reason">

export interface AgentInstances {
  /** That are wanted, or on their way out. */
  readonly entries: ReadonlyMap<string, Entry>
  /** A fresh one, that nothing is known of but its order. */
  readonly entryOf: (create: Known) => Entry
  readonly add: (entry: Entry) => void
  readonly apply: (entry: Entry, event: Instance.Event) => void
  /** Has the backend end it, once; a shorter drain replaces a longer one. */
  readonly end: (entry: Entry, order: Order) => void
  readonly launched: (entry: Entry) => void
  readonly launchFailed: (entry: Entry, why: { readonly detail: string; readonly retryable: boolean }) => void
  /** It is over: from now on it is only remembered. */
  readonly forget: (entry: Entry) => void
  /** It never was, or is over. `null`: it was told to end before it was told to start. */
  readonly remember: (instanceId: string, report: InstanceReport | null) => void
  /** Undefined: nothing is known of an end. */
  readonly ended: (instanceId: string) => { readonly report: InstanceReport | null } | undefined
  /** Takes over one that an earlier life of the agent launched: its worker declares itself to every plane that is new to it. */
  readonly adopt: (one: RunningInstance, known: Known) => void
  readonly observe: (observation: Exclude<InstanceObservation, { _tag: "Gap" }>) => void
  readonly onWorker: (report: WorkerReport) => void
  /** `part`: of those; absent = of all. */
  readonly reports: (part?: HeartbeatPart.HeartbeatPart) => ReadonlyArray<InstanceReport>
  /** Asks a backend that does not answer again; what it did meanwhile is done once. */
  readonly terminateSurely: (instanceId: string, graceMs: number) => Effect.Effect<void>
}

export interface AgentInstancesOptions {
  readonly cluster: string
  readonly backend: ComputeBackend["Service"]
  readonly reports: AgentReports
  readonly clock: Clock.Clock
  /** Undefined: this agent does not act for its cluster, and ends nothing. */
  readonly epoch: () => number | undefined
  /** Starts in this turn; ends with the agent. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** Ended instances are remembered, so that an order that comes again, or too late, does nothing. */
const rememberedMs = 10 * 60_000
const rememberedMax = 10_000

/** After the first try and one 100 ms later. Goes on until the agent ends. */
const terminateAgain = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")])

export const make = ({ cluster, backend, reports, clock, epoch, fork }: AgentInstancesOptions): AgentInstances => {
  const entries = new Map<string, Entry>()
  const remembered = new RecentMap<string, { readonly atMs: number; readonly report: InstanceReport | null }>()
  const now = () => clock.currentTimeMillisUnsafe()

  const alarms = Alarms.make<Entry>({
    clock,
    fork,
    onDue: (entry, nowMs) => {
      if (isStarting(entry.state)) apply(entry, { _tag: "Ticked", nowMs })
      else proceed(entry)
    }
  })

  const apply = (entry: Entry, event: Instance.Event) => {
    const before = entry.state
    const [next, commands] = Instance.step(before, event)
    entry.state = next
    if (next !== before) reports.changed(reportOf(cluster, entry.create, next))
    for (const command of commands) {
      // Failures are counted by the control plane, which sees all clusters.
      if (command._tag === "OrderTerminate") end(entry, command)
    }
    arm(entry)
  }

  /** Has the machine woken at its start deadline, or the end go on when its drain is over. */
  const arm = (entry: Entry) =>
    alarms.set(entry, isStarting(entry.state) ? Instance.wakeAtMs(entry.state) : endAtMs(entry))

  const end = (entry: Entry, { drainMs, graceMs, reason }: Order) => {
    const { instanceId, versionId } = entry.create
    CrashPoint.hit("agent.end")
    const drainUntilMs = now() + Math.max(0, drainMs)
    if (entry.ending !== undefined) {
      if (entry.ending.drainUntilMs <= drainUntilMs) return
      entry.ending.fiber?.interruptUnsafe()
    } else if (drainMs > 0) reports.drain({ instanceId, versionId, reason })
    // The instance may be gone already: `forget` does not take this back, its order is idempotent.
    entry.ending = { isDrained: drainMs <= 0, drainUntilMs, graceMs, isTold: false, fiber: undefined }
    proceed(entry)
  }

  /** When the end is to go on at the latest; null: it is not, or something else must come first. */
  const endAtMs = ({ ending, isLaunched, holdsUntilMs }: Entry): number | null =>
    ending === undefined || ending.isTold || !isLaunched ? null : Math.max(ending.drainUntilMs, holdsUntilMs)

  /** Tells the backend to end it as soon as nothing has to be waited for. */
  const proceed = (entry: Entry) => {
    const { ending, create, isWorkerGone } = entry
    const atMs = endAtMs(entry)
    if (ending === undefined || atMs === null) return
    // The owner may have told of later deadlines meanwhile.
    if (!ending.isDrained && !isWorkerGone && now() < atMs) return alarms.set(entry, atMs)
    alarms.set(entry, null)
    // Before it is: a backend in this process may end it, and tell so, in this very turn.
    ending.isTold = true
    ending.fiber = fork(terminateSurely(create.instanceId, ending.graceMs))
  }

  const terminateOnce = (instanceId: string, graceMs: number) =>
    // Whoever acts for the cluster ends it.
    Effect.suspend(() => (epoch() === undefined ? Effect.void : backend.terminate(instanceId, graceMs)))

  const terminateSurely = (instanceId: string, graceMs: number): Effect.Effect<void> =>
    Effect.catch(terminateOnce(instanceId, graceMs), (error) =>
      Effect.andThen(
        Effect.logWarning(error.message, { cluster, instanceId }),
        terminateOnce(instanceId, graceMs).pipe(
          Effect.tapError(({ message }) => Effect.logWarning(message, { cluster, instanceId })),
          Effect.retry(terminateAgain),
          Effect.ignore,
          Effect.delay("100 millis")
        )
      )
    )

  const remember = (instanceId: string, report: InstanceReport | null) => {
    const atMs = now()
    remembered.set(instanceId, { atMs, report })
    remembered.trim(rememberedMax)
    for (let oldest = remembered.oldest(); oldest !== undefined; oldest = remembered.oldest()) {
      if (atMs - oldest[1].atMs < rememberedMs) return
      remembered.delete(oldest[0])
    }
  }

  const forget = (entry: Entry) => {
    const { instanceId } = entry.create
    entries.delete(instanceId)
    // What waits for the worker waits for an end that has come.
    entry.isWorkerGone = true
    alarms.set(entry, null)
    proceed(entry)
    remember(instanceId, reportOf(cluster, entry.create, entry.state))
  }

  const entryOf = (create: Known): Entry => ({
    ...Alarms.unset(),
    create,
    state: Instance.requested({
      nowMs: now(),
      startDeadlineMs: create.startDeadlineMs,
      drainMs: 0,
      graceMs: create.graceMs
    }),
    isLaunched: false,
    isWorkerGone: false,
    holdsUntilMs: 0,
    missedCount: 0,
    ending: undefined
  })

  const launched = (entry: Entry) => {
    CrashPoint.hit("agent.create.launched")
    entry.isLaunched = true
    proceed(entry)
  }

  return {
    entries,
    entryOf,
    add: (entry) => {
      entries.set(entry.create.instanceId, entry)
      arm(entry)
    },
    apply,
    end,
    launched,
    launchFailed: (entry, { detail, retryable }) => {
      entry.ending?.fiber?.interruptUnsafe()
      apply(entry, reported(now(), { state: "failed", detail, retryable }))
      forget(entry)
    },
    forget,
    remember,
    ended: (instanceId) => remembered.get(instanceId),
    adopt: ({ startedAtMs, pid }, known) => {
      const entry = entryOf(known)
      entries.set(known.instanceId, entry)
      launched(entry)
      apply(entry, reported(now(), { state: "starting", phase: "reconnect", startedAtMs, pid: pid ?? null }))
    },
    observe: (observation) => {
      const entry = entries.get(observation.instanceId)
      if (entry === undefined) return
      const nowMs = now()
      switch (observation._tag) {
        case "Started": {
          const { atMs, pid = null } = observation
          return apply(entry, reported(nowMs, { state: "starting", phase: "process", startedAtMs: atMs, pid }))
        }
        case "Phase":
          return apply(entry, reported(nowMs, { state: "starting", phase: observation.phase }))
        case "Exited": {
          const how = describeExit(observation)
          const detail = entry.state._tag === "Draining" ? `${entry.state.reason}; ${how}` : how
          CrashPoint.hit("agent.exited")
          apply(entry, reported(nowMs, { state: "failed", detail, retryable: isExitRetryable(observation.exit) }))
          return forget(entry)
        }
        default:
          return unreachable(observation)
      }
    },
    onWorker: (report) => {
      const entry = entries.get(report.instanceId)
      if (entry === undefined || report.versionId !== entry.create.versionId) return
      const nowMs = now()
      switch (report._tag) {
        case "WorkerReady":
          entry.isWorkerGone = false
          return apply(entry, { _tag: "WorkerReady", nowMs })
        case "WorkerDraining":
          return
        case "WorkerHolds":
          entry.holdsUntilMs = Math.max(entry.holdsUntilMs, nowMs + report.forMs)
          return
        case "WorkerGone": {
          // Also before the order to end: who gave it told the owner first, and the worker may have left by then.
          entry.isWorkerGone = true
          if (entry.ending === undefined) return apply(entry, { _tag: "WorkerGone", nowMs })
          return proceed(entry)
        }
        default:
          return unreachable(report)
      }
    },
    reports: (part) => {
      const all: Array<InstanceReport> = []
      for (const { create, state } of entries.values()) {
        if (HeartbeatPart.has(part, create.instanceId)) all.push(reportOf(cluster, create, state))
      }
      return all
    },
    terminateSurely
  }
}

const isStarting = ({ _tag }: Instance.State): boolean => _tag === "Requested" || _tag === "Starting"

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
