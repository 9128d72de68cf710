/**
 * The agent of one cluster: carries out what the control plane orders, with one backend, and tells what is.
 *
 * - The order to launch leaves in the turn in which a Create is delivered; acked when the backend took it or refused.
 * - A Terminate first drains: the shard's owner is asked to drain the worker, and the backend is told to end the
 *   instance when the worker is gone, or `drainMs` and the deadlines of what it holds have passed.
 * - Each heartbeat reconciles wanted against observed (`Reconcile`), so nothing depends on a single message.
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
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import {
  ComputeBackend,
  type InstanceObservation,
  type LogLine,
  type RunningInstance
} from "../../backends/ComputeBackend.ts"
import { isLaunchError, isRetryable, type LaunchError } from "../../backends/LaunchError.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import { PubSub } from "../fabric/PubSub.ts"
import { type Delivery, WorkQueue } from "../fabric/WorkQueue.ts"
import {
  describeExit,
  environmentOf,
  isExitRetryable,
  type Known,
  knownOf,
  reported,
  reportOf,
  specOf
} from "./AgentInstance.ts"
import {
  type AgentReport,
  CreateInstance,
  type InstanceReport,
  subjects,
  TerminateInstance,
  WorkerReport
} from "./AgentMessage.ts"
import * as Reconcile from "./Reconcile.ts"

export interface Options {
  /** Name of the cluster, part of its subjects. */
  readonly cluster: string
  readonly region: string
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
    readonly region: string
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

interface Entry {
  readonly create: Known
  state: Instance.State
  /** Done when the launch succeeded; an end waits for it, because what is not there yet cannot be ended. */
  readonly launched: Deferred.Deferred<void>
  readonly workerGone: Deferred.Deferred<void>
  /** The last deadline of what its worker holds, once it drains. */
  holdsUntilMs: number
  isLaunched: boolean
  /** Lists in a row that lacked it. */
  missedCount: number
  wakeAtMs: number | null
  wake: Fiber.Fiber<unknown, unknown> | undefined
  ending: { readonly drainUntilMs: number; readonly fiber: Fiber.Fiber<unknown, unknown> } | undefined
}

/** Ended instances are remembered, so that an order that comes again, or too late, does nothing. */
const rememberedMs = 10 * 60_000
const rememberedMax = 10_000
/** An order that made the agent itself fail so often is put aside. */
const deliveriesMax = 5
const consumeOptions = { ackWaitMs: 30_000, maxInFlight: 1_000 }
/** When an order is looked at again that came while nobody knew where workers connect. */
const noWorkerUrlAgainMs = 500
/** When an order comes again that came while this agent did not act for its cluster. */
const notActingAgainMs = 500
/** Grace of an instance that nobody wants any more. */
const unwantedGraceMs = 10_000
const shutdownMsDefault = 15_000

/** About six seconds; then the control plane hears of it. */
const launchAgain = { times: 6, schedule: Schedule.exponential("100 millis") }
/** Goes on until the agent ends. */
const terminateAgain = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

const decodeCreate = Schema.decodeUnknownResult(Schema.fromJsonString(CreateInstance))
const decodeTerminate = Schema.decodeUnknownResult(Schema.fromJsonString(TerminateInstance))
const decodeWorker = Schema.decodeUnknownResult(Schema.fromJsonString(WorkerReport))
const text = new TextDecoder()
const bytes = new TextEncoder()

