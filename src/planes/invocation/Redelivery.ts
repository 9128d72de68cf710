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

/** Deployments have few delays between them, whatever their number. */
const delaysMax = 256

const spreads = new Map<string, ReadonlyArray<Redelivery>>()

type Delays = Pick<DeploymentSpec, "redeliveryDelayMs" | "redeliveryDelayMaxMs">

const spreadsOf = ({ redeliveryDelayMs: delayMs, redeliveryDelayMaxMs: delayMaxMs }: Delays) => {
  const key = `${delayMs}/${delayMaxMs}`
  const known = spreads.get(key)
  if (known !== undefined) return known
  const made = Array.from({ length: spreadsMax }, () => ({
    delayMs,
    delayMaxMs,
    // No secret depends on it.
    seed: Math.floor(Math.random() * 0x1_0000_0000)
  }))
  if (spreads.size >= delaysMax)
    for (const oldest of spreads.keys()) {
      spreads.delete(oldest)
      break
    }
  spreads.set(key, made)
  return made
}

export const redeliveryOf = (delays: Delays): Redelivery => {
  const made = spreadsOf(delays)
  // The index is below the length, which is not zero.
  return made[Math.floor(Math.random() * made.length)] as Redelivery
}
