/**
 * Always `minInstances`, and one when that is 0: a pool that never goes to zero and follows no demand.
 *
 * @module
 */
import type { Decision, Observation, Policy } from "./Policy.ts"
import { plural } from "./Policy.ts"

const decide = (memory: null, { spec }: Observation): readonly [null, Decision] => {
  const desired = Math.max(1, spec.minInstances)
  return [
    memory,
    {
      desired,
      reason: `the policy is fixed: ${plural(desired, "instance")}, whatever the demand`,
      inputs: { minInstances: spec.minInstances },
      wakeAtMs: null
    }
  ]
}

export const fixed: Policy<null> = { name: "fixed", empty: null, decide }
