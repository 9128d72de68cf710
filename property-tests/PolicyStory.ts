/**
 * A policy told a short story: what it answers at each look, word for word.
 *
 * @module
 */
import type { Decision, Observation, Policy } from "../src/core/scaling/Policy.ts"

const quiet: Observation = {
  nowMs: 0,
  pending: 0,
  leased: 0,
  oldestPendingMs: null,
  arrivalsTotal: 0,
  ready: 0,
  starting: 0,
  draining: 0,
  slotsPerInstance: 2,
  desired: 0,
  spec: { minInstances: 0, maxInstances: 10, concurrency: 2, idleWindowMs: 10_000 }
}

/** Each look differs from the one before by what is said; `desired` is what was answered then, where it is not said. */
export const tell = <Memory>(
  policy: Policy<Memory>,
  looks: ReadonlyArray<Partial<Observation>>
): { readonly memory: Memory; readonly decisions: ReadonlyArray<Decision> } => {
  let memory = policy.empty
  let seen = quiet
  const decisions: Array<Decision> = []
  for (const look of looks) {
    const desired = decisions.at(-1)?.desired ?? 0
    seen = { ...seen, desired, ...look }
    const [next, decision] = policy.decide(memory, seen)
    memory = next
    decisions.push(decision)
  }
  return { memory, decisions }
}

/** A line for each answer: how many, until when, why. */
export const lines = (decisions: ReadonlyArray<Decision>): ReadonlyArray<string> =>
  decisions.map(({ desired, wakeAtMs, reason }) => `${desired} until ${wakeAtMs ?? "ever"}: ${reason}`)
