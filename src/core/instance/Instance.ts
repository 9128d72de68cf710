/**
 * One instance: requested → starting → ready → draining → stopped or failed.
 *
 * The agent tells that it was started and that it ended; that it is ready is declared by its worker, and void when that
 * worker is gone: it must then declare itself again soon.
 *
 * Laws (`property-tests/Instance.laws.test.ts`):
 * - I1 nothing leaves stopped or failed, and draining leads nowhere else.
 * - I2 an instance that is not ready at its start deadline fails and is ordered to end, once.
 * - I3 an end is counted against the restart budget exactly when nobody asked for it, once.
 * - I4 every event is taken in every state; time in an instance never runs backwards.
 * - I5 ended here and still running there is ordered to end again, at most every 10 s.
 * - L17 what is ready is ended by nothing but an order to drain, its worker's or its agent's word, and gets its whole
 *   drain; ticked only at `wakeAtMs`, nothing stays half-way.
 * - I6 an instance that drains is not ordered to end before the last deadline of what its worker holds.
 *
 * @module
 */
import * as Data from "effect/Data"
import { unreachable } from "../collections/invariant.ts"

/** What is known of any instance, whatever its state. Milliseconds; `null` = has not happened. */
export interface Facts {
  readonly requestedAtMs: number
  readonly startedAtMs: number | null
  readonly readyAtMs: number | null
  readonly pid: number | null
  readonly startDeadlineMs: number
  /** How long its worker may finish what it holds. */
  readonly drainMs: number
  readonly graceMs: number
}

export type State = Data.TaggedEnum<{
  Requested: { readonly facts: Facts; readonly deadlineAtMs: number }
  Starting: { readonly facts: Facts; readonly phase: string; readonly deadlineAtMs: number }
  Ready: { readonly facts: Facts }
  Draining: { readonly facts: Facts; readonly reason: string; readonly overdueAtMs: number }
  Stopped: { readonly facts: Facts; readonly endedAtMs: number; readonly detail: string; readonly orderedAtMs: number }
  Failed: {
    readonly facts: Facts
    readonly endedAtMs: number
    readonly detail: string
    readonly retryable: boolean
    readonly orderedAtMs: number
  }
}>
export const State = Data.taggedEnum<State>()

export interface Reported {
  readonly state: "requested" | "starting" | "ready" | "draining" | "stopped" | "failed"
  readonly phase: string
  readonly startedAtMs: number | null
  readonly readyAtMs: number | null
  readonly pid: number | null
  readonly detail: string
  readonly retryable: boolean
}

export type Event = Data.TaggedEnum<{
  /** By the agent, of itself or in a heartbeat. */
  Reported: { readonly nowMs: number; readonly report: Reported }
  WorkerReady: { readonly nowMs: number }
  /** The worker takes nothing new, on its own account or on ours. */
  WorkerDraining: { readonly nowMs: number }
  WorkerGone: { readonly nowMs: number }
  /** It drains, and what it holds has time until then. */
  WorkerHolds: { readonly nowMs: number; readonly untilMs: number }
  DrainOrdered: { readonly nowMs: number; readonly holdsWork: boolean; readonly reason: string }
  /** Its agent is there and does not know of it. */
  Missing: { readonly nowMs: number }
  /** Its agent has not been heard for so long that nothing is known of it. */
  AgentSilent: { readonly nowMs: number; readonly detail: string }
  Ticked: { readonly nowMs: number }
}>
export const Event = Data.taggedEnum<Event>()

export type Command = Data.TaggedEnum<{
  OrderTerminate: { readonly drainMs: number; readonly graceMs: number; readonly reason: string }
  CountFailure: { readonly readyForMs: number | null; readonly retryable: boolean; readonly detail: string }
  /** Why the failure that was counted happened, known better now. */
  AmendFailure: { readonly detail: string }
}>
export const Command = Data.taggedEnum<Command>()

type Step = readonly [State, ReadonlyArray<Command>]

/** A worker that lives dials again within a second or two; longer, and those who wait deserve another instance. */
export const reconnectMs = 15_000

/** Of UTF-16 units; more output than that helps nobody. */
const detailLengthMax = 4_096

/** An order that was ignored for this long is given again. */
export const orderAgainMs = 10_000

export const requested = (options: {
  readonly nowMs: number
  readonly startDeadlineMs: number
  readonly drainMs: number
  readonly graceMs: number
}): State => {
  const { nowMs, ...limits } = options
  return {
    _tag: "Requested",
    facts: { requestedAtMs: nowMs, startedAtMs: null, readyAtMs: null, pid: null, ...limits },
    deadlineAtMs: nowMs + options.startDeadlineMs
  }
}

