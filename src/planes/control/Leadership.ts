/**
 * Which copy of the control plane acts: a lease with an epoch, which every order carries, so that an agent refuses what a
 * deposed leader still sends.
 *
 * The next leader has the lease within `ttlMs` of the last renewal and acts `settleMs` later, in which it hears of what
 * runs: together two seconds, and what its writes take.
 *
 * @module
 */
export const key = "control/leader"

/** Of the lease: two renewals may fail before it runs out. */
export const timing = { ttlMs: 1_500, renewMs: 400, marginMs: 300 }

/** Agents and shards answer within a fraction of it. */
export const settleMs = 500

/** Known to be leading at the moment it is asked. */
export interface Leadership {
  /** Undefined: another copy leads, or nobody. Asked before each order. */
  readonly epoch: () => number | undefined
}
