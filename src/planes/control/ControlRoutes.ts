/**
 * The control API as one web handler: routes, problem details for what no route answers, the OpenAPI document and its
 * page. What a request must pass before it gets here is in `ControlServer.ts`.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { HttpServerError } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import { ControlApi, SchemaProblems } from "./ControlApi.ts"
import * as ControlHandlers from "./ControlHandlers.ts"
import {
  type ClusterOrdersSource,
  type DeadLettersSource,
  type InstancesSource,
  type LogsSource,
  RequestsSource
} from "./ControlSources.ts"
import * as DocsPage from "./DocsPage.ts"
import * as Problem from "./Problem.ts"
import type { Registry } from "./Registry.ts"

/** Whoever asks for health asks often, and wants to know soon. */
const healthLimitMs = 500

/** Served to anyone on this machine; everything else needs the admin token. */
export const publicPaths: ReadonlySet<string> = new Set(["/healthz", "/openapi.json", "/docs"])

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()
const parts = { Params: "path", Headers: "header", Query: "query", Payload: "body" } as const
/** A body can be wrong in a thousand places; the first ones are enough to go on. */
const issuesMax = 20

const pointerOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>) =>
  path
    .map((segment) => String(typeof segment === "object" ? segment.key : segment))
    .map((segment) => `/${segment.replaceAll("~", "~0").replaceAll("/", "~1")}`)
    .join("")

export const pathOf = (url: string): string => {
  const query = url.indexOf("?")
  return query === -1 ? url : url.slice(0, query)
}

const schemaProblem = Effect.fnUntraced(function* (error: HttpApiSchemaError) {
  const instance = pathOf((yield* HttpServerRequest).url)
  if (error.kind === "Body" || error.kind === "ResponseHeaders") {
    yield* Effect.logError("an answer of the control API did not fit its schema", { instance, error: error.cause })
    return Problem.toResponse(
      Problem.fromServerError("InternalError", { instance, detail: "the answer could not be built: this is a defect" })
    )
  }
  const part = parts[error.kind]
  const errors = formatIssues(error.cause.issue)
    .issues.slice(0, issuesMax)
    .map(({ path, message }) => ({ in: part, pointer: pointerOf(path ?? []), detail: message }))
  const where = errors.map(({ pointer, detail }) => `${part}${pointer === "" ? "" : ` ${pointer}`}: ${detail}`)
  const detail = `the request is not valid, nothing was changed: ${where.join("; ")}`
  return Problem.toResponse(Problem.fromServerError("RequestNotValid", { instance, detail, errors }))
})

interface Template {
  readonly method: string
  readonly segments: ReadonlyArray<string>
}

const templates: ReadonlyArray<Template> = [
  ...[...publicPaths].map((path) => ({ method: "GET", segments: path.split("/") })),
  ...Object.values(ControlApi.groups).flatMap((group) =>
    Object.values(group.endpoints).map(({ method, path }) => ({ method, segments: path.split("/") }))
  )
]

/** Methods that some route has for this path. */
export const allowed = (path: string): ReadonlyArray<string> => {
  const segments = path.split("/")
  const matching = templates.filter(
    (template) =>
      template.segments.length === segments.length &&
      template.segments.every((segment, index) =>
        segment.startsWith(":") ? segments[index] !== "" : segment === segments[index]
      )
  )
  return [...new Set(matching.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])))]
}

/** 405 when another method would do, else 404. */
export const unroutable = (method: string, path: string): HttpServerResponse.HttpServerResponse => {
  const methods = allowed(path)
  if (methods.length > 0 && !methods.includes(method)) {
    const detail = `${path} does not take ${method}; it takes ${methods.join(", ")}`
    const problem = Problem.fromServerError("MethodNotAllowed", { instance: path, detail })
    return Problem.toResponse(problem, { allow: methods.join(", ") })
  }
  const detail = `there is nothing at ${path}: GET /docs shows all routes`
  return Problem.toResponse(Problem.fromServerError("RouteNotFound", { instance: path, detail }))
}

const failed = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
  const request = yield* HttpServerRequest
  const path = pathOf(request.url)
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error instanceof HttpServerError && error.reason._tag === "RouteNotFound") return unroutable(request.method, path)
  if (Cause.hasInterruptsOnly(cause)) return yield* Effect.failCause(cause)
  yield* Effect.logError("a call of the control API failed", { method: request.method, path }, cause)
  const detail = "the control API failed on this request; its log says more. Reading calls can be repeated safely"
  return Problem.toResponse(Problem.fromServerError("InternalError", { instance: path, detail }))
})

const withRetryAfter = (response: HttpServerResponse.HttpServerResponse) =>
  response.status === 503 ? HttpServerResponse.setHeader(response, "retry-after", "1") : response

const documentation = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    // Made at the first look: nobody waits for it at the start.
    const made: { document?: OpenApi.OpenAPISpec } = {}
    const document = () => {
      made.document ??= OpenApi.fromApi(ControlApi)
      return made.document
    }
    const requests = yield* RequestsSource
    // Null where no invocation plane could be asked in time.
    const staleMessages = requests.staleMessagesRefused.pipe(
      Effect.timeoutOption(healthLimitMs),
      Effect.catch(() => Effect.succeedNone)
    )
    yield* router.add(
      "GET",
      "/healthz",
      Effect.map(staleMessages, (count) =>
        HttpServerResponse.jsonUnsafe({ status: "ok", staleMessagesRefused: Option.getOrNull(count) })
      )
    )
    yield* router.add(
      "GET",
      "/openapi.json",
      Effect.sync(() => HttpServerResponse.jsonUnsafe(document()))
    )
    yield* router.add(
      "GET",
      "/docs",
      Effect.sync(() =>
        HttpServerResponse.html(DocsPage.render(document())).pipe(
          HttpServerResponse.setHeader("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
        )
      )
    )
  })
)

const api = HttpApiBuilder.layer(ControlApi).pipe(
  Layer.provide(ControlHandlers.layer),
  Layer.provide(HttpApiMiddleware.layerSchemaErrorTransform(SchemaProblems, schemaProblem))
)

type Services = Registry | RequestsSource | DeadLettersSource | InstancesSource | LogsSource | ClusterOrdersSource
export type WebHandler = (request: Request) => Promise<Response>

/** Answers every request, whatever is in it. An aborted request interrupts its handler. */
export const make: Effect.Effect<WebHandler, never, Services | Scope.Scope> = Effect.gen(function* () {
  const routed = yield* HttpRouter.toHttpEffect(
    Layer.mergeAll(api, documentation).pipe(Layer.provide(HttpServer.layerServices))
  )
  const context = yield* Effect.context<Services>()
  return HttpEffect.toWebHandlerWith<Services, HttpServerRequest | Scope.Scope>(context)(
    routed.pipe(Effect.catchCause(failed), Effect.map(withRetryAfter))
  )
})
