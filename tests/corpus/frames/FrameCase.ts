/**
 * One row of the corpus of worker frames.
 *
 * @module
 */
import type { FromWorker } from "../../../src/worker-sdk/protocol/WorkerMessage.ts"
import type { Assign } from "../support/FrameClient.ts"

/** What the worker had said before: nothing but its introduction; that it is ready; and it was given a call. */
export type When = "connected" | "ready" | "holding"

/**
 * `fault`: the connection ends (1002, INVALID_ARGUMENT). `ignored`: it stays, and the right answer counts. `failed`: the
 * caller is told that the function failed, and the connection stays.
 */
export type Outcome = "fault" | "ignored" | "failed"

export interface MessageCase {
  readonly name: string
  readonly when: When
  readonly outcome: Outcome
  /** `assign` is that of the call it was given, or of a call that never was. */
  readonly messages: (assign: Assign) => ReadonlyArray<FromWorker>
  /** In the reason that the connection ends with, or in the answer of the caller. */
  readonly says?: RegExp
}

export interface BytesCase {
  readonly name: string
  readonly when: When
  readonly outcome: Outcome
  readonly bytes: Uint8Array | string
  readonly says?: RegExp
  /** Instead of the one of a fault. */
  readonly code?: number
}
