/**
 * Acts on one policy and records where another would have done otherwise.
 *
 * - The acting policy decides exactly what it would decide alone.
 * - The watched policy sees the same world with its own last answer as what is desired, and its answers are held to the
 *   same laws before they are compared.
 * - A difference is recorded when it begins and whenever one of the two numbers changes while they differ.
 *
 * Laws: S1 the acting policy's decisions and memory are what they are without a shadow. S2 the record holds the latest
 * `differencesMax` differences and the count of all.
 *
 * @module
 */
import type { Decision, Observation, Policy } from "./Policy.ts"
import { lawful } from "./Scaling.ts"

export interface Difference {
  readonly atMs: number
  readonly acting: Answer
  readonly watched: Answer
}

export interface Answer {
  readonly desired: number
  readonly reason: string
}

export interface Memory<Acting, Watched> {
  readonly acting: Acting
  readonly watched: Watched
  /** What the watched policy wants, as far as the laws allow; null = it was not asked yet. */
  readonly watchedDesired: number | null
  readonly isDifferent: boolean
  /** The latest, oldest first. */
  readonly differences: ReadonlyArray<Difference>
  readonly differenceCount: number
}

export const differencesMax = 256

export const shadow = <Acting, Watched>(
  acting: Policy<Acting>,
  watched: Policy<Watched>
): Policy<Memory<Acting, Watched>> => ({
  name: `shadow(${acting.name}, ${watched.name})`,
  empty: {
    acting: acting.empty,
    watched: watched.empty,
    watchedDesired: null,
    isDifferent: false,
    differences: [],
    differenceCount: 0
  },
  decide: (memory, observation) => {
    const [actingMemory, decision] = acting.decide(memory.acting, observation)
    const imagined = { ...observation, desired: memory.watchedDesired ?? observation.desired }
    const [watchedMemory, answer] = watched.decide(memory.watched, imagined)
    const next = compare(
      { ...memory, acting: actingMemory, watched: watchedMemory },
      { observation, acted: lawful(decision, observation), imagined: lawful(answer, imagined) }
    )
    const { desired, reason, inputs } = decision
    return [next, { desired, reason, inputs, wakeAtMs: earlier(decision.wakeAtMs, answer.wakeAtMs) }]
  }
})

interface Compared {
  readonly observation: Observation
  readonly acted: Decision
  readonly imagined: Decision
}

const compare = <Acting, Watched>(
  memory: Memory<Acting, Watched>,
  { observation, acted, imagined }: Compared
): Memory<Acting, Watched> => {
  const watchedDesired = imagined.desired
  if (acted.desired === watchedDesired) return { ...memory, watchedDesired, isDifferent: false }
  const last = memory.differences.at(-1)
  const isSame = last?.acting.desired === acted.desired && last.watched.desired === watchedDesired
  if (memory.isDifferent && isSame) return { ...memory, watchedDesired }
  const difference: Difference = {
    atMs: observation.nowMs,
    acting: { desired: acted.desired, reason: acted.reason },
    watched: { desired: watchedDesired, reason: imagined.reason }
  }
  return {
    ...memory,
    watchedDesired,
    isDifferent: true,
    differences: [...memory.differences.slice(-(differencesMax - 1)), difference],
    differenceCount: memory.differenceCount + 1
  }
}

const earlier = (one: number | null, other: number | null): number | null =>
  one === null ? other : other === null ? one : Math.min(one, other)
