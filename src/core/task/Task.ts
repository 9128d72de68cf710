/**
 * One piece of work that runs to completion: queued → assigned → running → ended, and back to the queue when its worker
 * is lost and an attempt is left. Stopping, by a cancel or by the limit of its run time, asks the worker first.
 *
 * Laws (`property-tests/Task.laws.test.ts`):
 * - T1 it ends once and in one way, and nothing changes after.
 * - T2 only the live fencing token changes anything; each attempt has a greater one, and there are `maxAttempts` at most.
 * - T3 the percent of an attempt are whole, 0 to 100, and never fall.
 * - T4 nothing waits for ever: ticked when it asks to be, with workers that say nothing, it ends within its limits.
 * - T5 durable before told: what it orders leaves when the state that orders it is stored, and not before.
 * - T6 what is being stopped ends as what stopped it, is asked first, and is ended at the end of its grace, not before.
 * - T7 it is tried again exactly when the worker is lost or says so, and an attempt is left; not before its delay.
 * - T8 whoever was given it is ended, once its attempt is over.
 * - T9 after a crash: the live token stays live, each wait begins anew, the end that was stored is the end.
 *
 * @module
 */
import { unreachable } from "../collections/invariant.ts"
import { Command, type Event } from "./TaskEvent.ts"
import { End, isHeld, type Limits, type Of, type State } from "./TaskState.ts"

export interface Machine {
  readonly state: State
  readonly storedRevision: number
  /** In the order in which they leave, each when its revision is stored. */
  readonly outbox: ReadonlyArray<{ readonly revision: number; readonly command: Command }>
  /** A store that failed is tried again then; null = none has. */
  readonly storeAgainAtMs: number | null
}

type Step = readonly [Machine, ReadonlyArray<Command>]

/** Of UTF-16 units; more of a message, or of a reason, is cut off. */
export const messageLengthMax = 1_024

/** Between attempts to store the same state. */
export const storeRetryMs = 1_000

/** A new one. It is accepted when `TellAccepted` comes. */
export const create = ({ nowMs, limits }: { readonly nowMs: number; readonly limits: Limits }): Step => {
  const state: State = {
    _tag: "Queued",
    limits,
    revision: 1,
    attempt: 0,
    token: 0,
    percent: 0,
    message: "",
    leaving: null,
    notBeforeMs: nowMs,
    queueUntilMs: nowMs + limits.queueMsMax,
    detail: ""
  }
  const outbox = [{ revision: 1, command: Command.TellAccepted({ limits }) }]
  return [{ state, storedRevision: 0, outbox, storeAgainAtMs: null }, [Command.Store({ state })]]
}

/** From what was stored, by a process that knows nothing else. Orders whose fate nobody knows are given again. */
export const recover = (stored: State, nowMs: number): Step => {
  const state = withFreshTimes(stored, nowMs)
  const { token, leaving } = state
  const commands: Array<Command> = leaving === null ? [] : [Command.EndWorker(leaving)]
  if (state._tag === "Assigned") commands.push(Command.Assign({ worker: state.worker, token, attempt: state.attempt }))
  if (state._tag === "Stopping") commands.push(askStop(state))
  if (state._tag === "Ended") commands.push(Command.TellEnded({ end: state.end }))
  return [{ state, storedRevision: state.revision, outbox: [], storeAgainAtMs: null }, commands]
}

/** Total over states and events; the same object comes back when nothing changed. */
export const step = (machine: Machine, event: Event): Step => {
  switch (event._tag) {
    case "Stored":
      return stored(machine, event.revision, event.nowMs)
    case "NotStored":
      return event.revision <= machine.storedRevision || machine.storeAgainAtMs !== null
        ? [machine, []]
        : [{ ...machine, storeAgainAtMs: event.nowMs + storeRetryMs }, []]
    case "Ticked":
      return ticked(machine, event.nowMs)
    case "WorkerFound":
      return isReady(machine, event.nowMs) ? assign(machine, event.worker) : [machine, []]
    case "CancelRequested":
      return cancel(machine, cut(event.detail))
    default:
      return fromWorker(machine, event)
  }
}

type FromWorker = Extract<Event, { readonly token: number }>

/** A worker can be given to it now. */
export const isReady = ({ state }: Machine, nowMs: number): boolean =>
  state._tag === "Queued" && nowMs >= state.notBeforeMs && nowMs < state.queueUntilMs

/** When `Ticked` has something to do at the latest; infinite = never. */
export const wakeAtMs = ({ state, storeAgainAtMs }: Machine): number =>
  Math.min(storeAgainAtMs ?? Number.POSITIVE_INFINITY, dueAtMs(state))

const dueAtMs = (state: State): number => {
  switch (state._tag) {
    case "Queued":
      return state.queueUntilMs
    case "Assigned":
      return state.startUntilMs ?? Number.POSITIVE_INFINITY
    case "Running":
      return Math.min(state.heardUntilMs, state.runUntilMs ?? Number.POSITIVE_INFINITY)
    case "Stopping":
      return state.enforceAtMs ?? Number.POSITIVE_INFINITY
    case "Ended":
      return Number.POSITIVE_INFINITY
    default:
      return unreachable(state)
  }
}

