/**
 * The life of one shard in one process: wanted → owned → recovered → serving → handed over, or lost.
 *
 * Laws (`property-tests/ShardLife.laws.test.ts`):
 * - S1 a shard is opened and served only under the epoch that was gained last and not lost since.
 * - S2 what was opened is closed before it is opened again, and before the lease is given back.
 * - S3 a shard that is no longer wanted is handed over; one that is lost is not served, and goes on as it was only if
 *   nobody had it meanwhile (the next epoch is this process's again), else it is abandoned. The process goes on.
 * - S4 a shard whose store failed gives its lease back and is asked for again after a pause: another process, or a new
 *   replay, may do better.
 * - S5 when nothing more happens to it, a wanted shard is served and one that is not wanted is not held.
 *
 * @module
 */
import { unreachable } from "../collections/invariant.ts"

export type State =
  /** Not wanted, not held. */
  | { readonly _tag: "Resting" }
  /** Wanted; the lease is another's, or on its way. */
  | { readonly _tag: "Asking" }
  /** Wanted, and left alone for a moment after it failed here. */
  | { readonly _tag: "Pausing" }
  | { readonly _tag: "Opening"; readonly epoch: number }
  | { readonly _tag: "Serving"; readonly epoch: number }
  /** The lease under this epoch is lost, and nobody is known to have another: it waits as it is. */
  | { readonly _tag: "Suspended"; readonly epoch: number }
  /** Being handed over. */
  | { readonly _tag: "Leaving"; readonly epoch: number; readonly isWantedAgain: boolean }

export type Event =
  | { readonly _tag: "Wanted" }
  | { readonly _tag: "Unwanted" }
  | { readonly _tag: "Gained"; readonly epoch: number }
  | { readonly _tag: "Lost"; readonly epoch: number }
  /** Answers to `Open`. */
  | { readonly _tag: "Opened"; readonly epoch: number }
  | { readonly _tag: "OpenFailed"; readonly epoch: number }
  /** It takes no more writes. */
  | { readonly _tag: "StoreFailed"; readonly epoch: number }
  /** Answers to `HandOver`: closed in order; or it can not be now, and goes on. */
  | { readonly _tag: "HandedOver"; readonly epoch: number }
  | { readonly _tag: "StayedOn"; readonly epoch: number }
  | { readonly _tag: "PauseOver" }
  /** Of a suspended one: another has it, or it has waited for too long. */
  | { readonly _tag: "GivenUp"; readonly epoch: number }

export type Command =
  /** Of the lease. */
  | { readonly _tag: "Ask" }
  | { readonly _tag: "Release" }
  /** Read its log, and answer. */
  | { readonly _tag: "Open"; readonly epoch: number }
  | { readonly _tag: "Serve"; readonly epoch: number }
  | { readonly _tag: "HandOver"; readonly epoch: number }
  /** Leave it as it is and let it do nothing; answered by `GivenUp` when that takes too long. */
  | { readonly _tag: "Suspend"; readonly epoch: number }
  /** Under the new epoch, as it was. */
  | { readonly _tag: "Resume"; readonly epoch: number }
  /** Close it now, whatever it was doing; an `Open` that is under way comes to nothing. */
  | { readonly _tag: "Abandon"; readonly epoch: number }
  /** Answered by `PauseOver`. */
  | { readonly _tag: "Pause" }
  /** Answered, after a while, by `Unwanted`, if it still is. */
  | { readonly _tag: "TryLater" }

type Step = readonly [State, ReadonlyArray<Command>]
type Of<Tag extends State["_tag"]> = Extract<State, { readonly _tag: Tag }>

export const resting: State = { _tag: "Resting" }
const asking: State = { _tag: "Asking" }
const pausing: State = { _tag: "Pausing" }
const ask: Command = { _tag: "Ask" }
const release: Command = { _tag: "Release" }

export const step = (state: State, event: Event): Step => {
  // An answer about an earlier ownership, or a grant that nobody waits for any more.
  if ("epoch" in state) {
    const isOfAnother = "epoch" in event && event._tag !== "Gained" && event.epoch !== state.epoch
    return isOfAnother ? [state, []] : stepHeld(state, event)
  }
  return "epoch" in event && event._tag !== "Gained" ? [state, []] : stepFree(state, event)
}

type Free = Of<"Resting" | "Asking" | "Pausing">
/** What can happen to a shard that has no epoch. */
type FreeEvent = Extract<Event, { readonly _tag: "Wanted" | "Unwanted" | "PauseOver" | "Gained" }>

const stepFree = (state: Free, event: FreeEvent): Step => {
  switch (state._tag) {
    case "Resting":
      return stepResting(state, event)
    case "Asking":
      return stepAsking(state, event)
    case "Pausing":
      return stepPausing(state, event)
    default:
      return unreachable(state)
  }
}

