/**
 * The backoff that a request brings along: its deployment's delays, and the seed that sets it apart from the others.
 *
 * @module
 */
import type { Arrived } from "../../core/buffer/BufferEvent.ts"
import type { DeploymentSpec } from "../control/Domain.ts"

export const redeliveryOf = (
  spec: Pick<DeploymentSpec, "redeliveryDelayMs" | "redeliveryDelayMaxMs">
): NonNullable<Arrived["redelivery"]> => ({
  delayMs: spec.redeliveryDelayMs,
  delayMaxMs: spec.redeliveryDelayMaxMs,
  // No secret depends on it.
  seed: Math.floor(Math.random() * 0x1_0000_0000)
})
