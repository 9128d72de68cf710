/**
 * One piece of work: what its caller sends, and how the function behaves with it.
 *
 * @module
 */

/** How the work goes, at each attempt unless it says otherwise. */
export type Work =
  /** Answers at its end. */
  | "answers"
  /** A head and a part first. */
  | "streams"
  /** Fails for good. */
  | "fails"
  /** Fails at the first attempt in a way that another may not meet. */
  | "flickers"
  /** Takes its worker down. */
  | "poison"

export interface CallFacts {
  readonly item: string
  readonly tenant: string
  readonly version: string
  readonly body: string
  readonly key: string | undefined
  readonly mode: "sync" | "async"
  readonly durability: "accepted" | "always" | "memory"
  readonly deadlineMs: number
  readonly sizeBytes: number
  readonly maxAttempts: number
  readonly work: Work
  readonly workMs: number
  /** A synchronous caller is told 202 after so long. */
  readonly pollMs: number
  readonly isCancelledWhenLeft: boolean
}
