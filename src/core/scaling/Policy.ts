/**
 * A scaling policy: a value that turns what is observed of one version into how many instances it should have.
 *
 * A policy may be wrong, it cannot do harm: `Scaling.step` holds every answer to the bounds, to waiting requests and
 * to what is unknown, whichever policy gave it. A policy keeps what it must remember in its memory, which is plain
 * data; it reads no clock. What another policy needs (samples of utilisation, windows, cooldowns) it samples from the
 * observations into its memory and asks for the next sample with `wakeAtMs`.
 *
 * @module
 */

/** A figure that may be missing. `"unknown"` is a value of its own: it is not zero, and the types keep it apart. */
export type Reading = number | "unknown"

export interface PolicySpec {
  readonly minInstances: number
  readonly maxInstances: number
  /** Requests that one instance should hold at a time. */
  readonly concurrency: number
  readonly idleWindowMs: number
}

/** One version at one moment. Counts are of the current generation. */
export interface Observation {
  /** Never goes back within one life of the machine. */
  readonly nowMs: number
  /** Accepted requests that no worker holds. */
  readonly pending: Reading
  /** Requests that workers hold. */
  readonly leased: Reading
  /** Age of the oldest pending request; null = none is pending. */
  readonly oldestPendingMs: Reading | null
  /** Counts all arrivals ever; falls only when its counter began anew. */
  readonly arrivalsTotal: Reading
  readonly ready: number
  /** Ordered or starting. */
  readonly starting: number
  readonly draining: number
  /** Slots that one ready instance really offers, at least 1. */
  readonly slotsPerInstance: number
  /** What was decided last. */
  readonly desired: number
  readonly spec: PolicySpec
}

export type Inputs = Readonly<Record<string, number | string | null>>

/**
 * Most decisions change nothing, and nobody asks why: a policy may make `reason` and `inputs` when they are read, out of
 * what it saw. So a decision is copied field by field and not by a spread, which takes no getters along.
 */
export interface Decision {
  readonly desired: number
  /** A sentence with its figures. */
  readonly reason: string
  readonly inputs: Inputs
  /** When this answer would change though nothing else happens; null = never. */
  readonly wakeAtMs: number | null
}

export interface Policy<Memory> {
  readonly name: string
  readonly empty: Memory
  readonly decide: (memory: Memory, observation: Observation) => readonly [Memory, Decision]
}

/** Seconds for people: `0.35 s`, `12.0 s`, `90 s`. */
export const seconds = (ms: number): string => {
  const value = Math.max(0, ms) / 1000
  return `${value < 1 ? value.toFixed(2) : value < 60 ? value.toFixed(1) : value.toFixed(0)} s`
}

/** `1 instance`, `2 instances`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** The sum of figures; unknown as soon as one of them is. */
export const sum = (one: Reading, other: Reading): Reading =>
  one === "unknown" || other === "unknown" ? "unknown" : one + other

/** A figure for people, with two places at most: `3`, `0.7`, `12.25`. */
export const figure = (value: number): string => String(Math.round(value * 100) / 100)
