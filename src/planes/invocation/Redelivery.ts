/**
 * The backoff that a request brings along: its deployment's delays, and the seed that sets it apart from the others.
 *
 * @module
 */
import type { Arrived } from "../../core/buffer/BufferEvent.ts"
import type { DeploymentSpec } from "../control/Domain.ts"

type Redelivery = NonNullable<Arrived["redelivery"]>

/** So many different spreads are enough, and a hundred thousand that wait share them. */
const spreadsMax = 256

const spreads = new WeakMap<object, ReadonlyArray<Redelivery>>()

const spreadsOf = (spec: Pick<DeploymentSpec, "redeliveryDelayMs" | "redeliveryDelayMaxMs">) => {
  const known = spreads.get(spec)
  if (known !== undefined) return known
  const made = Array.from({ length: spreadsMax }, () => ({
    delayMs: spec.redeliveryDelayMs,
    delayMaxMs: spec.redeliveryDelayMaxMs,
    // No secret depends on it.
    seed: Math.floor(Math.random() * 0x1_0000_0000)
  }))
  spreads.set(spec, made)
  return made
}

/** `spec` as it stands in the routing table: its spreads are kept as long as it is. */
export const redeliveryOf = (spec: Pick<DeploymentSpec, "redeliveryDelayMs" | "redeliveryDelayMaxMs">): Redelivery => {
  const made = spreadsOf(spec)
  // The index is below the length, which is not zero.
  return made[Math.floor(Math.random() * made.length)] as Redelivery
}
