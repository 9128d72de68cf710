/**
 * Failures as RFC 9457 problem details, and the one table that says which status, title and retry advice each has.
 *
 * `type` is a URN that programs may compare (`urn:millrace:problem:function-not-found`), `detail` is for people.
 *
 * @module
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"
import type { ControlError } from "./ControlErrors.ts"

export const contentType = "application/problem+json"

/** One thing that is wrong with the request. */
export const ProblemIssue = Schema.Struct({
  in: Schema.Literals(["body", "path", "query", "header"]),
  /** JSON pointer into that part; empty = the part as a whole. */
  pointer: Schema.String,
  detail: Schema.String
})
export type ProblemIssue = typeof ProblemIssue.Type

export interface Problem<Status extends number = number> {
  readonly type: string
  readonly title: string
  readonly status: Status
  readonly detail: string
  /** Path of the request. */
  readonly instance: string
  readonly errors?: ReadonlyArray<ProblemIssue>
}

const of = <const Status extends number>(status: Status, description: string) =>
  Schema.Struct({
    type: Schema.String,
    title: Schema.String,
    status: Schema.Literal(status),
    detail: Schema.String,
    instance: Schema.String,
    errors: Schema.optionalKey(Schema.Array(ProblemIssue))
  })
    .annotate({ description })
    .pipe(HttpApiSchema.status(status), HttpApiSchema.asJson({ contentType }))

export const BadRequest = of(400, "The request is not valid; `errors` says where.")
export const Unauthorized = of(401, "The admin token is missing or wrong.")
export const NotFound = of(404, "It does not exist.")
export const Conflict = of(409, "It does not fit what is there; nothing was changed.")
export const Unavailable = of(
  503,
  "The store or another plane did not answer; `type` says whether something may have been changed."
)

interface Entry {
  readonly status: number
  readonly title: string
  /** Trying the same again can help after so long. */
  readonly retryAfterSeconds?: number
}

/** Every failure of the registry and of the sources. */
export const controlErrors = {
  FunctionNotFound: { status: 404, title: "Function not found" },
  VersionNotFound: { status: 404, title: "Version not found" },
  InstanceNotFound: { status: 404, title: "Instance not found" },
  ClusterNotFound: { status: 404, title: "Cluster not found" },
  RequestNotFound: { status: 404, title: "Request not found" },
  NotDeployed: { status: 404, title: "Version not deployed" },
  VersionOfAnotherFunction: { status: 409, title: "Version of another function" },
  FunctionNameTaken: { status: 409, title: "Function name taken" },
  StillDeployed: { status: 409, title: "Still deployed" },
  RegistryFull: { status: 409, title: "Limit reached" },
  ConcurrentChange: { status: 409, title: "Changed by someone else" },
  RequestEnded: { status: 409, title: "Request ended" },
  DeadLetterNotFound: { status: 404, title: "Dead letter not found" },
  DeadLetterIncomplete: { status: 409, title: "Dead letter without its body" },
  ReplayRefused: { status: 409, title: "Replay refused" },
  SpecInvalid: { status: 400, title: "Spec not valid" },
  FabricUnavailable: { status: 503, title: "Store unavailable", retryAfterSeconds: 1 },
  PeerUnavailable: { status: 503, title: "Plane unavailable", retryAfterSeconds: 1 },
  OutcomeUnknown: { status: 503, title: "Outcome unknown", retryAfterSeconds: 1 }
} as const satisfies Record<ControlError["_tag"], Entry>

/** Every failure that the server finds before or beside a handler. */
export const serverErrors = {
  RequestNotValid: { status: 400, title: "Request not valid" },
  Unauthorized: { status: 401, title: "Unauthorized" },
  HostNotAllowed: { status: 403, title: "Host not allowed" },
  RouteNotFound: { status: 404, title: "No such route" },
  MethodNotAllowed: { status: 405, title: "Method not allowed" },
  RequestTimedOut: { status: 408, title: "Request took too long" },
  BodyTooLarge: { status: 413, title: "Body too large" },
  TargetTooLong: { status: 414, title: "Target too long" },
  ContentTypeUnsupported: { status: 415, title: "Content type not supported" },
  ExpectationFailed: { status: 417, title: "Expectation failed" },
  HeadersTooLarge: { status: 431, title: "Headers too large" },
  InternalError: { status: 500, title: "Internal error" },
  NotImplemented: { status: 501, title: "Not implemented" },
  VersionNotSupported: { status: 505, title: "HTTP version not supported" }
} as const satisfies Record<string, Entry>
export type ServerErrorTag = keyof typeof serverErrors

type StatusOf<E extends ControlError> = (typeof controlErrors)[E["_tag"]]["status"]
/** The problem that an error becomes, with its status in the type: an endpoint must declare it. */
export type ProblemOf<E extends ControlError> = E extends ControlError ? Problem<StatusOf<E>> : never

export const typeOf = (tag: string): string =>
  `urn:millrace:problem:${tag.replace(/(?<=.)[A-Z]/g, (letter) => `-${letter}`).toLowerCase()}`

const detailLengthMax = 1_500
/** Controls, line ends, and what turns the direction of text around. */
const unprintable = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/** A sentence may quote what the caller sent, and is shown in terminals and logs. */
const plain = (text: string): string => {
  const printable = text.replace(unprintable, "?")
  return printable.length > detailLengthMax ? `${printable.slice(0, detailLengthMax)}...` : printable
}

export const fromControlError = <E extends ControlError>(error: E, instance: string): ProblemOf<E> => {
  const { status, title } = controlErrors[error._tag]
  const problem: Problem = {
    type: typeOf(error._tag),
    title,
    status,
    detail: plain(error.message),
    instance,
    ...(error._tag === "SpecInvalid" ? { errors: error.issues.map(issueOfSpec) } : {})
  }
  // The status was read from the table under the error's own tag, which is what the type says.
  return problem as ProblemOf<E>
}

const issueOfSpec = ({ path, message }: { readonly path: string; readonly message: string }): ProblemIssue => ({
  in: "body",
  pointer: path === "" ? "" : `/${path.replaceAll(".", "/")}`,
  detail: plain(message)
})

export const fromServerError = (
  tag: ServerErrorTag,
  options: { readonly detail: string; readonly instance: string; readonly errors?: ReadonlyArray<ProblemIssue> }
): Problem => ({
  type: typeOf(tag),
  title: serverErrors[tag].title,
  status: serverErrors[tag].status,
  detail: plain(options.detail),
  instance: options.instance,
  ...(options.errors === undefined
    ? {}
    : {
        errors: options.errors.map((issue) => ({
          ...issue,
          detail: plain(issue.detail),
          pointer: plain(issue.pointer)
        }))
      })
})

export const toResponse = (
  problem: Problem,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(JSON.stringify(problem), { status: problem.status, contentType, headers })
