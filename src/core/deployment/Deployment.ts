/**
 * The status of a deployment, from facts.
 *
 * Laws (`property-tests/Deployment.laws.test.ts`): D1 total. D2 no flapping: within one series of failures and at one
 * desired count, a status that was left does not come back. D3 `ready` exactly when all that is desired is ready and
 * nothing failed since the last healthy period; `idle` exactly when nothing is desired.
 *
 * @module
 */
import type * as RestartBudget from "../instance/RestartBudget.ts"
import { plural } from "../scaling/Policy.ts"

export type Status = "idle" | "scaling" | "ready" | "degraded" | "failed" | "undeployed"

export interface Facts {
  readonly isDeployed: boolean
  readonly desired: number
  readonly starting: number
  readonly ready: number
  readonly draining: number
  readonly budget: RestartBudget.State
  /** Why no cluster takes what is missing; null = it is not for want of a cluster. */
  readonly nowhere: string | null
}

/** From this many failed trials on it is called failed: one crash can be bad luck. */
export const failuresMeanFailed = 3

export const status = (facts: Facts): { readonly status: Status; readonly detail: string } => {
  const { desired, starting, ready, budget } = facts
  const leaving = facts.draining === 0 ? "" : `, ${facts.draining} draining`
  if (!facts.isDeployed) return { status: "undeployed", detail: `not deployed${leaving}` }
  if (desired === 0) return { status: "idle", detail: `at zero: nothing is asked of it${leaving}` }
  const counts = `${ready} of ${plural(desired, "instance")} ready, ${starting} starting${leaving}`
  if (budget.failures > 0) {
    const failed = `${counts}; ${plural(budget.failures, "start")} failed, last: ${budget.lastDetail}`
    // Once ready in this series, the worst is over or it comes and goes: one word for both, or it would flicker.
    if (budget.wasReady || ready > 0) return { status: "degraded", detail: failed }
    return { status: budget.failures >= failuresMeanFailed ? "failed" : "scaling", detail: failed }
  }
  if (ready >= desired) return { status: "ready", detail: counts }
  return { status: "scaling", detail: facts.nowhere === null ? counts : `${counts}; ${facts.nowhere}` }
}
