/**
 * How soon a version that keeps failing may try again: 200 ms, doubled with each failed trial, at most 30 s.
 *
 * Laws: B1 the wait never falls within a series of failures and never exceeds 30 s. B2 instances that were started
 * together and fail together count as one trial. B3 only health ends a series: an instance of a later start that was
 * ready for the healthy period; time alone does not.
 *
 * @module
 */
import * as Data from "effect/Data"

export const firstDelayMs = 200
export const delayMsMax = 30_000
/** Ready for this long is healthy: a worker that crashes when it loads its first request must not reset the series. */
export const healthyPeriodMs = 10_000

export interface State {
  /** Failed trials since the last healthy period. */
  readonly failures: number
  readonly lastFailureAtMs: number
  readonly nextTryAtMs: number
  readonly lastDetail: string
  /** An instance became ready in this series. */
  readonly wasReady: boolean
}

export const empty: State = { failures: 0, lastFailureAtMs: 0, nextTryAtMs: 0, lastDetail: "", wasReady: false }

export type Event = Data.TaggedEnum<{
  /** An instance ended unasked. `readyForMs`: null = it never was ready. */
  Failed: {
    readonly nowMs: number
    readonly requestedAtMs: number
    readonly readyForMs: number | null
    readonly retryable: boolean
    readonly detail: string
  }
  /** An instance is ready since `readyAtMs`. */
  SeenReady: { readonly nowMs: number; readonly requestedAtMs: number; readonly readyAtMs: number }
  /** What the last failure was, known better now. */
  Amended: { readonly nowMs: number; readonly detail: string }
  /** New code: what failed before says nothing about it. */
  GenerationChanged: { readonly nowMs: number }
}>
export const Event = Data.taggedEnum<Event>()

export const step = (state: State, event: Event): State =>
  Event.$match(event, {
    Failed: ({ nowMs, requestedAtMs, readyForMs, retryable, detail }): State => {
      if (readyForMs !== null && readyForMs >= healthyPeriodMs)
        return { ...empty, lastFailureAtMs: nowMs, lastDetail: detail }
      const isSameTrial = state.failures > 0 && requestedAtMs <= state.lastFailureAtMs
      const failures = isSameTrial ? state.failures : state.failures + 1
      const wait = retryable ? delayMs(failures) : delayMsMax
      return {
        failures,
        lastFailureAtMs: isSameTrial ? state.lastFailureAtMs : nowMs,
        nextTryAtMs: isSameTrial ? state.nextTryAtMs : nowMs + wait,
        lastDetail: detail,
        wasReady: state.wasReady || readyForMs !== null
      }
    },
    SeenReady: ({ nowMs, requestedAtMs, readyAtMs }): State => {
      if (state.failures === 0 || requestedAtMs <= state.lastFailureAtMs) return state
      if (nowMs - readyAtMs >= healthyPeriodMs) return empty
      return state.wasReady ? state : { ...state, wasReady: true }
    },
    Amended: ({ detail }) => (state.failures === 0 ? state : { ...state, lastDetail: detail }),
    GenerationChanged: () => empty
  })

/** Wait after the n-th failed trial in a row. */
export const delayMs = (failures: number): number =>
  failures <= 0 ? 0 : Math.min(delayMsMax, firstDelayMs * 2 ** Math.min(failures - 1, 30))

export const mayTry = (state: State, nowMs: number): boolean => nowMs >= state.nextTryAtMs
