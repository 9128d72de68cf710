/**
 * What an agent does with each order of its queue: read, checked, carried out, acked.
 *
 * The order to launch leaves in the turn in which a Create is delivered; acked when the backend took it or refused. Until
 * then the queue is told that it is worked on: an agent that dies meanwhile leaves the order to the next one.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { ComputeBackend } from "../../backends/ComputeBackend.ts"
import { isLaunchError, isRetryable, type LaunchError } from "../../backends/LaunchError.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { Read } from "../fabric/Message.ts"
import type { Delivery } from "../fabric/WorkQueue.ts"
import { environmentOf, reported, reportOf, specOf } from "./AgentInstance.ts"
import type { AgentInstances, Entry } from "./AgentInstances.ts"
import type { CreateInstance, TerminateInstance } from "./AgentMessage.ts"
import * as AgentMessageCheck from "./AgentMessageCheck.ts"
import type { AgentReports } from "./AgentReports.ts"

export interface AgentOrders {
  readonly onCreate: (delivery: Delivery) => void
  readonly onTerminate: (delivery: Delivery) => void
  /** Tells the queue that what the backend has not taken yet is still worked on. Several times in each `ackWaitMs`. */
  readonly extend: () => void
}

export interface AgentOrdersOptions {
  readonly cluster: string
  readonly backend: ComputeBackend["Service"]
  readonly instances: AgentInstances
  readonly reports: AgentReports
  readonly clock: Clock.Clock
  /** Undefined: this agent does not act for its cluster, and an order waits for the one that does. */
  readonly epoch: () => number | undefined
  readonly leaderEpoch: () => number
  /** Undefined: nobody knows at the moment. */
  readonly workerUrl: () => string | undefined
  readonly workerToken: (create: CreateInstance) => string
  /** Starts in this turn; ends with the agent. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** An order that made the agent itself fail so often is put aside. */
const deliveriesMax = 5
/** When an order is looked at again that came while nobody knew where workers connect. */
const noWorkerUrlAgainMs = 500
/** When an order comes again that came while this agent did not act for its cluster. */
const notActingAgainMs = 500

/** After the first try and one 100 ms later: seven tries in about six seconds, then the control plane hears of it. */
const launchAgain = { times: 5, schedule: Schedule.exponential("200 millis") }

export const make = (options: AgentOrdersOptions): AgentOrders => {
  const { cluster, backend, instances, reports, clock, epoch, fork } = options
  const now = () => clock.currentTimeMillisUnsafe()

  /** By instance what the backend has not taken yet: one for each message that said so. */
  const launching = new Map<string, Array<Delivery>>()

  let newestEpoch = 0
  /** Why an order is of the past; undefined = it is not. */
  const deposed = ({ epoch = 0 }: { readonly epoch?: number }): string | undefined => {
    newestEpoch = Math.max(newestEpoch, epoch, options.leaderEpoch())
    return epoch < newestEpoch ? `the order is of leader ${epoch} and leader ${newestEpoch} leads now` : undefined
  }

  const create = (order: CreateInstance, delivery: Delivery) => {
    const { instanceId } = order
    CrashPoint.hit("agent.create.received")
    const underWay = launching.get(instanceId)
    if (underWay !== undefined) {
      const same = underWay.findIndex(({ messageId }) => messageId === delivery.messageId)
      underWay[same === -1 ? underWay.length : same] = delivery
      return
    }
    const isOld = deposed(order)
    if (isOld !== undefined) {
      if (instances.entries.has(instanceId)) return delivery.ack()
      fork(Effect.logWarning(isOld, { cluster, instanceId }))
      const refused = reported(now(), { state: "failed", detail: isOld, retryable: true })
      instances.apply(instances.entryOf(order), refused)
      return delivery.ack()
    }
    const running = instances.entries.get(instanceId)
    const ended = instances.ended(instanceId)
    if (running !== undefined || ended !== undefined) {
      const report = running === undefined ? ended?.report : reportOf(cluster, order, running.state)
      if (report !== null && report !== undefined) reports.changed(report)
      return delivery.ack()
    }
    const nowMs = now()
    const entry = instances.entryOf(order)
    const ageMs = nowMs - order.decidedAtMs
    if (ageMs > order.startDeadlineMs) {
      const detail = `the order is ${ageMs} ms old and its start deadline was ${order.startDeadlineMs} ms`
      instances.apply(entry, reported(nowMs, { state: "failed", detail, retryable: true }))
      instances.forget(entry)
      return delivery.ack()
    }
    const url = options.workerUrl()
    if (url === undefined) return delivery.nak(noWorkerUrlAgainMs)
    CrashPoint.hit("agent.create.beforeLaunch")
    instances.add(entry)
    const deliveries = [delivery]
    launching.set(instanceId, deliveries)
    const worker = { url, token: options.workerToken(order), spawnedAtMs: nowMs }
    const launch = backend.launch(specOf(order, environmentOf(order, worker)))
    fork(
      Effect.catchTag(launch, "BackendUnavailable", () =>
        // Whether it had an effect is unknown, and the same launch again finds what it made.
        Effect.delay(
          Effect.retry(launch, { ...launchAgain, while: ({ _tag }) => _tag === "BackendUnavailable" }),
          "100 millis"
        )
      ).pipe(
        Effect.matchCause({
          onSuccess: () => instances.launched(entry),
          onFailure: (cause) => launchFailed(entry, cause)
        }),
        Effect.andThen(
          Effect.sync(() => {
            launching.delete(instanceId)
            for (const each of deliveries) each.ack()
          })
        )
      )
    )
  }

  const launchFailed = (entry: Entry, cause: Cause.Cause<LaunchError>) => {
    const { instanceId, versionId } = entry.create
    const error = Cause.squash(cause)
    const known = isLaunchError(error)
    const detail = known ? error.message : `the backend broke when it launched ${instanceId}: ${String(error)}`
    fork(Effect.logWarning(detail, { cluster, instanceId, versionId }))
    instances.launchFailed(entry, { detail, retryable: !known || isRetryable(error) })
  }

  const terminate = (order: TerminateInstance, delivery: Delivery) => {
    const { instanceId, drainMs, graceMs, reason } = order
    CrashPoint.hit("agent.terminate.received")
    const isOld = deposed(order)
    if (isOld !== undefined) {
      fork(Effect.logWarning(isOld, { cluster, instanceId }))
      return delivery.ack()
    }
    const entry = instances.entries.get(instanceId)
    if (entry === undefined) {
      const ended = instances.ended(instanceId)
      if (ended === undefined) instances.remember(instanceId, null)
      if (ended?.report != null) reports.changed(ended.report)
      // One that this agent has not started, but finds.
      fork(instances.terminateSurely(instanceId, graceMs))
      return delivery.ack()
    }
    if (entry.state._tag === "Draining" || Instance.isEnded(entry.state)) {
      instances.end(entry, order)
    } else {
      entry.state = { ...entry.state, facts: { ...entry.state.facts, drainMs, graceMs } }
      instances.apply(entry, Instance.Event.DrainOrdered({ nowMs: now(), holdsWork: true, reason }))
    }
    delivery.ack()
  }

  const handle =
    <A>(read: Read<A>, act: (order: A, delivery: Delivery) => void) =>
    (delivery: Delivery) => {
      const facts = () => ({ cluster, queue: delivery.queue, messageId: delivery.messageId })
      const putAside = (reason: string) => {
        fork(Effect.logError(`an order was put aside: ${reason}`, facts()))
        delivery.terminate(reason)
      }
      if (epoch() === undefined) return delivery.nak(notActingAgainMs)
      const order = read(delivery.content)
      if (Result.isFailure(order)) return putAside(`it cannot be read: ${order.failure}`.slice(0, 1000))
      try {
        act(order.success, delivery)
      } catch (cause) {
        if (delivery.deliveryCount >= deliveriesMax) return putAside(`the agent failed on it: ${String(cause)}`)
        fork(Effect.logError("the agent failed on an order, which comes again", cause, facts()))
        delivery.nak(1_000)
      }
    }

  return {
    onCreate: handle(AgentMessageCheck.create, create),
    onTerminate: handle(AgentMessageCheck.terminate, terminate),
    extend: () => {
      for (const deliveries of launching.values()) for (const delivery of deliveries) delivery.extend()
    }
  }
}
