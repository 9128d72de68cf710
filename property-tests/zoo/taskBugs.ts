/**
 * Tasks gone wrong on purpose: each has one bug that a named law must kill.
 *
 * @module
 */
import * as Task from "../../src/core/task/Task.ts"
import type { Command, Event } from "../../src/core/task/TaskEvent.ts"
import { isHeld, type State } from "../../src/core/task/TaskState.ts"

/** A machine under test: what the laws need of `Task`. */
export interface Tasks {
  readonly create: typeof Task.create
  readonly recover: typeof Task.recover
  readonly step: typeof Task.step
}

export const sound: Tasks = { create: Task.create, recover: Task.recover, step: Task.step }

const hearing = (change: (event: Event, machine: Task.Machine) => ReadonlyArray<Event>): Tasks => ({
  ...sound,
  step: (machine, event) =>
    change(event, machine).reduce<readonly [Task.Machine, ReadonlyArray<Command>]>(
      ([current, commands], each) => {
        const [next, more] = Task.step(current, each)
        return [next, [...commands, ...more]]
      },
      [machine, []]
    )
})

/** The last word is the caller's, whatever was told before. */
export const cancelsTheEnded: Tasks = {
  ...sound,
  step: (machine, event) => {
    const { state } = machine
    if (event._tag !== "CancelRequested" || state._tag !== "Ended") return Task.step(machine, event)
    const end = { _tag: "Cancelled", detail: event.detail } as const
    return [{ ...machine, state: { ...state, end } }, [{ _tag: "TellEnded", end }]]
  }
}

/** Takes a result from whoever brings one. */
export const acceptsStale = hearing((event, { state }) =>
  event._tag === "Succeeded" ? [{ ...event, token: state.token }] : [event]
)

/** Forgets how often it was tried. */
export const retriesForEver: Tasks = {
  ...sound,
  step: (machine, event) => {
    const { state } = machine
    const limits = { ...state.limits, maxAttempts: Number.MAX_SAFE_INTEGER }
    return Task.step(isHeld(state) ? { ...machine, state: { ...state, limits } } : machine, event)
  }
}

/** Takes an order to store for the deed. */
export const tellsBeforeStored: Tasks = {
  ...sound,
  step: (machine, event) => {
    const [next, commands] = Task.step(machine, event)
    const [told, more] = Task.step(next, {
      _tag: "Stored",
      nowMs: event.nowMs,
      revision: next.state.revision
    })
    return [told, [...commands, ...more]]
  }
}

/** A cancel is for those that wait. */
export const cancelsOnlyQueued = hearing((event, { state }) =>
  event._tag === "CancelRequested" && isHeld(state) ? [] : [event]
)

/** A cancel ends the worker at once. */
export const noGrace = hearing((event, { state }) =>
  event._tag === "Ticked" && state._tag === "Stopping" ? [{ ...event, nowMs: event.nowMs + 1e9 }] : [event]
)

/** What the worker says last counts, though it was slower. */
export const progressFalls: Tasks = {
  ...sound,
  step: (machine, event) =>
    Task.step(
      event._tag === "Progressed" && event.token === machine.state.token && isHeld(machine.state)
        ? { ...machine, state: { ...machine.state, percent: 0 } }
        : machine,
      event
    )
}

/** Waits for a worker that says nothing as long as it takes. */
export const ignoresSilence = hearing((event, { state }) =>
  event._tag === "Ticked" && state._tag === "Running" ? [] : [event]
)

/** What the worker says is final is tried again all the same. */
export const retriesTheHopeless = hearing((event) =>
  event._tag === "Failed" ? [{ ...event, retryable: true }] : [event]
)

/** Retries at once, however often it failed. */
export const noBackoff: Tasks = {
  ...sound,
  step: (machine, event) => {
    const { state } = machine
    return Task.step(
      state._tag === "Queued" && event._tag === "WorkerFound"
        ? { ...machine, state: { ...state, notBeforeMs: Number.NEGATIVE_INFINITY } }
        : machine,
      event
    )
  }
}

/** Leaves the workers of what is over alone. */
export const leavesWorkers: Tasks = {
  create: Task.create,
  recover: (state, nowMs) => withoutEnds(Task.recover(state, nowMs)),
  step: (machine, event) => withoutEnds(Task.step(machine, event))
}

const withoutEnds = ([machine, commands]: readonly [Task.Machine, ReadonlyArray<Command>]) =>
  [machine, commands.filter(({ _tag }) => _tag !== "EndWorker")] as const

/** Goes on with the times that the process before it wrote down. */
export const staleTimes: Tasks = {
  ...sound,
  recover: (state: State, nowMs) => {
    const [machine, commands] = Task.recover(state, nowMs)
    return [{ ...machine, state }, commands]
  }
}
