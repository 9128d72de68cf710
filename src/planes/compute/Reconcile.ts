/**
 * What an agent does so that the instances of its backend become those that are wanted. Pure; the agent observes, plans
 * and carries out in each heartbeat, so that an order, an observation or a report that got lost is made good.
 *
 * Laws (`property-tests/Reconcile.laws.test.ts`): L17 carried out once, the world is as wanted, and planned again, the
 * plan is empty. R1 only instances that the backend lists as its own are ended. R2 what is wanted is never ended, and
 * what is observed never reported as vanished. R3 an instance whose launch is under way is neither.
 *
 * @module
 */

export interface Wanted {
  readonly instanceId: string
  /** Its launch had succeeded before the observation began; if not, its absence means nothing. */
  readonly isLaunched: boolean
}

export interface Plan {
  /** Runs, and nobody wants it. */
  readonly end: ReadonlyArray<string>
  /** Is wanted and was launched, and does not run; its end was not seen. */
  readonly vanished: ReadonlyArray<string>
}

/** `observed`: ids that the backend lists; a backend lists only what carries its own label. */
export const plan = (wanted: ReadonlyArray<Wanted>, observed: ReadonlyArray<string>): Plan => {
  const wantedIds = new Set(wanted.map((one) => one.instanceId))
  const observedIds = new Set(observed)
  return {
    end: [...observedIds].filter((instanceId) => !wantedIds.has(instanceId)),
    vanished: wanted.filter((one) => one.isLaunched && !observedIds.has(one.instanceId)).map((one) => one.instanceId)
  }
}

export const isEmpty = (done: Plan): boolean => done.end.length === 0 && done.vanished.length === 0