/** Total over states and events; the same object comes back when nothing changed. */
export const step = (state: State, event: Event): Step => {
  if (isEnded(state)) return stepEnded(state, event)
  if (state._tag === "Draining") return stepDraining(state, event)
  return stepLive(state, event)
}

type Live = Extract<State, { _tag: "Requested" | "Starting" | "Ready" }>
type Draining = Extract<State, { _tag: "Draining" }>
type Ended = Extract<State, { _tag: "Stopped" | "Failed" }>

const stepLive = (state: Live, event: Event): Step => {
  const { nowMs } = event
  switch (event._tag) {
    case "Reported":
      return liveReported(state, nowMs, event.report)
    case "WorkerReady":
      return state._tag === "Ready" ? [state, []] : [becomeReady(state, nowMs), []]
    case "WorkerDraining":
      return state._tag === "Ready"
        ? drain(state, nowMs, { drainMs: state.facts.drainMs, reason: "its worker drains" })
        : [state, []]
    case "WorkerGone":
      return state._tag === "Ready" ? [reconnecting(state, nowMs), []] : [state, []]
    case "WorkerHolds":
      return [state, []]
    case "DrainOrdered": {
      // Nothing to finish, so nothing to wait for: an agent cannot tell a worker that is not there yet from a busy one.
      const drainMs = state.facts.readyAtMs === null && !event.holdsWork ? 0 : state.facts.drainMs
      return drain(state, nowMs, { drainMs, reason: event.reason })
    }
    case "Missing":
      // An order can still be in the queue, or on its way into the agent's books.
      return state._tag === "Requested"
        ? [state, []]
        : fail(state, nowMs, { detail: "its agent does not know of it any more", retryable: true, order: false })
    case "AgentSilent":
      // A worker that is connected serves, whatever its agent does.
      return state._tag === "Ready" ? [state, []] : lose(state, nowMs, event.detail)
    case "Ticked":
      return liveTicked(state, nowMs)
    default:
      return unreachable(event)
  }
}

const reconnecting = ({ facts }: Live, nowMs: number): State => ({
  _tag: "Starting",
  facts,
  phase: "reconnect",
  deadlineAtMs: nowMs + Math.min(reconnectMs, facts.startDeadlineMs)
})

const liveTicked = (state: Live, nowMs: number): Step => {
  if (state._tag === "Ready" || nowMs < state.deadlineAtMs) return [state, []]
  const phase = state._tag === "Starting" ? state.phase : "requested"
  const detail =
    state.facts.readyAtMs === null
      ? `not ready within its start deadline of ${state.facts.startDeadlineMs} ms (phase: ${phase})`
      : "its worker was gone and did not come back in time"
  return fail(state, nowMs, { detail, retryable: true, order: true })
}

const liveReported = (state: Live, nowMs: number, report: Reported): Step => {
  const facts = withReport(state.facts, report)
  switch (report.state) {
    case "stopped":
    case "failed":
      return fail({ ...state, facts }, nowMs, {
        detail: report.detail === "" ? `it ${report.state} unasked` : report.detail,
        retryable: report.state === "stopped" || report.retryable,
        order: false
      })
    case "draining":
      // Its agent ends it: we only have to know.
      return [
        {
          _tag: "Draining",
          facts,
          reason: report.detail,
          overdueAtMs: nowMs + facts.drainMs + facts.graceMs + orderAgainMs
        },
        []
      ]
    case "ready":
      // Once ready and gone, only its worker can say that it is back.
      if (state._tag === "Ready" || state.facts.readyAtMs !== null) return [sameOr(state, facts), []]
      return [becomeReady({ ...state, facts }, report.readyAtMs ?? nowMs), []]
    case "requested":
      return [state, []]
    case "starting": {
      if (state._tag === "Ready" || state.facts.readyAtMs !== null) return [sameOr(state, facts), []]
      const isSame = state._tag === "Starting" && state.phase === report.phase
      if (isSame) return [sameOr(state, facts), []]
      return [{ _tag: "Starting", facts, phase: report.phase, deadlineAtMs: state.deadlineAtMs }, []]
    }
    default:
      return unreachable(report.state)
  }
}

