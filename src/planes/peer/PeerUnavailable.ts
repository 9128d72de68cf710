/**
 * What is wrong when another plane cannot be asked.
 *
 * @module
 */
import * as Schema from "effect/Schema"

/** Nobody answered, or not all who should have. A question that changes something may have been carried out. */
export class PeerUnavailable extends Schema.TaggedError<PeerUnavailable>()("PeerUnavailable", {
  /** `invocation plane`, `agent of cluster a`. */
  peer: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `the ${this.peer} could not be asked: ${this.reason}. See whether it runs and is ready (GET /readyz on its health port), then try again`
  }
}