const ticked = (before: Machine, nowMs: number): Step => {
  const isAgain = before.storeAgainAtMs !== null && nowMs >= before.storeAgainAtMs
  const machine = isAgain ? { ...before, storeAgainAtMs: null } : before
  const [next, commands] = nowMs >= dueAtMs(machine.state) ? overdue(machine, nowMs) : [machine, []]
  const isStoredAnyway = commands.some(({ _tag }) => _tag === "Store")
  return isAgain && !isStoredAnyway ? [next, [...commands, Command.Store({ state: next.state })]] : [next, commands]
}

/** Of a state that `dueAtMs` knows. */
const overdue = (machine: Machine, nowMs: number): Step => {
  const { state } = machine
  const { limits } = state
  switch (state._tag) {
    case "Queued": {
      const detail = `no worker took it within ${limits.queueMsMax} ms${state.detail === "" ? "" : `; ${state.detail}`}`
      return end(machine, End.make({ _tag: "TimedOut", of: "queue", detail }))
    }
    case "Assigned":
      return lose(machine, state, { nowMs, detail: `its worker gave no sign of life within ${limits.startMsMax} ms` })
    case "Running": {
      if (state.runUntilMs === null || nowMs < state.runUntilMs) {
        return lose(machine, state, { nowMs, detail: `its worker was silent for ${limits.heartbeatMsMax} ms` })
      }
      const detail = `it ran longer than ${limits.runMsMax} ms`
      return stop(machine, state, End.make({ _tag: "TimedOut", of: "run", detail }))
    }
    case "Stopping":
      return end(machine, state.end)
    case "Ended":
      return [machine, []]
  }
}

const cancel = (machine: Machine, detail: string): Step => {
  const { state } = machine
  const cancelled = End.make({ _tag: "Cancelled", detail })
  if (state._tag === "Queued") return end(machine, cancelled)
  if (state._tag === "Assigned" || state._tag === "Running") return stop(machine, state, cancelled)
  return [machine, []]
}

const fromWorker = (machine: Machine, event: FromWorker): Step => {
  const { state } = machine
  if (!isHeld(state) || event.token !== state.token) {
    // A winner may say it again: the answer to the first time can get lost. Who is gone needs none.
    const isWinner = state._tag === "Ended" && state.end._tag === "Completed" && event.token === state.token
    const isTold = (isWinner && event._tag === "Succeeded") || event._tag === "WorkerGone"
    return [machine, isTold ? [] : [Command.RejectStale({ token: event.token })]]
  }
  if (state._tag === "Stopping") return whileStopping(machine, state, event)
  switch (event._tag) {
    case "Heartbeat":
      return heard(machine, state, event.nowMs)
    case "Progressed":
      return progressed(machine, state, event)
    case "Succeeded":
      return end(machine, End.make({ _tag: "Completed", result: event.result }))
    case "Failed": {
      const detail = cut(event.detail)
      return event.retryable ? lose(machine, state, { nowMs: event.nowMs, detail }) : fail(machine, detail)
    }
    case "WorkerGone":
      return lose(machine, state, { nowMs: event.nowMs, detail: cut(event.detail) })
    default:
      return unreachable(event)
  }
}

/** What is left to tell is whether it still goes on. */
const whileStopping = (machine: Machine, state: Of<"Stopping">, event: FromWorker): Step => {
  if (event._tag !== "Heartbeat" && event._tag !== "Progressed") return end(machine, state.end)
  const isAsked = state.enforceAtMs !== null
  return [machine, isAsked ? [askStop(state)] : []]
}

const assign = (machine: Machine, worker: string): Step => {
  const { limits, revision, attempt, token, leaving } = machine.state
  const next: State = {
    _tag: "Assigned",
    limits,
    revision: revision + 1,
    attempt: attempt + 1,
    token: token + 1,
    percent: 0,
    message: "",
    leaving,
    worker,
    startUntilMs: null
  }
  return change(machine, next, [Command.Assign({ worker, token: next.token, attempt: next.attempt })])
}

type Working = Of<"Assigned" | "Running">

const heard = (machine: Machine, state: Working, nowMs: number): Step => {
  const { limits } = state
  const heardUntilMs = nowMs + limits.heartbeatMsMax
  if (state._tag === "Running") {
    return heardUntilMs > state.heardUntilMs ? [{ ...machine, state: { ...state, heardUntilMs } }, []] : [machine, []]
  }
  const { startUntilMs, ...rest } = state
  const runUntilMs = limits.runMsMax === null ? null : nowMs + limits.runMsMax
  return change(machine, { ...rest, _tag: "Running", revision: state.revision + 1, heardUntilMs, runUntilMs }, [])
}

