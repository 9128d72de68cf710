/**
 * A failure that was understood already, on its way to who decides about it.
 *
 * @module
 */
import type { NatsFailure } from "./NatsFailure.ts"

export class NatsFailureError extends Error {
  readonly failure: NatsFailure
  constructor(failure: NatsFailure) {
    super(failure.reason)
    this.failure = failure
  }
}
