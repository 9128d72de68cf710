/**
 * Orders to agents. They leave in the same turn of the event loop as the decision; what the queue answers later is told
 * by a callback. An order is retried under its message id while nobody knows whether it left, so it arrives once.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as CrashPoint from "../CrashPoint.ts"
import { type CreateInstance, subjects, type TerminateInstance } from "../compute/AgentMessage.ts"
import * as AgentMessageCheck from "../compute/AgentMessageCheck.ts"
import { Message } from "../fabric/Message.ts"
import type { WorkQueue } from "../fabric/WorkQueue.ts"
import type { ControllerTime } from "./ControllerTimers.ts"

export interface ControllerOrders {
  /** `onNotSent`: it certainly did not leave. */
  readonly create: (cluster: string, order: CreateInstance, onNotSent: (reason: string) => void) => void
  /** Retried until it is sent, for about a minute. */
  readonly terminate: (cluster: string, order: TerminateInstance) => void
  readonly close: () => void
}

const firstRetryMs = 200
const retryMsMax = 5_000
/** Together about a minute; what is still not sent then is ordered again by the instance's own deadline. */
const triesMax = 16

export const make = (options: {
  readonly queue: WorkQueue["Service"]
  readonly time: ControllerTime
  /** Undefined: it does not lead. */
  readonly epoch: () => number | undefined
  readonly warn: (message: string, fields: Readonly<Record<string, string | number>>) => void
}): ControllerOrders => {
  const { queue, time, epoch, warn } = options
  const timers = new Set<() => void>()
  let terminations = 0
  let isClosed = false

  const later = (delayMs: number, run: () => void) => {
    if (isClosed) return
    const cancel = time.after(delayMs, () => {
      timers.delete(cancel)
      run()
    })
    timers.add(cancel)
  }

  interface Order {
    readonly queue: string
    readonly messageId: string
    /** `epoch`: of the leader that orders it. */
    readonly payload: (epoch: number) => Message<CreateInstance | TerminateInstance>
    /** Undefined: a failure that is certain is retried like one that is not. */
    readonly onNotSent: ((reason: string) => void) | undefined
  }

  const publish = (message: Order, tries: number): void => {
    const leading = epoch()
    // Asked at the last moment: whoever leads now decides itself.
    if (leading === undefined) return message.onNotSent?.("another control plane leads")
    CrashPoint.hit("controller.order.beforePublish")
    const payload = message.payload(leading)
    Effect.runCallback(queue.publish(message.queue, message.messageId, payload), {
      onExit: (exit) => {
        CrashPoint.hit("controller.order.published")
        if (Exit.isSuccess(exit) || isClosed) return
        const error = Cause.findErrorOption(exit.cause)
        const isUnknown = Option.isSome(error) && error.value._tag === "OutcomeUnknown"
        const reason = Option.isSome(error) ? error.value.message : Cause.pretty(exit.cause)
        warn("an order to an agent was not sent", { queue: message.queue, messageId: message.messageId, tries, reason })
        if (!isUnknown && message.onNotSent !== undefined) return message.onNotSent(reason)
        if (tries >= triesMax) return
        later(Math.min(retryMsMax, firstRetryMs * 2 ** (tries - 1)), () => publish(message, tries + 1))
      }
    })
  }

  return {
    create: (cluster, order, onNotSent) =>
      publish(
        {
          queue: subjects.create(cluster, order.gpu.kind, order.instanceType),
          messageId: `create-${order.instanceId}`,
          payload: (epoch) => new Message(AgentMessageCheck.create, epoch === 0 ? order : { ...order, epoch }),
          onNotSent
        },
        1
      ),
    terminate: (cluster, order) => {
      terminations += 1
      publish(
        {
          queue: subjects.terminate(cluster),
          // An instance can be told to end more than once, with less patience each time.
          messageId: `terminate-${order.instanceId}-${terminations}-${Math.trunc(time.nowMs())}`,
          payload: (epoch) => new Message(AgentMessageCheck.terminate, epoch === 0 ? order : { ...order, epoch }),
          onNotSent: undefined
        },
        1
      )
    },
    close: () => {
      isClosed = true
      for (const cancel of timers) cancel()
      timers.clear()
    }
  }
}