const stepHeld = (state: Exclude<State, Free>, event: Event): Step => {
  switch (state._tag) {
    case "Opening":
      return stepOpening(state, event)
    case "Serving":
      return stepServing(state, event)
    case "Suspended":
      return stepSuspended(state, event)
    case "Leaving":
      return stepLeaving(state, event)
    default:
      return unreachable(state)
  }
}

const stepResting = (state: Of<"Resting">, event: FreeEvent): Step => {
  switch (event._tag) {
    case "Wanted":
      return [asking, [ask]]
    case "Gained":
      return [state, [release]]
    case "Unwanted":
    case "PauseOver":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepAsking = (state: Of<"Asking">, event: FreeEvent): Step => {
  switch (event._tag) {
    case "Unwanted":
      return [resting, [release]]
    case "Gained":
      return [{ _tag: "Opening", epoch: event.epoch }, [{ _tag: "Open", epoch: event.epoch }]]
    case "Wanted":
    case "PauseOver":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepPausing = (state: Of<"Pausing">, event: FreeEvent): Step => {
  switch (event._tag) {
    case "PauseOver":
      return [asking, [ask]]
    case "Unwanted":
      return [resting, []]
    case "Gained":
      return [state, [release]]
    case "Wanted":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepOpening = (state: Of<"Opening">, event: Event): Step => {
  const { epoch } = state
  const abandon: Command = { _tag: "Abandon", epoch }
  switch (event._tag) {
    case "Opened":
      return [{ _tag: "Serving", epoch }, [{ _tag: "Serve", epoch }]]
    case "Unwanted":
      return [resting, [abandon, release]]
    // The lease is asked for until it is released: nobody has to ask again.
    case "Lost":
      return [asking, [abandon]]
    case "OpenFailed":
    case "StoreFailed":
      return [pausing, [abandon, release, { _tag: "Pause" }]]
    case "Wanted":
    case "Gained":
    case "HandedOver":
    case "StayedOn":
    case "PauseOver":
    case "GivenUp":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepServing = (state: Of<"Serving">, event: Event): Step => {
  const { epoch } = state
  const abandon: Command = { _tag: "Abandon", epoch }
  switch (event._tag) {
    case "Unwanted":
      return [{ _tag: "Leaving", epoch, isWantedAgain: false }, [{ _tag: "HandOver", epoch }]]
    case "Lost":
      return [{ _tag: "Suspended", epoch }, [{ _tag: "Suspend", epoch }]]
    case "StoreFailed":
      return [pausing, [abandon, release, { _tag: "Pause" }]]
    case "Wanted":
    case "Gained":
    case "Opened":
    case "OpenFailed":
    case "HandedOver":
    case "StayedOn":
    case "PauseOver":
    case "GivenUp":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepSuspended = (state: Of<"Suspended">, event: Event): Step => {
  const { epoch } = state
  const abandon: Command = { _tag: "Abandon", epoch }
  switch (event._tag) {
    case "Gained":
      // Each grant has the next number: nobody had it in between, so nobody wrote to its log.
      return event.epoch === epoch + 1
        ? [{ _tag: "Serving", epoch: event.epoch }, [{ _tag: "Resume", epoch: event.epoch }]]
        : [{ _tag: "Opening", epoch: event.epoch }, [abandon, { _tag: "Open", epoch: event.epoch }]]
    case "GivenUp":
      return [asking, [abandon]]
    case "Unwanted":
      return [resting, [abandon, release]]
    case "StoreFailed":
      return [pausing, [abandon, release, { _tag: "Pause" }]]
    case "Wanted":
    case "Lost":
    case "Opened":
    case "OpenFailed":
    case "HandedOver":
    case "StayedOn":
    case "PauseOver":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepLeaving = (state: Of<"Leaving">, event: Event): Step => {
  const { epoch, isWantedAgain } = state
  const abandon: Command = { _tag: "Abandon", epoch }
  switch (event._tag) {
    case "Wanted":
      return [{ ...state, isWantedAgain: true }, []]
    case "Unwanted":
      return [{ ...state, isWantedAgain: false }, []]
    case "HandedOver":
      return isWantedAgain ? [asking, [release, ask]] : [resting, [release]]
    case "StayedOn":
      return [{ _tag: "Serving", epoch }, isWantedAgain ? [] : [{ _tag: "TryLater" }]]
    case "Lost":
      return isWantedAgain ? [asking, [abandon]] : [resting, [abandon, release]]
    case "StoreFailed":
      return isWantedAgain ? [pausing, [abandon, release, { _tag: "Pause" }]] : [resting, [abandon, release]]
    case "Gained":
    case "Opened":
    case "OpenFailed":
    case "PauseOver":
    case "GivenUp":
      return [state, []]
    default:
      return unreachable(event)
  }
}
