/**
 * The control API as a value: routes, shapes and failures. Handlers are in `ControlHandlers.ts`, the server around them
 * in `ControlServer.ts`; the OpenAPI document is made from here.
 *
 * @module
 */
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { InstanceReport } from "../compute/AgentMessage.ts"
import * as Views from "./ControlViews.ts"
import { FunctionRecord, VersionRecord } from "./Domain.ts"
import * as Problem from "./Problem.ts"
import { pageSizeMax } from "./Registry.ts"

const Limit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: pageSizeMax })).annotate({
  description: `1 to ${pageSizeMax}; 100 when left out`
})
const Flag = Schema.Literals(["true", "false"]).annotate({ description: "`true`: also what is deployed" })
const optional = Schema.optionalKey

const FunctionReference = Schema.String.annotate({ description: "Id or name of a function" })
const DeadLetterCursor = Schema.String.check(Schema.isPattern(/^\d{1,16}(?:\.\d{1,16})?\.[0-9a-f-]{36}$/)).annotate({
  description: "`next` of the page before"
})
const functionParams = { function: FunctionReference }
const versionParams = { versionId: Schema.String }
const instanceParams = { instanceId: Schema.String }
const clusterParams = { cluster: Schema.String }
const requestParams = { requestId: Schema.String }

const page = <S extends Schema.Top>(item: S) =>
  Schema.Struct({
    items: Schema.Array(item),
    /** Give it as `after` to go on; null at the end. */
    next: Schema.NullOr(Schema.String)
  })
const list = <S extends Schema.Top>(item: S) => Schema.Struct({ items: Schema.Array(item) })
const created = HttpApiSchema.status(201)

const about = (summary: string, description?: string) =>
  OpenApi.annotations({ summary, ...(description === undefined ? {} : { description }) })

/** Turns what a schema refuses into problem details. */
export class SchemaProblems extends HttpApiMiddleware.Service<SchemaProblems>()(
  "millrace/planes/control/SchemaProblems",
  { error: [Problem.BadRequest, Problem.Unauthorized] }
) {}

