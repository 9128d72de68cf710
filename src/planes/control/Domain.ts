/**
 * What tenants and operators register: functions, versions, deployments. Stored in the key-value store as JSON, shown
 * by the control API in the same shape.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Chart from "../../core/chart/Chart.ts"
import { PolicyChoice } from "../../core/scaling/PolicyChoice.ts"

const Name = Schema.String.check(
  Schema.isPattern(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, {
    message: "expected 1 to 63 of a-z, 0-9 and -, not - at either end"
  })
).annotate({ description: "1 to 63 of a-z, 0-9 and -, not - at either end" })
/** What a subject, a label or a path is made of: nothing in it may mean something there. */
const Label = Schema.String.check(
  Schema.isPattern(/^(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, {
    message: "expected 1 to 63 of A-Z, a-z, 0-9, and between them single dots, - and _"
  })
)
/** One word of a subject, so without dots. */
const ClusterName = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$/, {
    message: "expected 1 to 63 of A-Z, a-z, 0-9, and between them - and _"
  })
)
export const clustersMax = 64

/** The operating system ends such a text at its first NUL. */
const SystemText = (bytesMax: number) =>
  Schema.String.check(Schema.isMaxLength(bytesMax), Schema.isPattern(/^[^\0]*$/)).annotate({
    description: `at most ${bytesMax} characters, none of them NUL`
  })
/** Linux takes 128 KiB for one of them, and 2 MiB for all. */
const argumentLengthMax = 32_768
const argumentsMax = 256
const variablesMax = 512
const variableName = /^[A-Za-z_.-][A-Za-z0-9_.-]{0,254}$/

const Environment = Schema.Record(Schema.String, SystemText(argumentLengthMax)).check(
  Schema.makeFilter((environment) => {
    const names = Object.keys(environment)
    if (names.length > variablesMax) {
      return { path: [], issue: `${names.length} variables where ${variablesMax} is the most` }
    }
    const wrong = names.find((name) => !variableName.test(name))
    return wrong === undefined
      ? undefined
      : {
          path: [wrong],
          issue: "a variable's name has 1 to 255 of A-Z, a-z, 0-9, _, . and -, no digit at its beginning"
        }
  })
)

const PositiveMs = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 86_400_000 }))

/** Deployments that were stored before the member existed have its default. */
const withDefault = <S extends Schema.Top & Schema.WithoutConstructorDefault>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

export const FunctionId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("FunctionId"))
export type FunctionId = typeof FunctionId.Type
export const VersionId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("VersionId"))
export type VersionId = typeof VersionId.Type

export const Durability = Schema.Literals(["accepted", "always", "memory"])

interface Startable {
  readonly command: ReadonlyArray<string>
  readonly image?: string
  readonly chart?: Chart.Chart
  readonly health?: unknown
  readonly workingDirectory?: string
  readonly environment: Readonly<Record<string, string>>
}

/** A version without a command is what its image brings, or its chart. */
export const startsSomething = Schema.makeFilter((version: Startable) => {
  const { command, image, chart, health } = version
  if (chart !== undefined) return besideChart(version)
  if (health !== undefined && image === undefined) {
    return { path: ["health"], issue: "it belongs to an image: a command is wrapped by `millrace worker wrap`" }
  }
  return command.length > 0 || image !== undefined
    ? undefined
    : { path: ["command"], issue: "a version has a command, an image, or both; or a chart" }
})

/** A chart says all that its containers are told. */
const besideChart = ({ command, image, health, workingDirectory, environment }: Startable) => {
  const given = Object.entries({
    command: command.length > 0,
    image: image !== undefined,
    health: health !== undefined,
    workingDirectory: workingDirectory !== undefined,
    environment: Object.keys(environment).length > 0
  }).find(([, isGiven]) => isGiven)
  return given === undefined
    ? undefined
    : { path: [given[0]], issue: "a version with a chart has none of its own: the chart says what runs" }
}

/** What to run. Immutable once the version exists. */
export const VersionSpec = Schema.Struct({
  /** Program and arguments; `node` means the Node that runs Millrace. Empty = the image's own. */
  command: Schema.Array(SystemText(argumentLengthMax)).check(
    Schema.isMaxLength(argumentsMax),
    Schema.makeFilter((words) => (words[0] === "" ? { path: [0], issue: "the program has no name" } : undefined))
  ),
  /** For backends that run images. */
  image: Schema.optionalKey(
    Schema.String.check(Schema.isMaxLength(1_024), Schema.isPattern(/^[A-Za-z0-9][\x21-\x7e]*$/)).annotate({
      description: "name of an image, with tag or digest; visible ASCII, at most 1024 characters"
    })
  ),
  /** Of an image whose server speaks no worker protocol: where it listens, and what answers 2xx when it takes calls. */
  health: Schema.optionalKey(Schema.Struct({ port: Chart.Port, path: Chart.HealthPath })),
  /** A Helm function, for backends that run charts. */
  chart: Schema.optionalKey(Chart.Chart),
  workingDirectory: Schema.optionalKey(SystemText(4_096).check(Schema.isMinLength(1))),
  environment: Environment,
  durability: Durability,
  /** Path that `exec`/`pexec` invocations call. */
  inferencePath: Schema.String.check(Schema.isMaxLength(2_048), Schema.isPattern(/^\/[\x21\x22\x24-\x7e]*$/)).annotate({
    description: "begins with /; visible ASCII without #, at most 2048 characters"
  })
}).check(startsSomething)
export type VersionSpec = typeof VersionSpec.Type

