/**
 * The receipt of a call: where its wall time went, as `Server-Timing`. The phases follow each other on one clock, so
 * they add up by construction; the parts of a start are shown as well and not added.
 *
 * @module
 */
import type { StartTimeline } from "../control/ControlView.ts"
import type { Entry } from "./Entry.ts"
import type { ReceiptPhases } from "./RequestDirectory.ts"

/** `untilMs`: now for a request that still runs, else the time of its answer. */
export const phases = (entry: Entry, start: StartTimeline | undefined, untilMs: number): ReceiptPhases => {
  const { receivedMs, arrivedMs, assignedMs, headMs, endedMs } = entry
  const admit = arrivedMs - receivedMs
  if (assignedMs === undefined) return { admit, queue: untilMs - arrivedMs }
  const answeredMs = headMs ?? endedMs ?? untilMs
  const run = answeredMs - assignedMs
  const platform = Math.max(0, untilMs - answeredMs)
  const waited = assignedMs - arrivedMs
  // The start counts for this request only when it waited for it.
  if (start?.readyAtMs === undefined || start.readyAtMs === null || start.readyAtMs <= arrivedMs) {
    return { admit, queue: waited, run, platform }
  }
  const demandAtMs = clamp(start.demandAtMs, arrivedMs, assignedMs)
  const createdAtMs = clamp(start.createdAtMs, demandAtMs, assignedMs)
  const readyAtMs = clamp(start.readyAtMs, createdAtMs, assignedMs)
  return {
    admit,
    queue: demandAtMs - arrivedMs,
    place: createdAtMs - demandAtMs,
    start: readyAtMs - createdAtMs,
    ...(start.phases === null
      ? {}
      : {
          startProcess: start.phases.processMs,
          startInitialise: start.phases.initialiseMs,
          startConnect: start.phases.connectMs
        }),
    dispatch: assignedMs - readyAtMs,
    run,
    platform
  }
}

const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high)

const names: ReadonlyArray<readonly [keyof ReceiptPhases, string]> = [
  ["admit", "admit"],
  ["store", "store"],
  ["queue", "queue"],
  ["place", "place"],
  ["start", "start"],
  ["startImage", "start-image"],
  ["startWeights", "start-weights"],
  ["startProcess", "start-process"],
  ["startInitialise", "start-initialise"],
  ["startConnect", "start-connect"],
  ["dispatch", "dispatch"],
  ["run", "run"],
  ["platform", "platform"]
]

/** `total` is the sum of the phases that follow each other (everything but `start-...`). */
export const serverTiming = (receipt: ReceiptPhases, totalMs: number): string => {
  let text = ""
  for (const [key, name] of names) {
    const value = receipt[key]
    if (value !== undefined) text += `${name};dur=${value.toFixed(2)}, `
  }
  return `${text}total;dur=${totalMs.toFixed(2)}`
}

/** Of an answer that no function was asked for. */
export const admitted = (receivedMs: number, untilMs: number): string =>
  serverTiming({ admit: untilMs - receivedMs }, untilMs - receivedMs)
