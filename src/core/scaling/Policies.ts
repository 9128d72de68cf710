/**
 * The policies that a deployment can name.
 *
 * @module
 */
import { demand } from "./DemandPolicy.ts"
import { fixed } from "./FixedPolicy.ts"
import * as Scaling from "./Scaling.ts"

const byName = {
  demand: (desired: number) => Scaling.running(demand, Scaling.empty(demand, desired)),
  fixed: (desired: number) => Scaling.running(fixed, Scaling.empty(fixed, desired))
} as const

export type PolicyName = keyof typeof byName

/** A fresh machine under this policy that begins at `desired`. */
export const start = (name: PolicyName, desired = 0): Scaling.Running => byName[name](desired)
