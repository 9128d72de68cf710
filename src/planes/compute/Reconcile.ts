/**
 * What an agent does so that the instances of its backend become those that are wanted. Pure; the agent observes, plans
 * and carries out in each heartbeat, so that an order, an observation or a report that got lost is made good.
 *
 * A list may be a little old, as that of a server with a cache is: what it lacks once is only counted.
 *
 * Laws (`property-tests/Reconcile.laws.test.ts`): L17 carried out twice, the world is as wanted, and planned again, the
 * plan is empty. R1 only instances that the backend lists as its own are ended. R2 what is wanted is never ended, and
 * what is observed never reported as vanished. R3 an instance whose launch is under way is neither. R4 what an agent of
 * this cluster launched before is taken over and not ended.
 *
 * @module
 */

export interface Wanted {
  readonly instanceId: string
  /** Its launch had succeeded before the observation began; if not, its absence means nothing. */
  readonly isLaunched: boolean
  /** Observations in a row that lacked it. */
  readonly missedCount: number
}

export interface Observed {
  readonly instanceId: string
  /** An earlier life of this agent launched it, and it is not one that this life saw the end of. */
  readonly isAdoptable: boolean
}

export interface Plan {
  /** Runs, and nobody wants it. */
  readonly end: ReadonlyArray<string>
  /** Runs, and is wanted from now on. */
  readonly adopt: ReadonlyArray<string>
  /** Is wanted and was launched, and was not seen this time; those that vanished too. */
  readonly missed: ReadonlyArray<string>
  /** Is wanted and was launched, and does not run; its end was not seen. */
  readonly vanished: ReadonlyArray<string>
}

/** Absences in a row that count as an end. */
export const missedMax = 2

/** `observed`: what the backend lists; a backend lists only what carries its own label. */
export const plan = (wanted: ReadonlyArray<Wanted>, observed: ReadonlyArray<Observed>): Plan => {
  const wantedIds = new Set(wanted.map((one) => one.instanceId))
  const observedIds = new Set(observed.map((one) => one.instanceId))
  const surplus = observed.filter((one) => !wantedIds.has(one.instanceId))
  const missed = wanted.filter((one) => one.isLaunched && !observedIds.has(one.instanceId))
  return {
    end: idsOf(surplus.filter((one) => !one.isAdoptable)),
    adopt: idsOf(surplus.filter((one) => one.isAdoptable)),
    missed: idsOf(missed),
    vanished: idsOf(missed.filter((one) => one.missedCount + 1 >= missedMax))
  }
}

const idsOf = (all: ReadonlyArray<{ readonly instanceId: string }>): ReadonlyArray<string> => [
  ...new Set(all.map((one) => one.instanceId))
]

export const isEmpty = ({ end, adopt, missed }: Plan): boolean =>
  end.length === 0 && adopt.length === 0 && missed.length === 0