export const make: (
  options: Options
) => Effect.Effect<Agent["Service"], FabricUnavailable, ComputeBackend | WorkQueue | PubSub | Scope.Scope> =
  Effect.fnUntraced(function* (options) {
    const { cluster, region } = options
    const backend = yield* ComputeBackend
    const workQueue = yield* WorkQueue
    const pubSub = yield* PubSub
    const clock = yield* Clock.Clock
    const scope = yield* Effect.scope
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const entries = new Map<string, Entry>()
    const remembered = new Map<string, { readonly atMs: number; readonly report: InstanceReport | null }>()
    const now = () => clock.currentTimeMillisUnsafe()

    /** Starts in this turn; ends with the agent. */
    const fork = <A>(effect: Effect.Effect<A>): Fiber.Fiber<A> => Fiber.runIn(runFork(effect), scope)

    const epoch = options.epoch ?? (() => 0)

    const publish = (report: AgentReport) => {
      const agentEpoch = epoch()
      if (agentEpoch === undefined) return
      const message = agentEpoch === 0 ? report : { ...report, agentEpoch }
      pubSub.publish(subjects.report(cluster), bytes.encode(JSON.stringify(message)))
    }

    const publishInstance = (instance: InstanceReport) => publish({ _tag: "InstanceChanged", cluster, instance })

    const remember = (instanceId: string, report: InstanceReport | null) => {
      const atMs = now()
      remembered.delete(instanceId)
      remembered.set(instanceId, { atMs, report })
      for (const [oldest, entry] of remembered) {
        if (remembered.size <= rememberedMax && atMs - entry.atMs < rememberedMs) break
        remembered.delete(oldest)
      }
    }

    const forget = (entry: Entry) => {
      const { instanceId } = entry.create
      entries.delete(instanceId)
      entry.wake?.interruptUnsafe()
      entry.wake = undefined
      // The one who waits for the worker waits for an end that has come.
      Deferred.doneUnsafe(entry.workerGone, Effect.void)
      remember(instanceId, reportOf(cluster, entry.create, entry.state))
    }

    const apply = (entry: Entry, event: Instance.Event) => {
      const before = entry.state
      const [next, commands] = Instance.step(before, event)
      entry.state = next
      if (next !== before) publishInstance(reportOf(cluster, entry.create, next))
      for (const command of commands) {
        // Failures are counted by the control plane, which sees all clusters.
        if (command._tag === "OrderTerminate") end(entry, command)
      }
      arm(entry)
    }

    /** A backend that does not answer is asked again; what it did meanwhile is done once. */
    const terminateSurely = (instanceId: string, graceMs: number) =>
      // Whoever acts for the cluster ends it.
      Effect.suspend(() => (epoch() === undefined ? Effect.void : backend.terminate(instanceId, graceMs))).pipe(
        Effect.tapError((error) => Effect.logWarning(error.message, { cluster, instanceId })),
        Effect.retry(terminateAgain),
        Effect.ignore
      )

    /** Has the machine woken at its start deadline. */
    const arm = (entry: Entry) => {
      const { state } = entry
      const wakeAtMs = state._tag === "Requested" || state._tag === "Starting" ? Instance.wakeAtMs(state) : null
      if (wakeAtMs === entry.wakeAtMs) return
      entry.wakeAtMs = wakeAtMs
      entry.wake?.interruptUnsafe()
      entry.wake = undefined
      if (wakeAtMs === null) return
      entry.wake = fork(
        Effect.sleep(Math.max(0, wakeAtMs - now())).pipe(
          // The wall clock may have been set back meanwhile; the sleep was as long as it had to be.
          Effect.andThen(Effect.sync(() => apply(entry, Instance.Event.Ticked({ nowMs: Math.max(now(), wakeAtMs) }))))
        )
      )
    }

    const end = (
      entry: Entry,
      order: { readonly drainMs: number; readonly graceMs: number; readonly reason: string }
    ) => {
      const { instanceId, versionId } = entry.create
      CrashPoint.hit("agent.end")
      const drainUntilMs = now() + Math.max(0, order.drainMs)
      if (entry.ending !== undefined) {
        if (entry.ending.drainUntilMs <= drainUntilMs) return
        entry.ending.fiber.interruptUnsafe()
      } else if (order.drainMs > 0) {
        const payload = JSON.stringify({ instanceId, versionId, reason: order.reason })
        pubSub.publish(subjects.drain, bytes.encode(payload))
      }
      /** The owner may tell of later deadlines while it is waited for. */
      const overdue: Effect.Effect<void> = Effect.suspend(() => {
        const leftMs = Math.max(drainUntilMs, entry.holdsUntilMs) - now()
        return leftMs <= 0 ? Effect.void : Effect.andThen(Effect.sleep(leftMs), overdue)
      })
      const drained = order.drainMs > 0 ? Effect.race(Deferred.await(entry.workerGone), overdue) : Effect.void
      const fiber = fork(
        Deferred.await(entry.launched).pipe(
          Effect.andThen(drained),
          Effect.andThen(terminateSurely(instanceId, order.graceMs))
        )
      )
      // The instance may be gone already: `forget` does not interrupt this fiber, its order is idempotent.
      entry.ending = { drainUntilMs, fiber }
    }

    const onLaunched = (entry: Entry) => {
      CrashPoint.hit("agent.create.launched")
      entry.isLaunched = true
      Deferred.doneUnsafe(entry.launched, Effect.void)
    }

    const onLaunchFailed = (entry: Entry, cause: Cause.Cause<LaunchError>) => {
      const { instanceId } = entry.create
      const error = Cause.squash(cause)
      const known = isLaunchError(error)
      const detail = known ? error.message : `the backend broke when it launched ${instanceId}: ${String(error)}`
      fork(Effect.logWarning(detail, { cluster, instanceId, versionId: entry.create.versionId }))
      entry.ending?.fiber.interruptUnsafe()
      apply(entry, reported(now(), { state: "failed", detail, retryable: !known || isRetryable(error) }))
      forget(entry)
    }

    const entryOf = (create: Known, nowMs: number): Entry => ({
      create,
      state: Instance.requested({
        nowMs,
        startDeadlineMs: create.startDeadlineMs,
        drainMs: 0,
        graceMs: create.graceMs
      }),
      launched: Deferred.makeUnsafe(),
      workerGone: Deferred.makeUnsafe(),
      holdsUntilMs: 0,
      isLaunched: false,
      missedCount: 0,
      wakeAtMs: null,
      wake: undefined,
      ending: undefined
    })

    let newestEpoch = 0
    /** Why an order is of the past; undefined = it is not. */
    const deposed = ({ epoch = 0 }: { readonly epoch?: number }): string | undefined => {
      newestEpoch = Math.max(newestEpoch, epoch, options.leaderEpoch?.() ?? 0)
      return epoch < newestEpoch ? `the order is of leader ${epoch} and leader ${newestEpoch} leads now` : undefined
    }

    const create = (order: CreateInstance, delivery: Delivery) => {
      const { instanceId } = order
      CrashPoint.hit("agent.create.received")
      const isOld = deposed(order)
      if (isOld !== undefined) {
        const entry = entryOf(order, now())
        if (entries.has(instanceId)) return delivery.ack()
        fork(Effect.logWarning(isOld, { cluster, instanceId }))
        apply(entry, reported(now(), { state: "failed", detail: isOld, retryable: true }))
        return delivery.ack()
      }
      const running = entries.get(instanceId)
      const ended = remembered.get(instanceId)
      if (running !== undefined || ended !== undefined) {
        const report = running === undefined ? ended?.report : reportOf(cluster, order, running.state)
        if (report !== null && report !== undefined) publishInstance(report)
        return delivery.ack()
      }
      const nowMs = now()
      const entry = entryOf(order, nowMs)
      const ageMs = nowMs - order.decidedAtMs
      if (ageMs > order.startDeadlineMs) {
        const detail = `the order is ${ageMs} ms old and its start deadline was ${order.startDeadlineMs} ms`
        apply(entry, reported(nowMs, { state: "failed", detail, retryable: true }))
        forget(entry)
        return delivery.ack()
      }
      const url = typeof options.workerUrl === "string" ? options.workerUrl : options.workerUrl()
      if (url === undefined) return delivery.nak(noWorkerUrlAgainMs)
      CrashPoint.hit("agent.create.beforeLaunch")
      entries.set(instanceId, entry)
      const worker = { url, token: options.workerToken(order), spawnedAtMs: nowMs }
      fork(
        backend.launch(specOf(order, environmentOf(order, worker))).pipe(
          // Whether it had an effect is unknown, and the same launch again finds what it made.
          Effect.retry({ ...launchAgain, while: ({ _tag }) => _tag === "BackendUnavailable" }),
          Effect.matchCause({
            onSuccess: () => onLaunched(entry),
            onFailure: (cause) => onLaunchFailed(entry, cause)
          }),
          Effect.andThen(Effect.sync(() => delivery.ack()))
        )
      )
      arm(entry)
    }

    const terminate = (order: TerminateInstance, delivery: Delivery) => {
      CrashPoint.hit("agent.terminate.received")
      const isOld = deposed(order)
      if (isOld !== undefined) {
        fork(Effect.logWarning(isOld, { cluster, instanceId: order.instanceId }))
        return delivery.ack()
      }
      const entry = entries.get(order.instanceId)
      if (entry === undefined) {
        const ended = remembered.get(order.instanceId)
        if (ended === undefined) remember(order.instanceId, null)
        if (ended?.report != null) publishInstance(ended.report)
        // One that this agent has not started, but finds.
        fork(terminateSurely(order.instanceId, order.graceMs))
        return delivery.ack()
      }
      const { drainMs, graceMs, reason } = order
      if (entry.state._tag === "Draining" || Instance.isEnded(entry.state)) {
        end(entry, order)
      } else {
        entry.state = { ...entry.state, facts: { ...entry.state.facts, drainMs, graceMs } }
        apply(entry, Instance.Event.DrainOrdered({ nowMs: now(), holdsWork: true, reason }))
      }
      delivery.ack()
    }

    const handle =
      <A>(decode: (json: string) => Result.Result<A, unknown>, act: (order: A, delivery: Delivery) => void) =>
      (delivery: Delivery) => {
        const facts = { cluster, queue: delivery.queue, messageId: delivery.messageId }
        const putAside = (reason: string) => {
          fork(Effect.logError(`an order was put aside: ${reason}`, facts))
          delivery.terminate(reason)
        }
        if (epoch() === undefined) return delivery.nak(notActingAgainMs)
        const order = decode(text.decode(delivery.payload))
        if (Result.isFailure(order)) return putAside(`it cannot be read: ${String(order.failure)}`.slice(0, 1000))
        try {
          act(order.success, delivery)
        } catch (cause) {
          if (delivery.deliveryCount >= deliveriesMax) return putAside(`the agent failed on it: ${String(cause)}`)
          fork(Effect.logError("the agent failed on an order, which comes again", cause, facts))
          delivery.nak(1_000)
        }
      }

    const observe = (observation: InstanceObservation) => {
      CrashPoint.hit("agent.observed")
      if (observation._tag === "Gap") return void fork(reconcileNow)
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
          const detail = describeExit(observation)
          const draining = entry.state._tag === "Draining" ? `${entry.state.reason}; ${detail}` : detail
          CrashPoint.hit("agent.exited")
          apply(
            entry,
            reported(nowMs, { state: "failed", detail: draining, retryable: isExitRetryable(observation.exit) })
          )
          return forget(entry)
        }
        default:
          return unreachable(observation)
      }
    }

    const onWorker = (payload: Uint8Array) => {
      const report = decodeWorker(text.decode(payload))
      // A hint of another's making; what it should have said comes again with the next one.
      if (Result.isFailure(report)) return
      const entry = entries.get(report.success.instanceId)
      if (entry === undefined || report.success.versionId !== entry.create.versionId) return
      const nowMs = now()
      if (report.success._tag === "WorkerHolds") {
        entry.holdsUntilMs = Math.max(entry.holdsUntilMs, nowMs + report.success.forMs)
      }
      if (report.success._tag === "WorkerReady") apply(entry, Instance.Event.WorkerReady({ nowMs }))
      if (report.success._tag !== "WorkerGone") return
      if (entry.ending === undefined) apply(entry, Instance.Event.WorkerGone({ nowMs }))
      else Deferred.doneUnsafe(entry.workerGone, Effect.void)
    }

    const reports = () => [...entries.values()].map((entry) => reportOf(cluster, entry.create, entry.state))

    /** Its worker declares itself again, as it does to every plane that is new to it. */
    const adopt = ({ startedAtMs, pid }: RunningInstance, known: Known) => {
      const entry = entryOf(known, now())
      entries.set(known.instanceId, entry)
      onLaunched(entry)
      apply(entry, reported(now(), { state: "starting", phase: "reconnect", startedAtMs, pid: pid ?? null }))
    }

    const reconcile = Effect.gen(function* () {
      if (epoch() === undefined) return
      const launchedBefore = new Set([...entries.values()].filter((entry) => entry.isLaunched))
      const listed = yield* backend.list
      const found = new Map(listed.map((one) => [one.instanceId, { one, known: knownOf(one) }]))
      const wanted = [...entries.values()].map((entry) => ({
        instanceId: entry.create.instanceId,
        isLaunched: launchedBefore.has(entry),
        missedCount: entry.missedCount
      }))
      const observed = [...found].map(([instanceId, { known }]) => ({
        instanceId,
        isAdoptable: known !== undefined && !remembered.has(instanceId)
      }))
      const plan = Reconcile.plan(wanted, observed)
      for (const instanceId of plan.adopt) {
        const { one, known } = found.get(instanceId) ?? {}
        if (one !== undefined && known !== undefined) adopt(one, known)
      }
      for (const instanceId of plan.end) {
        fork(
          Effect.logWarning("an instance runs that nobody wants: ended", { cluster, instanceId }).pipe(
            Effect.andThen(backend.terminate(instanceId, unwantedGraceMs)),
            // The next heartbeat finds it again.
            Effect.catch((error) => Effect.logWarning(error.message, { cluster, instanceId }))
          )
        )
      }
      const missed = new Set(plan.missed)
      for (const entry of entries.values()) {
        entry.missedCount = missed.has(entry.create.instanceId) ? entry.missedCount + 1 : 0
      }
      for (const instanceId of plan.vanished) {
        const entry = entries.get(instanceId)
        if (entry === undefined) continue
        apply(entry, reported(now(), { state: "failed", detail: "it is gone and nobody saw it end", retryable: true }))
        forget(entry)
      }
    })

    const reconcileNow = Effect.catchCause(reconcile, (cause) =>
      Effect.logError("the agent could not see what runs", cause, { cluster })
    )

    const heartbeat = Effect.gen(function* () {
      CrashPoint.hit("agent.heartbeat.before")
      if (epoch() === undefined) return
      yield* reconcile
      const { instanceTypes } = yield* backend.capacity
      const { name, isolation } = backend.abilities
      publish({ _tag: "Heartbeat", cluster, region, backend: name, isolation, instanceTypes, instances: reports() })
      CrashPoint.hit("agent.heartbeat.after")
    }).pipe(Effect.catchCause((cause) => Effect.logError("a heartbeat of the agent failed", cause, { cluster })))

    const shutdown = Effect.suspend(() => {
      if (epoch() === undefined) return Effect.void
      const all = [...entries.values()]
      for (const entry of all) {
        const reason = "the agent is shutting down"
        const [next] = Instance.step(
          entry.state,
          Instance.Event.DrainOrdered({ nowMs: now(), holdsWork: false, reason })
        )
        if (next !== entry.state) publishInstance(reportOf(cluster, entry.create, next))
        entry.state = next
      }
      return Effect.forEach(all, (entry) => terminateSurely(entry.create.instanceId, entry.state.facts.graceMs), {
        concurrency: "unbounded",
        discard: true
      }).pipe(Effect.timeoutOption(options.shutdownMs ?? shutdownMsDefault))
    })

    yield* backend.watch(observe)
    yield* pubSub.subscribe(subjects.worker, onWorker)
    yield* pubSub.subscribe(subjects.reportWanted, () => void fork(heartbeat))
    yield* Effect.addFinalizer(() => shutdown)
    yield* heartbeat
    yield* workQueue.consume(subjects.terminate(cluster), consumeOptions, handle(decodeTerminate, terminate))
    yield* workQueue.consume(subjects.create(cluster), consumeOptions, handle(decodeCreate, create))
    yield* heartbeat.pipe(
      Effect.delay(options.heartbeatMs ?? 2_000),
      Effect.repeat(Schedule.forever),
      Effect.forkScoped
    )

    return Agent.of({
      cluster,
      region,
      instances: Effect.sync(reports),
      logs: (instanceId) =>
        Effect.catch(backend.logs(instanceId), ({ message }) =>
          Effect.succeed([{ atMs: now(), stream: "stderr" as const, text: message }])
        ),
      followLogs: backend.followLogs
    })
  })

export const layer = (options: Options): Layer.Layer<Agent, FabricUnavailable, ComputeBackend | WorkQueue | PubSub> =>
  Layer.effect(Agent, make(options))

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
