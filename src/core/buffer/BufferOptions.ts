/**
 * Limits of one shard's buffer machine. Every bound has a refusal.
 *
 * @module
 */
export interface BufferOptions {
  /** Requests that may be pending or leased at a time. */
  readonly pendingCountMax: number
  /** Sum of `sizeBytes` of the same. */
  readonly pendingBytesMax: number
  /**
   * The share of the two above, and of what may be known at all, that one tenant may hold when no other holds anything;
   * above 0, and with 1 there is no bound but theirs. The others' room is what is free: a tenant that holds something is
   * taken only while it holds less than `share / (1 - share)` times that. Default: `tenantShareMaxDefault`.
   */
  readonly tenantShareMax?: number
  /** How long a lease lives without a sign of its worker (NVCF: 30 s). */
  readonly visibilityTimeoutMs: number
  /** First redelivery delay; doubles with each attempt up to `redeliveryDelayMaxMs`. */
  readonly redeliveryDelayMs: number
  readonly redeliveryDelayMaxMs: number
  /** How long a kept result can be claimed. */
  readonly resultRetentionMs: number
  /**
   * Ended requests that are remembered for a claim or a retry, beyond `pendingCountMax`; one more and nothing is
   * accepted until a retention is over. Default: `rememberedCountMaxDefault`.
   */
  readonly rememberedCountMax?: number
  /**
   * An opportunistic request that waits this long since its arrival is of class `deadline` from the next `Ticked` on
   * (see `nextDueMs`), in the order of its arrival. Default: never; then it may wait until its own deadline ends it.
   */
  readonly opportunisticWaitMaxMs?: number
  /** What a refused caller is told to wait when no service rate is known. */
  readonly retryAfterMs: number
}

/** About half a gigabyte. */
export const rememberedCountMaxDefault = 1_000_000

/** One alone has nearly all; two that take all they get have 47 % each, ten have 9.9 % each, and the rest is free. */
export const tenantShareMaxDefault = 0.9

export const defaults: BufferOptions = {
  pendingCountMax: 100_000,
  pendingBytesMax: 4 * 1024 * 1024 * 1024,
  visibilityTimeoutMs: 30_000,
  redeliveryDelayMs: 100,
  redeliveryDelayMaxMs: 30_000,
  resultRetentionMs: 3_600_000,
  retryAfterMs: 1_000
}
