/**
 * Why an instance does not start: a closed family. Each says in `message` what happened and what to do. What is known at
 * once fails the launch; what turns out later (an image that cannot be had) comes as the `Exited` observation of the
 * instance, with the same error in it.
 *
 * @module
 */
import * as Schema from "effect/Schema"

/** `detail`: what happened, in the backend's words. */
const facts = { instanceId: Schema.String, detail: Schema.String }

/** The registry has no such image, or does not give it to us. */
export class ImageNotFound extends Schema.TaggedError<ImageNotFound>()("ImageNotFound", {
  ...facts,
  image: Schema.String
}) {
  override get message() {
    return (
      `instance ${this.instanceId} did not start: the image ${this.image} cannot be had (${this.detail}): ` +
      "check its name and tag, push it, or give the credentials of its registry"
    )
  }
}

/** There is no such program, or it may not be executed. */
export class CommandNotFound extends Schema.TaggedError<CommandNotFound>()("CommandNotFound", {
  ...facts,
  program: Schema.String
}) {
  override get message() {
    return `instance ${this.instanceId} did not start: ${this.detail}`
  }
}

/** No room now; there can be when something ends. */
export class NoCapacity extends Schema.TaggedError<NoCapacity>()("NoCapacity", facts) {
  override get message() {
    return (
      `instance ${this.instanceId} did not start, for want of room: ${this.detail}; ` +
      "room comes when an instance ends: lower a minimum, or make the cluster larger"
    )
  }
}

/** There may be room, but not for us. */
export class QuotaExceeded extends Schema.TaggedError<QuotaExceeded>()("QuotaExceeded", {
  ...facts,
  quota: Schema.String
}) {
  override get message() {
    return (
      `instance ${this.instanceId} did not start: the quota ${this.quota} is used up (${this.detail}): ` +
      "end something that counts against it, or have it raised"
    )
  }
}

/** Its process did not begin within `startDeadlineMs` of the launch; `phase` is the one that took too long. */
export class StartDeadlineExceeded extends Schema.TaggedError<StartDeadlineExceeded>()("StartDeadlineExceeded", {
  ...facts,
  phase: Schema.String,
  startDeadlineMs: Schema.Number
}) {
  override get message() {
    return (
      `instance ${this.instanceId} did not start within ${this.startDeadlineMs} ms; it stood in the phase ` +
      `${this.phase} (${this.detail}): make that phase faster, or raise the start deadline of the deployment`
    )
  }
}

/** It needs more memory to start than it was given, or than any node has. */
export class OutOfMemory extends Schema.TaggedError<OutOfMemory>()("OutOfMemory", {
  ...facts,
  memoryBytes: Schema.Number
}) {
  override get message() {
    return (
      `instance ${this.instanceId} did not start: ${this.memoryBytes} bytes of memory are too little or too much ` +
      `(${this.detail}): change the memory of the deployment, or its instance type`
    )
  }
}

/** What was asked for makes no sense, or this backend never does it; `field` of the spec. `detail` says what to do. */
export class BadSpec extends Schema.TaggedError<BadSpec>()("BadSpec", {
  ...facts,
  field: Schema.String
}) {
  override get message() {
    return `instance ${this.instanceId} did not start, its ${this.field} cannot be had here: ${this.detail}`
  }
}

/**
 * The backend's own server did not answer, or said that it cannot. Whether the call had an effect is unknown: all calls
 * are idempotent, so call again.
 */
export class BackendUnavailable extends Schema.TaggedError<BackendUnavailable>()("BackendUnavailable", {
  /** `docker`, `kubernetes`... */
  backend: Schema.String,
  /** `launch`, `terminate`, `list`... */
  operation: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return (
      `the ${this.backend} backend could not ${this.operation}: ${this.detail}; ` +
      "it is tried again, so see that its server runs and can be reached"
    )
  }
}

export const LaunchError = Schema.Union([
  ImageNotFound,
  CommandNotFound,
  NoCapacity,
  QuotaExceeded,
  StartDeadlineExceeded,
  OutOfMemory,
  BadSpec,
  BackendUnavailable
])
export type LaunchError = typeof LaunchError.Type

export const isLaunchError = Schema.is(LaunchError)

const retryable: Readonly<Record<LaunchError["_tag"], boolean>> = {
  ImageNotFound: false,
  CommandNotFound: false,
  NoCapacity: true,
  QuotaExceeded: true,
  StartDeadlineExceeded: true,
  OutOfMemory: false,
  BadSpec: false,
  BackendUnavailable: true
}

/** Whether the same launch can succeed later, with nothing changed by a person. */
export const isRetryable = (error: LaunchError): boolean => retryable[error._tag]
