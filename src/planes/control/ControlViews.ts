/**
 * The shapes that the control API shows, beside the stored ones of `Domain.ts`. Each is held equal to the interface it
 * shows by the compiler.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import type { DeadLetterContent } from "../invocation/DeadLetterDirectory.ts"
import type { DeadLetter } from "../invocation/DeadLetters.ts"
import type { RequestView as DirectoryRequestView } from "../invocation/RequestDirectory.ts"
import type * as ControlView from "./ControlView.ts"
import {
  DeploymentRecord,
  DeploymentSpec,
  Durability,
  deploymentDefaults,
  FunctionRecord,
  startsSomething,
  VersionSpec
} from "./Domain.ts"

export const DeploymentStatus = Schema.Struct({
  versionId: Schema.String,
  status: Schema.Literals(["idle", "scaling", "ready", "degraded", "failed", "undeployed"]),
  detail: Schema.String,
  desired: Schema.Int,
  starting: Schema.Int,
  ready: Schema.Int,
  draining: Schema.Int
})

export const Backlog = Schema.Struct({
  versionId: Schema.String,
  pending: Schema.Int,
  leased: Schema.Int,
  freeSlots: Schema.Int,
  oldestPendingMs: Schema.NullOr(Schema.Number)
})

export const FunctionView = Schema.Struct({
  ...FunctionRecord.fields,
  /** What calls without a version get; null = nothing is active. */
  active: Schema.NullOr(
    Schema.Struct({
      versionId: Schema.String,
      number: Schema.Int,
      deployment: Schema.NullOr(DeploymentStatus),
      backlog: Schema.NullOr(Backlog)
    })
  )
})
export type FunctionView = typeof FunctionView.Type

export const DeploymentView = Schema.Struct({
  ...DeploymentRecord.fields,
  status: DeploymentStatus,
  backlog: Schema.NullOr(Backlog)
})
export type DeploymentView = typeof DeploymentView.Type

/** What to run, as given: left out is the default. */
export const VersionInput = Schema.Struct({
  ...VersionSpec.fields,
  command: VersionSpec.fields.command.pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  environment: VersionSpec.fields.environment.pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  durability: Durability.pipe(Schema.withDecodingDefaultKey(Effect.succeed("accepted" as const))),
  inferencePath: VersionSpec.fields.inferencePath.pipe(Schema.withDecodingDefaultKey(Effect.succeed("/")))
}).check(startsSomething)

/** How to run it, as given: left out is the default, also when a deployment is replaced. */
export const DeploymentInput = Schema.Struct(Struct.map(DeploymentSpec.fields, Schema.optionalKey)).check(
  Schema.makeFilter((given) => {
    const { minInstances, maxInstances } = { ...deploymentDefaults, ...given }
    return minInstances <= maxInstances
      ? undefined
      : {
          path: ["minInstances"],
          issue: `minInstances (${minInstances}) must not exceed maxInstances (${maxInstances})`
        }
  })
)

export const LogLine = Schema.Struct({
  instanceId: Schema.String,
  atMs: Schema.Number,
  /** `millrace`: said by the platform about the log itself. */
  stream: Schema.Literals(["stdout", "stderr", "millrace"]),
  text: Schema.String
})
export type LogLine = typeof LogLine.Type

const PhaseMs = Schema.optionalKey(Schema.Number)
export const RequestState = Schema.Literals([
  "pending",
  "leased",
  "responding",
  "responded",
  "failed",
  "expired",
  "cancelled",
  "dead-lettered"
])

const Reason = Schema.Literals([
  "caller-cancelled",
  "caller-left",
  "deadline-passed",
  "worker-lost",
  "lease-expired",
  "handler-failed",
  "attempts-exhausted",
  "function-removed",
  "store-failed"
])
const History = Schema.Array(Schema.Struct({ atMs: Schema.Number, what: Schema.String }))

/** What a request is, whatever became of it. */
const requestFacts = {
  requestId: Schema.String,
  tenant: Schema.String,
  functionId: Schema.String,
  functionName: Schema.String,
  versionId: Schema.String,
  method: Schema.String,
  path: Schema.String,
  mode: Schema.Literals(["sync", "async"]),
  durability: Durability
}

