/**
 * When a request whose attempt was lost may be leased again: exponential backoff with jitter, so that requests that were
 * lost together do not come back together. Pure: the seed came with the request.
 *
 * Laws (`property-tests/Redelivery.laws.test.ts`): R1 the delay before attempt n + 1 is between half and the whole of
 * `delayMs * 2^(n-1)`, which never exceeds `delayMaxMs`; without a seed it is the whole. R2 the same request and attempt
 * give the same delay. R3 over seeds the delays are spread.
 *
 * @module
 */
import type { Arrived } from "../buffer/BufferEvent.ts"
import type { BufferOptions } from "../buffer/BufferOptions.ts"

type Limits = Pick<BufferOptions, "redeliveryDelayMs" | "redeliveryDelayMaxMs">

/** `attempt`: the one that was lost, from 1. */
export const delayMs = (arrived: Pick<Arrived, "redelivery">, attempt: number, limits: Limits): number => {
  const { redelivery } = arrived
  const firstMs = redelivery?.delayMs ?? limits.redeliveryDelayMs
  const maxMs = redelivery?.delayMaxMs ?? limits.redeliveryDelayMaxMs
  // 2 ** 1023 is the largest that a double holds; the maximum is reached long before.
  const wholeMs = Math.min(firstMs * 2 ** Math.min(attempt - 1, 1023), maxMs)
  return redelivery === undefined ? wholeMs : Math.round(wholeMs * (0.5 + chance(redelivery.seed, attempt) / 2))
}

/** From 0 to below 1: the finalizer of MurmurHash3 over both numbers. */
const chance = (seed: number, attempt: number): number => {
  let hash = seed ^ Math.imul(attempt, 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000
}