/** Stored when the percent grow, so at most a hundred times an attempt; a message alone goes with the next. */
const progressed = (before: Machine, working: Working, event: Extract<Event, { _tag: "Progressed" }>): Step => {
  const [machine, commands] = heard(before, working, event.nowMs)
  const { state } = machine
  const percent = Math.min(100, Math.floor(event.percent))
  const message = cut(event.message)
  if (!(percent >= state.percent)) return [machine, commands]
  const told = { ...state, percent, message }
  if (percent === state.percent) return [{ ...machine, state: told }, commands]
  const waiting = machine.outbox.filter(({ command }) => command._tag !== "TellProgress")
  const tell = Command.TellProgress({ attempt: state.attempt, percent, message })
  return change({ ...machine, outbox: waiting }, { ...told, revision: state.revision + 1 }, [tell])
}

interface Loss {
  readonly nowMs: number
  readonly detail: string
}

/** The attempt is over without a result. */
const lose = (machine: Machine, state: Working, { nowMs, detail }: Loss): Step => {
  const { limits, attempt, token, worker, percent, message } = state
  if (attempt >= limits.maxAttempts) return fail(machine, detail)
  const notBeforeMs = nowMs + delayMs(limits, attempt)
  const leaving = { worker, token, reason: detail }
  const next: State = {
    _tag: "Queued",
    limits,
    revision: state.revision + 1,
    attempt,
    token,
    percent,
    message,
    leaving,
    notBeforeMs,
    queueUntilMs: notBeforeMs + limits.queueMsMax,
    detail
  }
  return change(machine, next, [Command.EndWorker(leaving)])
}

/** Before the attempt after this one. */
const delayMs = ({ retryDelayMs, retryDelayMsMax }: Limits, attempt: number): number =>
  attempt === 0 ? 0 : Math.min(retryDelayMs * 2 ** Math.min(attempt - 1, 50), retryDelayMsMax)

const fail = (machine: Machine, detail: string): Step => {
  const { attempt, limits } = machine.state
  const more = attempt > 1 ? ` (attempt ${attempt} of ${limits.maxAttempts})` : ""
  return end(machine, End.make({ _tag: "Failed", detail: `${detail}${more}`, attempts: attempt }))
}

const stop = (machine: Machine, state: Working, as: End): Step => {
  const { limits, revision, attempt, token, percent, message, leaving, worker } = state
  const common = { limits, attempt, token, percent, message, leaving, worker }
  const next: Of<"Stopping"> = { _tag: "Stopping", ...common, revision: revision + 1, end: as, enforceAtMs: null }
  return change(machine, next, [askStop(next)])
}

const end = (machine: Machine, as: End): Step => {
  const { state } = machine
  const { limits, revision, attempt, token, percent, message } = state
  const leaving = isHeld(state) ? { worker: state.worker, token, reason: reasonOf(as) } : state.leaving
  const common = { limits, attempt, token, percent, message, leaving }
  const told = Command.TellEnded({ end: as })
  return change(
    machine,
    { _tag: "Ended", ...common, revision: revision + 1, end: as },
    leaving !== null && isHeld(state) ? [Command.EndWorker(leaving), told] : [told]
  )
}

const reasonOf = (as: End): string => (as._tag === "Completed" ? "its task is complete" : as.detail)

const askStop = ({ worker, token, end: as, limits }: Of<"Stopping">): Command =>
  Command.AskStop({ worker, token, reason: reasonOf(as), graceMs: limits.stopGraceMs })

/** To a state that is to be stored; what it orders waits for that. */
const change = (machine: Machine, state: State, orders: ReadonlyArray<Command>): Step => {
  const held = orders.map((command) => ({ revision: state.revision, command }))
  return [{ ...machine, state, outbox: [...machine.outbox, ...held] }, [Command.Store({ state })]]
}

const stored = (machine: Machine, revision: number, nowMs: number): Step => {
  if (revision <= machine.storedRevision || revision > machine.state.revision) return [machine, []]
  const leaves = machine.outbox.filter((each) => each.revision <= revision)
  const outbox = machine.outbox.filter((each) => each.revision > revision)
  const isCurrent = revision === machine.state.revision
  return [
    {
      state: isCurrent ? asked(machine.state, nowMs) : machine.state,
      storedRevision: revision,
      outbox,
      storeAgainAtMs: isCurrent ? null : machine.storeAgainAtMs
    },
    leaves.map(({ command }) => command)
  ]
}

/** What was ordered leaves now, so the time to follow it counts from now. */
const asked = (state: State, nowMs: number): State => {
  const { limits } = state
  if (state._tag === "Assigned") return { ...state, startUntilMs: nowMs + limits.startMsMax }
  if (state._tag === "Stopping") return { ...state, enforceAtMs: nowMs + limits.stopGraceMs }
  return state
}

const withFreshTimes = (state: State, nowMs: number): State => {
  const { limits } = state
  if (state._tag === "Queued") {
    const notBeforeMs = nowMs + delayMs(limits, state.attempt)
    return { ...state, notBeforeMs, queueUntilMs: notBeforeMs + limits.queueMsMax }
  }
  if (state._tag !== "Running") return asked(state, nowMs)
  const runUntilMs = limits.runMsMax === null ? null : nowMs + limits.runMsMax
  return { ...state, heardUntilMs: nowMs + limits.heartbeatMsMax, runUntilMs }
}

const cut = (text: string): string => text.slice(0, messageLengthMax)
