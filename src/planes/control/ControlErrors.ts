/**
 * What can go wrong in the control plane's registry and API. One closed union; `Problem.ts` turns each into an answer.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type { PeerUnavailable } from "../peer/PeerUnavailable.ts"

export class FunctionNotFound extends Schema.TaggedError<FunctionNotFound>()("FunctionNotFound", {
  /** Id or name, as asked. */
  reference: Schema.String
}) {
  override get message() {
    return `there is no function ${this.reference}: list what exists with GET /v1/functions or \`millrace functions\``
  }
}

export class VersionNotFound extends Schema.TaggedError<VersionNotFound>()("VersionNotFound", {
  versionId: Schema.String
}) {
  override get message() {
    return `there is no version ${this.versionId}: list the versions with GET /v1/functions/{id}/versions`
  }
}

export class VersionOfAnotherFunction extends Schema.TaggedError<VersionOfAnotherFunction>()(
  "VersionOfAnotherFunction",
  { versionId: Schema.String, functionId: Schema.String }
) {
  override get message() {
    return `version ${this.versionId} does not belong to function ${this.functionId}: name a version of that function`
  }
}

export class NotDeployed extends Schema.TaggedError<NotDeployed>()("NotDeployed", { versionId: Schema.String }) {
  override get message() {
    return `version ${this.versionId} is not deployed: deploy it with PUT /v1/versions/${this.versionId}/deployment`
  }
}

export class FunctionNameTaken extends Schema.TaggedError<FunctionNameTaken>()("FunctionNameTaken", {
  name: Schema.String,
  functionId: Schema.String
}) {
  override get message() {
    return (
      `the name ${this.name} belongs to function ${this.functionId}: add a version to that one, ` +
      `delete it first, or choose another name`
    )
  }
}

export class StillDeployed extends Schema.TaggedError<StillDeployed>()("StillDeployed", {
  what: Schema.String,
  versionIds: Schema.Array(Schema.String)
}) {
  override get message() {
    return (
      `${this.what} is still deployed (${this.versionIds.slice(0, 3).join(", ")}` +
      `${this.versionIds.length > 3 ? ` and ${this.versionIds.length - 3} more` : ""}), ` +
      `so deleting it could take work from callers: undeploy first, or say force`
    )
  }
}

/** A spec given by code, not by the wire (there the schema answers), does not hold. */
export class SpecInvalid extends Schema.TaggedError<SpecInvalid>()("SpecInvalid", {
  what: Schema.String,
  issues: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {
  override get message() {
    const issues = this.issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`))
    return `${this.what} is not valid, nothing was changed: ${issues.join("; ")}`
  }
}

export class RegistryFull extends Schema.TaggedError<RegistryFull>()("RegistryFull", {
  what: Schema.String,
  limit: Schema.Int
}) {
  override get message() {
    return `there are already ${this.limit} ${this.what}, which is the limit: delete some that are not needed`
  }
}

/** Others changed the same thing, several times in a row. */
export class ConcurrentChange extends Schema.TaggedError<ConcurrentChange>()("ConcurrentChange", {
  key: Schema.String
}) {
  override get message() {
    return `${this.key} was changed by someone else at the same time, nothing was changed here: read it and try again`
  }
}

export class InstanceNotFound extends Schema.TaggedError<InstanceNotFound>()("InstanceNotFound", {
  instanceId: Schema.String
}) {
  override get message() {
    return `there is no instance ${this.instanceId}, and none that ended lately: list them with GET /v1/instances`
  }
}

export class ClusterNotFound extends Schema.TaggedError<ClusterNotFound>()("ClusterNotFound", {
  cluster: Schema.String
}) {
  override get message() {
    return `there is no cluster ${this.cluster}, or its agent was never heard of here: list them with GET /v1/clusters`
  }
}

export class RequestNotFound extends Schema.TaggedError<RequestNotFound>()("RequestNotFound", {
  requestId: Schema.String
}) {
  override get message() {
    return (
      `there is no request ${this.requestId}: it never existed, or it ended so long ago that it was forgotten; ` +
      `list what is known with GET /v1/requests`
    )
  }
}

export class RequestEnded extends Schema.TaggedError<RequestEnded>()("RequestEnded", {
  requestId: Schema.String,
  state: Schema.String
}) {
  override get message() {
    return `request ${this.requestId} had already ended (${this.state}), so there is nothing to cancel`
  }
}

export class DeadLetterNotFound extends Schema.TaggedError<DeadLetterNotFound>()("DeadLetterNotFound", {
  requestId: Schema.String
}) {
  override get message() {
    return (
      `there is no dead letter of request ${this.requestId}: it was dropped, its time was over, or the request ended ` +
      `otherwise; list what is kept with GET /v1/dead-letters`
    )
  }
}

export class DeadLetterIncomplete extends Schema.TaggedError<DeadLetterIncomplete>()("DeadLetterIncomplete", {
  requestId: Schema.String
}) {
  override get message() {
    return (
      `the body of request ${this.requestId} never came whole, so it cannot be replayed: only its caller can send it ` +
      `again`
    )
  }
}

/** The new request was not accepted; the letter is as it was. */
export class ReplayRefused extends Schema.TaggedError<ReplayRefused>()("ReplayRefused", {
  requestId: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `the dead letter of request ${this.requestId} was not replayed and is kept as it was: ${this.reason}`
  }
}

export type RegistryError =
  | FunctionNotFound
  | VersionNotFound
  | VersionOfAnotherFunction
  | NotDeployed
  | FunctionNameTaken
  | StillDeployed
  | SpecInvalid
  | RegistryFull
  | ConcurrentChange
  | FabricUnavailable
  | OutcomeUnknown

export type ControlError =
  | RegistryError
  | InstanceNotFound
  | ClusterNotFound
  | RequestNotFound
  | RequestEnded
  | DeadLetterNotFound
  | DeadLetterIncomplete
  | ReplayRefused
  | PeerUnavailable
