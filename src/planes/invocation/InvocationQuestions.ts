/**
 * What the control plane asks an invocation plane, over pub/sub: the routes, and how a plane answers them.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import {
  DeadLetterIncomplete,
  DeadLetterNotFound,
  FunctionNotFound,
  NotDeployed,
  ReplayRefused,
  VersionNotFound,
  VersionOfAnotherFunction
} from "../control/ControlErrors.ts"
import {
  Backlog,
  DeadLetterContentView,
  DeadLetterView,
  ReplayView,
  RequestState,
  RequestView
} from "../control/ControlViews.ts"
import { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import { type Handler, handler } from "../peer/Answering.ts"
import { route } from "../peer/PeerMessage.ts"
import type { DeadLetterDirectory } from "./DeadLetterDirectory.ts"
import type { RequestDirectory } from "./RequestDirectory.ts"

const optional = Schema.optionalKey
const Nothing = Schema.Struct({})

export const listRequests = route({
  name: "requests.list",
  question: Schema.Struct({
    tenant: optional(Schema.String),
    functionId: optional(Schema.String),
    versionId: optional(Schema.String),
    state: optional(RequestState),
    limit: Schema.Int
  }),
  answer: Schema.Array(RequestView),
  error: Schema.Never
})

export const getRequest = route({
  name: "requests.get",
  question: Schema.Struct({ requestId: Schema.String }),
  answer: Schema.NullOr(RequestView),
  error: Schema.Never
})

export const cancelRequest = route({
  name: "requests.cancel",
  question: Schema.Struct({ requestId: Schema.String }),
  answer: Schema.Literals(["cancelled", "ended", "unknown"]),
  error: Schema.Never
})

export const backlog = route({
  name: "requests.backlog",
  question: Nothing,
  answer: Schema.Array(Backlog),
  error: Schema.Never
})

export const staleMessages = route({
  name: "requests.stale-messages",
  question: Nothing,
  answer: Schema.Int,
  error: Schema.Never
})

export const listDeadLetters = route({
  name: "dead-letters.list",
  question: Schema.Struct({
    tenant: Schema.String,
    functionId: optional(Schema.String),
    versionId: optional(Schema.String),
    replayed: optional(Schema.Boolean),
    after: optional(Schema.String),
    limit: Schema.Int
  }),
  answer: Schema.Struct({ items: Schema.Array(DeadLetterView), next: Schema.NullOr(Schema.String) }),
  error: Schema.Never
})

const Letter = Schema.Struct({ tenant: Schema.String, requestId: Schema.String })

export const getDeadLetter = route({
  name: "dead-letters.get",
  question: Letter,
  answer: DeadLetterContentView,
  error: Schema.Union([DeadLetterNotFound, FabricUnavailable])
})

export const replayDeadLetter = route({
  name: "dead-letters.replay",
  question: Schema.Struct({ ...Letter.fields, versionId: optional(Schema.String) }),
  answer: ReplayView,
  error: Schema.Union([
    DeadLetterNotFound,
    DeadLetterIncomplete,
    ReplayRefused,
    FunctionNotFound,
    VersionNotFound,
    VersionOfAnotherFunction,
    NotDeployed,
    FabricUnavailable,
    OutcomeUnknown
  ])
})

export const dropDeadLetter = route({
  name: "dead-letters.drop",
  question: Letter,
  answer: Schema.Null,
  error: Schema.Union([DeadLetterNotFound, FabricUnavailable, OutcomeUnknown])
})

export const handlers = (requests: RequestDirectory, letters: DeadLetterDirectory): ReadonlyArray<Handler> => [
  handler(listRequests, (filter) => Effect.sync(() => requests.list(filter))),
  handler(getRequest, ({ requestId }) => Effect.sync(() => requests.get(requestId) ?? null)),
  handler(cancelRequest, ({ requestId }) => Effect.sync(() => requests.cancel(requestId))),
  handler(backlog, () => Effect.sync(requests.backlog)),
  handler(staleMessages, () => Effect.sync(requests.staleMessagesRefused)),
  handler(listDeadLetters, (filter) => Effect.sync(() => letters.list(filter))),
  handler(getDeadLetter, ({ tenant, requestId }) => letters.get(tenant, requestId)),
  handler(replayDeadLetter, ({ tenant, requestId, versionId }) => letters.replay(tenant, requestId, versionId)),
  handler(dropDeadLetter, ({ tenant, requestId }) => Effect.as(letters.drop(tenant, requestId), null))
]
