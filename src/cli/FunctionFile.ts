/**
 * `millrace.json`: what a folder with a function says about itself. Read by `deploy` and `dev`.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Struct from "effect/Struct"
import * as Chart from "../core/chart/Chart.ts"
import {
  DeploymentSpec,
  Durability,
  deploymentDefaults,
  FunctionRecord,
  VersionSpec
} from "../planes/control/Domain.ts"

export const fileName = "millrace.json"

export interface FunctionFile {
  /** Absolute. */
  readonly path: string
  readonly directory: string
  readonly name: string
  /** Absolute path of the source file, when the function is one; its command is then `node` with it. */
  readonly entry: string | undefined
  /** A call that shows what the function does, for people; `{url}` stands for its URL. */
  readonly curl: string | undefined
  readonly version: VersionSpec
  /** Whole: what the file leaves out has its default. */
  readonly deployment: DeploymentSpec
}

export class FunctionFileInvalid extends Schema.TaggedError<FunctionFileInvalid>()("FunctionFileInvalid", {
  path: Schema.String,
  issues: Schema.Array(Schema.String)
}) {
  override get message() {
    return this.issues.length === 1
      ? `${this.path}: ${this.issues[0]}`
      : `${this.path} has ${this.issues.length} mistakes:\n${this.issues.map((issue) => `  ${issue}`).join("\n")}`
  }
}

const Content = Schema.Struct({
  name: FunctionRecord.fields.name,
  /** Program and arguments, started in the folder of the file. */
  command: Schema.optionalKey(VersionSpec.fields.command),
  /** A source file that `node` runs. */
  entry: Schema.optionalKey(Schema.String.check(Schema.isMinLength(1))),
  /** For backends that run images; alone, or with the command to run in it. */
  image: VersionSpec.fields.image,
  health: VersionSpec.fields.health,
  /** A Helm function; `manifests` names a file beside this one. */
  chart: Schema.optionalKey(Chart.Chart),
  /** A call that shows what it does; `{url}` stands for its URL. One line, because terminals show it. */
  curl: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[^\p{Cc}]+$/u))),
  environment: Schema.optionalKey(VersionSpec.fields.environment),
  inferencePath: Schema.optionalKey(VersionSpec.fields.inferencePath),
  durability: Schema.optionalKey(Durability),
  deployment: Schema.optionalKey(Schema.Struct(Struct.map(DeploymentSpec.fields, Schema.optionalKey)))
})
type Content = typeof Content.Type

const decode = Schema.decodeUnknownResult(Content, { errors: "all", onExcessProperty: "error" })
const decodeDeployment = Schema.decodeUnknownResult(DeploymentSpec, { errors: "all" })
const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const issuesOf = (error: Schema.SchemaError, within = ""): ReadonlyArray<string> =>
  formatIssues(error.issue).issues.map(({ path, message }) => {
    const segments = (path ?? []).map((segment) => String(typeof segment === "object" ? segment.key : segment))
    const field = [...(within === "" ? [] : [within]), ...segments].join(".")
    return field === "" ? message : `${field}: ${message}`
  })

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : String(cause)

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true

/** Reads `millrace.json` of this directory. Names the file and every field that is wrong. */
export const load = (directory: string): Effect.Effect<FunctionFile, FunctionFileInvalid> =>
  Effect.suspend(() => {
    const absolute = resolve(directory)
    const path = join(absolute, fileName)
    const invalid = (...issues: ReadonlyArray<string>) => Effect.fail(new FunctionFileInvalid({ path, issues }))

    const text = Result.try(() => readFileSync(path, "utf8"))
    if (Result.isFailure(text)) {
      const code = codeOf(text.failure)
      return invalid(
        code === "ENOENT"
          ? "there is no such file: make a function with `millrace init`, or name the folder of one"
          : `it cannot be read (${code})`
      )
    }
    const json = Result.try((): unknown => JSON.parse(text.success.replace(/^\uFEFF/, "")))
    if (Result.isFailure(json)) return invalid(`it is not JSON: ${String(json.failure).replace(/^SyntaxError: /, "")}`)
    const content = decode(json.success)
    if (Result.isFailure(content)) return invalid(...issuesOf(content.failure))
    const deployment = decodeDeployment({ ...deploymentDefaults, ...content.success.deployment })
    if (Result.isFailure(deployment)) return invalid(...issuesOf(deployment.failure, "deployment"))
    const start = startOf(content.success, absolute)
    if (typeof start === "string") return invalid(start)
    const { environment, inferencePath, durability, image, health } = content.success
    const chart = chartOf(content.success, absolute)
    if (typeof chart === "string") return invalid(chart)
    return Effect.succeed({
      path,
      directory: absolute,
      name: content.success.name,
      entry: start.entry,
      curl: content.success.curl,
      version: {
        command: start.command,
        ...(image === undefined && chart === undefined ? { workingDirectory: absolute } : {}),
        ...(image === undefined ? {} : { image }),
        ...(health === undefined ? {} : { health }),
        ...(chart === undefined ? {} : { chart }),
        environment: environment ?? {},
        durability: durability ?? "accepted",
        inferencePath: inferencePath ?? "/"
      },
      deployment: deployment.success
    })
  })

/** With the text of its manifests, or what is wrong with that. */
const chartOf = ({ chart }: Content, directory: string): Chart.Chart | undefined | string => {
  if (chart?.manifests === undefined) return chart
  const path = resolve(directory, chart.manifests)
  const text = Result.try(() => readFileSync(path, "utf8"))
  if (Result.isFailure(text)) return `chart.manifests: the file ${path} cannot be read (${codeOf(text.failure)})`
  const { length } = text.success
  return length <= Chart.manifestsLengthMax
    ? { ...chart, manifests: text.success }
    : `chart.manifests: ${path} has ${length} characters, and ${Chart.manifestsLengthMax} are the most: name a chart by url`
}

/** What starts it, or what is wrong with that. */
const startOf = (
  { command, entry, image, chart }: Content,
  directory: string
): { readonly command: ReadonlyArray<string>; readonly entry: string | undefined } | string => {
  if (chart !== undefined) {
    return command === undefined && entry === undefined && image === undefined
      ? { command: [], entry }
      : "chart: it says what runs, so leave out command, entry and image"
  }
  if (command !== undefined && entry !== undefined) return "command and entry: give one of the two, not both"
  if (command !== undefined) {
    return command.length === 0 && image === undefined
      ? "command: it has no words; name a program, or an image that has one"
      : { command, entry: undefined }
  }
  if (image !== undefined)
    return entry === undefined ? { command: [], entry } : "entry and image: what is in an image is named by command"
  if (entry === undefined)
    return 'command or entry: one of the two must say what to start, such as "entry": "./server.ts"'
  const path = resolve(directory, entry)
  return isFile(path) ? { command: ["node", entry], entry: path } : `entry: there is no file ${path}`
}