const stepDraining = (state: Draining, event: Event): Step => {
  const gone = (detail: string): Step => [
    { _tag: "Stopped", facts: state.facts, endedAtMs: event.nowMs, detail, orderedAtMs: event.nowMs },
    []
  ]
  switch (event._tag) {
    case "Reported": {
      const facts = withReport(state.facts, event.report)
      if (event.report.state === "stopped" || event.report.state === "failed") {
        return [
          {
            _tag: "Stopped",
            facts,
            endedAtMs: event.nowMs,
            detail: event.report.detail === "" ? state.reason : event.report.detail,
            orderedAtMs: event.nowMs
          },
          []
        ]
      }
      return [sameOr(state, facts), []]
    }
    case "Missing":
      return gone(state.reason)
    case "AgentSilent":
      return [state, []]
    case "Ticked": {
      if (event.nowMs < state.overdueAtMs) return [state, []]
      return [
        { ...state, overdueAtMs: event.nowMs + state.facts.graceMs + orderAgainMs },
        [
          {
            _tag: "OrderTerminate",
            drainMs: 0,
            graceMs: state.facts.graceMs,
            reason: `${state.reason}; its drain is overdue`
          }
        ]
      ]
    }
    case "WorkerHolds": {
      const overdueAtMs = event.untilMs + state.facts.graceMs + orderAgainMs
      return [overdueAtMs > state.overdueAtMs ? { ...state, overdueAtMs } : state, []]
    }
    case "WorkerReady":
    case "WorkerDraining":
    case "WorkerGone":
    case "DrainOrdered":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepEnded = (state: Ended, event: Event): Step => {
  if (event._tag !== "Reported") return [state, []]
  const isThere = event.report.state !== "stopped" && event.report.state !== "failed"
  if (!isThere) return withLastWords(state, event.report)
  if (event.nowMs < state.orderedAtMs + orderAgainMs) return [state, []]
  return [
    { ...state, orderedAtMs: event.nowMs },
    [
      {
        _tag: "OrderTerminate",
        drainMs: 0,
        graceMs: state.facts.graceMs,
        reason: `given up before, and still running: ${state.detail}`
      }
    ]
  ]
}

/** The agent's account of the end comes after ours (a start deadline) and knows the last output. */
const withLastWords = (state: Ended, report: Reported): Step => {
  if (state._tag !== "Failed" || report.detail === "" || state.detail.includes(report.detail)) return [state, []]
  const detail = `${state.detail}: ${report.detail}`.slice(0, detailLengthMax)
  return detail === state.detail ? [state, []] : [{ ...state, detail }, [{ _tag: "AmendFailure", detail }]]
}

const becomeReady = (state: Live, nowMs: number): State => ({
  _tag: "Ready",
  facts: { ...state.facts, readyAtMs: state.facts.readyAtMs ?? nowMs }
})

const drain = (state: Live, nowMs: number, order: { readonly drainMs: number; readonly reason: string }): Step => {
  const { drainMs, reason } = order
  const { graceMs } = state.facts
  return [
    { _tag: "Draining", facts: state.facts, reason, overdueAtMs: nowMs + drainMs + graceMs + orderAgainMs },
    [{ _tag: "OrderTerminate", drainMs, graceMs, reason }]
  ]
}

interface Failure {
  readonly detail: string
  readonly retryable: boolean
  readonly order: boolean
}

const fail = (state: Live, nowMs: number, { detail, retryable, order }: Failure): Step => {
  const { facts } = state
  const readyForMs = facts.readyAtMs === null ? null : Math.max(0, nowMs - facts.readyAtMs)
  const count: Command = { _tag: "CountFailure", readyForMs, retryable, detail }
  return [
    { _tag: "Failed", facts, endedAtMs: nowMs, detail, retryable, orderedAtMs: nowMs },
    order ? [{ _tag: "OrderTerminate", drainMs: 0, graceMs: facts.graceMs, reason: detail }, count] : [count]
  ]
}

/** Not the version's fault, so not counted; the order to end it waits in the queue for its agent. */
const lose = (state: Live, nowMs: number, detail: string): Step => [
  { _tag: "Failed", facts: state.facts, endedAtMs: nowMs, detail, retryable: true, orderedAtMs: nowMs },
  [{ _tag: "OrderTerminate", drainMs: 0, graceMs: state.facts.graceMs, reason: detail }]
]

const withReport = (facts: Facts, report: Reported): Facts => {
  const startedAtMs = facts.startedAtMs ?? report.startedAtMs
  const pid = facts.pid ?? report.pid
  return startedAtMs === facts.startedAtMs && pid === facts.pid ? facts : { ...facts, startedAtMs, pid }
}

const sameOr = <S extends State>(state: S, facts: Facts): S => (facts === state.facts ? state : { ...state, facts })

export const isEnded = (state: State): state is Ended => state._tag === "Stopped" || state._tag === "Failed"

/** When `Ticked` has something to do at the latest; null = never. */
export const wakeAtMs = (state: State): number | null => {
  if (state._tag === "Requested" || state._tag === "Starting") return state.deadlineAtMs
  return state._tag === "Draining" ? state.overdueAtMs : null
}
