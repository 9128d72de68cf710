/**
 * fast-check as the coverage and the mutation run use it: one seed and no shrinking, so that a run says the same each
 * time and ends with the first failure. `Runner.ts` limits the number of runs as well.
 *
 * @module
 */
import * as fc from "fast-check"

// Histories as long as the laws say, as in every other run.
fc.configureGlobal({ seed: 20_261_121, endOnFailure: true, defaultSizeToMaxWhenMaxSpecified: true })

export * from "fast-check"

/** What the runner asks for, and what it has to know of the test that runs. */
export const runs = { max: Number.POSITIVE_INFINITY, wereLimited: false, isPropertyBroken: false }

const limited = <Inputs>(property: fc.IRawProperty<Inputs>, parameters?: fc.Parameters<Inputs>) => {
  const numRuns = parameters?.numRuns ?? 100
  if (numRuns > runs.max) runs.wereLimited = true
  try {
    return fc.assert(property, { ...parameters, numRuns: Math.min(numRuns, runs.max) })
  } catch (error) {
    runs.isPropertyBroken = true
    throw error
  }
}

// The same function with the same answers; only its overloads cannot be written down again.
export const assert = limited as typeof fc.assert

/** In the place of `upholds.ts`, which keeps seeds and counts what it tries. */
export const upholds = assert