export const FunctionRecord = Schema.Struct({
  id: FunctionId,
  tenant: Schema.String,
  name: Name,
  createdAt: Schema.String,
  /** Receives the calls that name no version. */
  activeVersionId: Schema.NullOr(VersionId)
})
export type FunctionRecord = typeof FunctionRecord.Type

export const VersionRecord = Schema.Struct({
  id: VersionId,
  functionId: FunctionId,
  tenant: Schema.String,
  /** Counts from 1 within the function. */
  number: Schema.Int,
  createdAt: Schema.String,
  spec: VersionSpec
})
export type VersionRecord = typeof VersionRecord.Type

const Demanded = Schema.Array(Label).check(Schema.isMaxLength(clustersMax))

/** How a version should run. */
export const DeploymentSpec = Schema.Struct({
  minInstances: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 })),
  maxInstances: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })),
  /** Requests that one instance takes at a time (its slots). */
  concurrency: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })),
  /** Without any request for this long, an instance above `minInstances` is stopped. */
  idleWindowMs: Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 86_400_000 })),
  startDeadlineMs: PositiveMs,
  graceMs: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_600_000 })),
  /** A request that names no deadline gets this one. */
  requestTimeoutMs: PositiveMs,
  maxAttempts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 })),
  /** Before a lost attempt is followed by another: doubles from the first to the largest, less up to half by chance. */
  redeliveryDelayMs: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 })), 100),
  redeliveryDelayMaxMs: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 })), 30_000),
  /** How long a kept result can be claimed after its request ended. */
  resultRetentionMs: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 604_800_000 })), 3_600_000),
  /** What becomes of a request whose caller left and had not said; `continue` keeps its result. */
  onCallerGone: withDefault(Schema.Literals(["continue", "cancel"]), "continue"),
  bodyBytesMax: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_099_511_627_776 })),
  /** A name, or an object with the name and options of the policy. */
  policy: PolicyChoice,
  instanceType: Label,
  gpu: Schema.Struct({ kind: Label, count: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1024 })) }),
  cpuMillis: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_024_000 })),
  memoryBytes: Schema.Int.check(Schema.isBetween({ minimum: 1_048_576, maximum: 70_368_744_177_664 })),
  /** Names of clusters it may run in; empty = any. */
  clusters: Schema.Array(ClusterName).check(Schema.isMaxLength(clustersMax)),
  /** Regions it may run in; empty = any. */
  regions: withDefault(Demanded, []),
  /** Groups of clusters it may run in; empty = any. */
  groups: withDefault(Demanded, []),
  /** What the cluster must have, all of them. */
  attributes: withDefault(Demanded, []),
  /** What the cluster must be certified for, all of them. */
  compliance: withDefault(Demanded, [])
}).check(
  Schema.makeFilter((spec) =>
    spec.minInstances <= spec.maxInstances
      ? undefined
      : { path: ["minInstances"], issue: "minInstances must not exceed maxInstances" }
  )
)
export type DeploymentSpec = typeof DeploymentSpec.Type

export const deploymentDefaults: DeploymentSpec = {
  minInstances: 0,
  maxInstances: 4,
  concurrency: 16,
  idleWindowMs: 60_000,
  startDeadlineMs: 60_000,
  graceMs: 10_000,
  requestTimeoutMs: 1_200_000,
  maxAttempts: 3,
  redeliveryDelayMs: 100,
  redeliveryDelayMaxMs: 30_000,
  resultRetentionMs: 3_600_000,
  onCallerGone: "continue",
  bodyBytesMax: 100 * 1024 * 1024,
  policy: "demand",
  instanceType: "local",
  gpu: { kind: "none", count: 0 },
  cpuMillis: 1_000,
  memoryBytes: 512 * 1024 * 1024,
  clusters: [],
  regions: [],
  groups: [],
  attributes: [],
  compliance: []
}

export const DeploymentRecord = Schema.Struct({
  versionId: VersionId,
  functionId: FunctionId,
  tenant: Schema.String,
  /** Grows with each restart: instances of an older generation drain and are replaced. */
  generation: Schema.Int,
  createdAt: Schema.String,
  spec: DeploymentSpec
})
export type DeploymentRecord = typeof DeploymentRecord.Type
