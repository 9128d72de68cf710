/**
 * What can go wrong in the fabric. Three kinds, kept apart: it did not happen, nobody knows, and it must not happen.
 *
 * @module
 */
import * as Schema from "effect/Schema"

/** It certainly did not happen: nothing was written. `retryable` says whether trying again can help. */
export class FabricUnavailable extends Schema.TaggedError<FabricUnavailable>()("FabricUnavailable", {
  port: Schema.String,
  operation: Schema.String,
  reason: Schema.String,
  retryable: Schema.Boolean
}) {
  override get message() {
    return `${this.port}.${this.operation} did not happen: ${this.reason}`
  }
}

/** It may have happened or not. Retry only what is idempotent, or read back. */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()("OutcomeUnknown", {
  port: Schema.String,
  operation: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `nobody can tell whether ${this.port}.${this.operation} happened: ${this.reason}`
  }
}

/** The log is not at the expected position: another owner wrote. Step down and replay. */
export class PositionConflict extends Schema.TaggedError<PositionConflict>()("PositionConflict", {
  shard: Schema.String,
  expected: Schema.Number,
  actual: Schema.Number
}) {
  override get message() {
    return `shard ${this.shard} is at position ${this.actual}, not ${this.expected}: another owner wrote to it, so this one must step down and replay`
  }
}

/** Compare-and-set met another revision. */
export class RevisionConflict extends Schema.TaggedError<RevisionConflict>()("RevisionConflict", {
  key: Schema.String,
  expected: Schema.Number,
  actual: Schema.Number
}) {
  override get message() {
    return `key ${this.key} is at revision ${this.actual}, not ${this.expected}: read it again and decide anew`
  }
}

/** The store cannot be trusted or opened as it is. Refused at start, with what to do. */
export class UnsafeStore extends Schema.TaggedError<UnsafeStore>()("UnsafeStore", {
  path: Schema.String,
  setting: Schema.String,
  found: Schema.String,
  required: Schema.String
}) {
  override get message() {
    return `the store at ${this.path} has ${this.setting} = ${this.found} and Millrace needs ${this.required}: accepted requests could be lost, so it does not start`
  }
}

/** The servers or what is on them can not keep the promises as they are. Refused at start, with the lines to change. */
export class UnsafeServer extends Schema.TaggedError<UnsafeServer>()("UnsafeServer", {
  /** One sentence for each setting. */
  findings: Schema.Array(Schema.String)
}) {
  static of(findings: ReadonlyArray<string>): UnsafeServer {
    return new UnsafeServer({ findings })
  }
  override get message() {
    return (
      `accepted requests could be lost on these servers, so Millrace does not start:\n  ${this.findings.join("\n  ")}\n` +
      "What only the loss of power makes unsafe is let through by durability: process-crash-only."
    )
  }
}