const functions = HttpApiGroup.make("functions")
  .add(
    HttpApiEndpoint.post("createFunction", "/functions", {
      payload: Schema.Struct({ name: FunctionRecord.fields.name }),
      success: Views.FunctionView.pipe(created),
      error: [Problem.BadRequest, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Create a function", "It has no version yet, so calls to it answer 404 or 409.")),
    HttpApiEndpoint.get("listFunctions", "/functions", {
      query: {
        name: optional(Schema.String.annotate({ description: "Exactly this name" })),
        prefix: optional(Schema.String.annotate({ description: "Names that start so" })),
        after: optional(Schema.String.annotate({ description: "`next` of the page before" })),
        limit: optional(Limit)
      },
      success: page(Views.FunctionView)
    }).annotateMerge(about("List functions in order of name")),
    HttpApiEndpoint.get("getFunction", "/functions/:function", {
      params: functionParams,
      success: Views.FunctionView,
      error: Problem.NotFound
    }).annotateMerge(about("Show a function")),
    HttpApiEndpoint.delete("deleteFunction", "/functions/:function", {
      params: functionParams,
      query: { force: optional(Flag) },
      success: HttpApiSchema.NoContent,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(
      about("Delete a function with all its versions", "Refused while any version is deployed, unless `force=true`.")
    ),
    HttpApiEndpoint.put("setActiveVersion", "/functions/:function/active-version", {
      params: functionParams,
      payload: Schema.Struct({ versionId: Schema.NullOr(Schema.String) }),
      success: Views.FunctionView,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Choose the version that calls without a version get")),
    HttpApiEndpoint.get("functionLogs", "/functions/:function/logs", {
      params: functionParams,
      query: { follow: optional(Flag) },
      success: [list(Views.LogLine), HttpApiSchema.StreamNdjson({ schema: Views.LogLine })],
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(
      about("Output of all instances of a function", "With `follow=true` as NDJSON: the kept tail, then new lines.")
    )
  )
  .prefix("/v1")
  .middleware(SchemaProblems)

const versions = HttpApiGroup.make("versions")
  .add(
    HttpApiEndpoint.post("createVersion", "/functions/:function/versions", {
      params: functionParams,
      payload: Views.VersionInput,
      success: VersionRecord.pipe(created),
      error: [Problem.BadRequest, Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Create a version", "A version never changes. It takes calls once it is deployed.")),
    HttpApiEndpoint.get("listVersions", "/functions/:function/versions", {
      params: functionParams,
      query: { after: optional(Schema.String), limit: optional(Limit) },
      success: page(VersionRecord),
      error: Problem.NotFound
    }).annotateMerge(about("List the versions of a function, newest first")),
    HttpApiEndpoint.get("getVersion", "/versions/:versionId", {
      params: versionParams,
      success: VersionRecord,
      error: Problem.NotFound
    }).annotateMerge(about("Show a version")),
    HttpApiEndpoint.delete("deleteVersion", "/versions/:versionId", {
      params: versionParams,
      query: { force: optional(Flag) },
      success: HttpApiSchema.NoContent,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Delete a version", "Refused while it is deployed, unless `force=true`."))
  )
  .prefix("/v1")
  .middleware(SchemaProblems)

const deployments = HttpApiGroup.make("deployments")
  .add(
    HttpApiEndpoint.put("deploy", "/versions/:versionId/deployment", {
      params: versionParams,
      payload: Views.DeploymentInput,
      success: Views.DeploymentView,
      error: [Problem.BadRequest, Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(
      about(
        "Deploy a version, or replace how it is deployed",
        "What is left out has its default. The first deployed version of a function becomes its active one."
      )
    ),
    HttpApiEndpoint.get("getDeployment", "/versions/:versionId/deployment", {
      params: versionParams,
      success: Views.DeploymentView,
      error: Problem.NotFound
    }).annotateMerge(about("Show a deployment and how it is doing")),
    HttpApiEndpoint.delete("undeploy", "/versions/:versionId/deployment", {
      params: versionParams,
      success: HttpApiSchema.NoContent,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Undeploy a version", "Undeploying what is not deployed succeeds.")),
    HttpApiEndpoint.post("restart", "/versions/:versionId/deployment/restart", {
      params: versionParams,
      success: Views.DeploymentView,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Replace all instances", "New ones take over; old ones finish what they hold and end."))
  )
  .prefix("/v1")
  .middleware(SchemaProblems)

const runtime = HttpApiGroup.make("runtime")
  .add(
    HttpApiEndpoint.get("listInstances", "/instances", {
      query: {
        function: optional(FunctionReference),
        versionId: optional(Schema.String),
        state: optional(InstanceReport.fields.state)
      },
      success: list(InstanceReport),
      error: Problem.NotFound
    }).annotateMerge(about("List instances", "Those that live, and some that ended lately.")),
    HttpApiEndpoint.get("getInstance", "/instances/:instanceId", {
      params: instanceParams,
      success: InstanceReport,
      error: Problem.NotFound
    }).annotateMerge(about("Show an instance")),
    HttpApiEndpoint.get("instanceLogs", "/instances/:instanceId/logs", {
      params: instanceParams,
      query: { follow: optional(Flag) },
      success: [list(Views.LogLine), HttpApiSchema.StreamNdjson({ schema: Views.LogLine })],
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(
      about("Output of an instance", "With `follow=true` as NDJSON: the kept tail, then new lines as they come.")
    ),
    HttpApiEndpoint.get("listClusters", "/clusters", { success: list(Views.ClusterView) }).annotateMerge(
      about("List clusters with their capacity")
    ),
    HttpApiEndpoint.post("cordonCluster", "/clusters/:cluster/cordon", {
      params: clusterParams,
      success: Views.ClusterView,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("Cordon a cluster", "It takes no new instances; those that it has go on.")),
    HttpApiEndpoint.post("drainCluster", "/clusters/:cluster/drain", {
      params: clusterParams,
      success: Views.ClusterView,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(
      about("Drain a cluster", "Cordoned, and its instances are replaced elsewhere: each leaves when it is done.")
    ),
    HttpApiEndpoint.post("uncordonCluster", "/clusters/:cluster/uncordon", {
      params: clusterParams,
      success: Views.ClusterView,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("Let a cluster take instances again", "Ends a cordon and a drain.")),
    HttpApiEndpoint.get("listDecisions", "/decisions", {
      query: { versionId: optional(Schema.String), limit: optional(Limit) },
      success: list(Views.ScaleDecision)
    }).annotateMerge(about("Scale decisions with their reasons, newest first"))
  )
  .prefix("/v1")
  .middleware(SchemaProblems)

const requests = HttpApiGroup.make("requests")
  .add(
    HttpApiEndpoint.get("listRequests", "/requests", {
      query: {
        function: optional(FunctionReference),
        versionId: optional(Schema.String),
        state: optional(Views.RequestState),
        limit: optional(Limit)
      },
      success: list(Views.RequestView),
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("List requests, newest first", "All that live, and those that ended lately.")),
    HttpApiEndpoint.get("getRequest", "/requests/:requestId", {
      params: requestParams,
      success: Views.RequestView,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("Show a request: its state, its position, and why it waits")),
    HttpApiEndpoint.delete("cancelRequest", "/requests/:requestId", {
      params: requestParams,
      success: HttpApiSchema.NoContent,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Cancel a request", "Answers 409 when it had ended already.")),
    HttpApiEndpoint.post("cancelRequestByPost", "/requests/:requestId/cancel", {
      params: requestParams,
      success: HttpApiSchema.NoContent,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(about("Cancel a request, for callers that cannot send DELETE")),
    HttpApiEndpoint.get("explainRequest", "/requests/:requestId/explain", {
      params: requestParams,
      success: Views.Explanation,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("Explain a request", "Where its time went, what it waits for, and the decisions it caused."))
  )
  .prefix("/v1")
  .middleware(SchemaProblems)

const deadLetters = HttpApiGroup.make("deadLetters")
  .add(
    HttpApiEndpoint.get("listDeadLetters", "/dead-letters", {
      query: {
        function: optional(FunctionReference),
        versionId: optional(Schema.String),
        replayed: optional(Flag),
        after: optional(DeadLetterCursor),
        limit: optional(Limit)
      },
      success: page(Views.DeadLetterView),
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("List dead letters, latest first", "Requests whose every attempt was lost.")),
    HttpApiEndpoint.get("getDeadLetter", "/dead-letters/:requestId", {
      params: requestParams,
      success: Views.DeadLetterContentView,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("Show a dead letter with its request", "Of the body at most the first 64 KiB.")),
    HttpApiEndpoint.post("replayDeadLetter", "/dead-letters/:requestId/replay", {
      params: requestParams,
      query: { versionId: optional(Schema.String.annotate({ description: "Who runs it; else the active version" })) },
      success: Views.ReplayView,
      error: [Problem.NotFound, Problem.Conflict, Problem.Unavailable]
    }).annotateMerge(
      about(
        "Make a new request of a dead letter",
        "The new request is on stable storage when this answers. Replaying again answers the same and runs nothing."
      )
    ),
    HttpApiEndpoint.delete("dropDeadLetter", "/dead-letters/:requestId", {
      params: requestParams,
      success: HttpApiSchema.NoContent,
      error: [Problem.NotFound, Problem.Unavailable]
    }).annotateMerge(about("Drop a dead letter"))
  )
  .prefix("/v1")
  .middleware(SchemaProblems)

export const ControlApi = HttpApi.make("millrace")
  .add(functions)
  .add(versions)
  .add(deployments)
  .add(runtime)
  .add(requests)
  .add(deadLetters)
  // A misspelt field or filter would otherwise be ignored in silence, and the answer would be to another question.
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotateMerge(
    OpenApi.annotations({
      title: "Millrace control API",
      version: "1",
      description:
        "Functions, versions, deployments, and what runs. Send the admin token of the state directory as " +
        "`authorization: Bearer ...`. Every failure is `application/problem+json`.",
      transform: (document) => ({
        ...document,
        security: [{ adminToken: [] }],
        components: {
          ...(typeof document["components"] === "object" ? document["components"] : {}),
          securitySchemes: { adminToken: { type: "http", scheme: "bearer" } }
        }
      })
    })
  )