export const RequestView = Schema.Struct({
  ...requestFacts,
  state: RequestState,
  attempt: Schema.Int,
  maxAttempts: Schema.Int,
  arrivedAtMs: Schema.Number,
  deadlineMs: Schema.Number,
  endedAtMs: Schema.NullOr(Schema.Number),
  keepUntilMs: Schema.NullOr(Schema.Number),
  position: Schema.NullOr(Schema.Int),
  cause: Schema.String,
  reason: Schema.NullOr(Reason),
  message: Schema.NullOr(Schema.String),
  instanceId: Schema.NullOr(Schema.String),
  stored: Schema.Boolean,
  resultKept: Schema.Boolean,
  progress: Schema.NullOr(Schema.Struct({ percent: Schema.Number, note: Schema.String })),
  phases: Schema.Struct({
    admit: PhaseMs,
    store: PhaseMs,
    queue: PhaseMs,
    place: PhaseMs,
    start: PhaseMs,
    startImage: PhaseMs,
    startWeights: PhaseMs,
    startProcess: PhaseMs,
    startInitialise: PhaseMs,
    startConnect: PhaseMs,
    dispatch: PhaseMs,
    run: PhaseMs,
    platform: PhaseMs
  }),
  history: History,
  /** Id of the request whose dead letter it replays. */
  replayOf: Schema.NullOr(Schema.String)
})

export const DeadLetterView = Schema.Struct({
  ...requestFacts,
  attempts: Schema.Int,
  maxAttempts: Schema.Int,
  reason: Reason,
  message: Schema.NullOr(Schema.String),
  arrivedAtMs: Schema.Number,
  deadAtMs: Schema.Number,
  keepUntilMs: Schema.Number,
  timeoutMs: Schema.Number,
  bodyBytes: Schema.Int,
  /** False: the body never came whole, so it cannot be replayed. */
  bodyKept: Schema.Boolean,
  replay: Schema.NullOr(Schema.Struct({ requestId: Schema.String, atMs: Schema.Number }))
})

export const DeadLetterContentView = Schema.Struct({
  ...DeadLetterView.fields,
  /** Credentials are hidden here and sent as they were by a replay. */
  headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  /** The first 64 KiB; null = it never came whole. */
  body: Schema.NullOr(
    Schema.Struct({
      encoding: Schema.Literals(["utf8", "base64"]),
      content: Schema.String,
      isTruncated: Schema.Boolean
    })
  ),
  history: History
})

export const ReplayView = Schema.Struct({
  /** Of the new request. */
  requestId: Schema.String,
  atMs: Schema.Number,
  /** False: it had been replayed before, and nothing runs again. */
  isNew: Schema.Boolean
})

export const StartTimeline = Schema.Struct({
  instanceId: Schema.String,
  demandAtMs: Schema.Number,
  createdAtMs: Schema.Number,
  startedAtMs: Schema.NullOr(Schema.Number),
  readyAtMs: Schema.NullOr(Schema.Number),
  phases: Schema.NullOr(
    Schema.Struct({ processMs: Schema.Number, initialiseMs: Schema.Number, connectMs: Schema.Number })
  )
})

export const ScaleDecision = Schema.Struct({
  atMs: Schema.Number,
  versionId: Schema.String,
  from: Schema.Int,
  to: Schema.Int,
  policy: Schema.String,
  reason: Schema.String,
  inputs: Schema.Record(Schema.String, Schema.Union([Schema.Number, Schema.String, Schema.Null]))
})

/** One request with everything that explains where its time went. */
export const Explanation = Schema.Struct({
  request: RequestView,
  /** Sentences, in order of time. */
  lines: Schema.Array(Schema.String),
  /** Why nothing runs it at the moment; null when it does not wait, or a slot is free. */
  waitingFor: Schema.NullOr(Schema.String),
  start: Schema.NullOr(StartTimeline),
  decisions: Schema.Array(ScaleDecision),
  deployment: Schema.NullOr(DeploymentStatus)
})
export type Explanation = typeof Explanation.Type

export const ClusterView = Schema.Struct({
  name: Schema.String,
  region: Schema.String,
  group: Schema.optionalKey(Schema.String),
  attributes: Schema.optionalKey(Schema.Array(Schema.String)),
  compliance: Schema.optionalKey(Schema.Array(Schema.String)),
  backend: Schema.String,
  isolation: Schema.String,
  state: Schema.Literals(["healthy", "unreachable"]),
  cordoned: Schema.Boolean,
  draining: Schema.Boolean,
  lastHeardAtMs: Schema.Number,
  instanceTypes: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      gpuKind: Schema.String,
      gpuCount: Schema.Int,
      total: Schema.Int,
      free: Schema.Int
    })
  )
})

type Equal<Left, Right> = [Left, Right] extends [Right, Left] ? true : false
type Shown<Checks extends true> = Checks
export type _Checked = [
  Shown<Equal<typeof RequestView.Type, DirectoryRequestView>>,
  Shown<Equal<typeof DeadLetterView.Type, DeadLetter>>,
  Shown<Equal<typeof DeadLetterContentView.Type, DeadLetterContent>>,
  Shown<Equal<typeof DeploymentStatus.Type, ControlView.DeploymentStatus>>,
  Shown<Equal<typeof StartTimeline.Type, ControlView.StartTimeline>>,
  Shown<Equal<typeof ScaleDecision.Type, ControlView.ScaleDecision>>,
  Shown<Equal<typeof ClusterView.Type, ControlView.ClusterView>>
]
