/**
 * Why a request is where it is, as sentences in order of time. Pure: what is not known is left out, not guessed.
 *
 * @module
 */
import type { RequestView } from "../invocation/RequestDirectory.ts"
import type { ScaleDecision, StartTimeline } from "./ControlView.ts"

/** Decisions shown with a request. */
const decisionsMax = 10

/** Those made for its version while it lived, oldest first; the last ones when there are too many. */
export const decisionsDuring = (
  request: RequestView,
  decisions: ReadonlyArray<ScaleDecision>
): ReadonlyArray<ScaleDecision> =>
  decisions
    .filter(
      ({ atMs, versionId }) =>
        versionId === request.versionId &&
        atMs >= request.arrivedAtMs &&
        atMs <= (request.endedAtMs ?? Number.POSITIVE_INFINITY)
    )
    .toSorted((left, right) => left.atMs - right.atMs)
    .slice(-decisionsMax)

const phaseNames = {
  admit: "admission",
  store: "storing",
  queue: "waiting in the queue",
  place: "placement",
  start: "starting an instance",
  startImage: "  of it: image",
  startWeights: "  of it: weights",
  startProcess: "  of it: process",
  startInitialise: "  of it: initialisation",
  startConnect: "  of it: connection",
  dispatch: "dispatch",
  run: "the function itself",
  platform: "the platform's own work"
} as const satisfies Record<keyof RequestView["phases"], string>

/** In the order in which they happen; the type above holds this list to be complete. */
const phaseOrder = Object.keys(phaseNames) as ReadonlyArray<keyof typeof phaseNames>

const ms = (value: number) => (value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`)

interface Fact {
  readonly atMs: number
  readonly text: string
}

/** `start`: of the instance that took it, told only when that start happened while the request waited. */
export const lines = (options: {
  readonly request: RequestView
  readonly waitingFor: string | undefined
  readonly start: StartTimeline | undefined
  readonly decisions: ReadonlyArray<ScaleDecision>
}): ReadonlyArray<string> => {
  const { request, start } = options
  const facts: Array<Fact> = request.history.map(({ atMs, what }) => ({ atMs, text: what }))
  for (const decision of options.decisions) {
    facts.push({ atMs: decision.atMs, text: `scaled from ${decision.from} to ${decision.to}: ${decision.reason}` })
  }
  if (start !== undefined && start.demandAtMs >= request.arrivedAtMs) {
    const where = start.placement === undefined ? "" : ` in ${start.placement}`
    facts.push({ atMs: start.createdAtMs, text: `instance ${start.instanceId} was ordered${where}` })
    if (start.startedAtMs !== null) facts.push({ atMs: start.startedAtMs, text: `${start.instanceId} was started` })
    if (start.readyAtMs !== null)
      facts.push({ atMs: start.readyAtMs, text: `${start.instanceId} declared itself ready` })
  }
  const story = facts
    .toSorted((left, right) => left.atMs - right.atMs)
    .map(({ atMs, text }) => `+${ms(Math.max(0, atMs - request.arrivedAtMs))} ${text}`)
  const phases = phaseOrder.flatMap((phase) => {
    const value = request.phases[phase]
    return value === undefined ? [] : [`${phaseNames[phase]}: ${ms(value)}`]
  })
  const now = [`${request.state}: ${request.cause}`]
  if (request.position !== null) now.push(`${request.position} requests of the same version are before it`)
  if (options.waitingFor !== undefined) now.push(options.waitingFor)
  if (request.attempt > 0) now.push(`attempt ${request.attempt} of ${request.maxAttempts}`)
  return [...story, ...phases, ...now]
}
