/**
 * What holds of the configuration, and where it comes from: `--set` before the environment, before the file, before the
 * default. Every problem is told, with the path of the setting and what would be right.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as AgentBackend from "./AgentBackend.ts"
import * as ConfigText from "./ConfigText.ts"
import * as ServeConfig from "./ServeConfig.ts"
import { decode, type Setting } from "./Setting.ts"

export interface Problem {
  /** As in `nats.urls`; empty = the file as a whole. */
  readonly path: string
  readonly problem: string
}

export interface Held {
  readonly path: string
  readonly value: unknown
  /** `--set`, the variable, `file`, or `default`. */
  readonly source: string
  readonly isSecret: boolean
}

export interface Configuration {
  readonly config: ServeConfig.ServeConfig
  readonly held: ReadonlyArray<Held>
}

export interface Sources {
  /** Text of the file; undefined = there is none. */
  readonly file: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** `path=value` each. */
  readonly set: ReadonlyArray<string>
}

const shownLengthMax = 80

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}...` : text
}

/** How many letters must be changed, added or left out to come from one to the other. */
const distance = (left: string, right: string): number => {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let at = 1; at <= left.length; at++) {
    const next = [at]
    for (let to = 1; to <= right.length; to++) {
      const replaced = (row[to - 1] ?? 0) + (left[at - 1] === right[to - 1] ? 0 : 1)
      next.push(Math.min((row[to] ?? 0) + 1, (next[to - 1] ?? 0) + 1, replaced))
    }
    row = next
  }
  return row[right.length] ?? 0
}

const paths = ServeConfig.all.map(({ path }) => path)
const sections = [...new Set(paths.flatMap((path) => (path.includes(".") ? [path.slice(0, path.indexOf("."))] : [])))]

const nearest = (path: string): string | undefined =>
  [...paths, ...sections]
    .map((candidate) => ({ candidate, away: distance(path.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, away }) => away <= Math.max(2, Math.floor(candidate.length / 3)))
    .sort((left, right) => left.away - right.away)[0]?.candidate

const unknownSetting = (path: string): Problem => {
  const near = nearest(path)
  return {
    path,
    problem: `there is no such setting: ${near === undefined ? "`millrace config show` lists all" : `did you mean ${near}?`}`
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The values of the file by path, and what is in it that is none. */
const flatten = (
  value: unknown
): { readonly values: ReadonlyMap<string, unknown>; readonly problems: ReadonlyArray<Problem> } => {
  const values = new Map<string, unknown>()
  if (!isObject(value))
    return { values, problems: [{ path: "", problem: `${shown(value)} is no object: write { "nats": { ... } }` }] }
  const problems: Array<Problem> = []
  for (const [name, node] of Object.entries(value)) {
    if (paths.includes(name)) values.set(name, node)
    else if (!sections.includes(name)) problems.push(unknownSetting(name))
    else if (!isObject(node))
      problems.push({ path: name, problem: `${shown(node)} is no object: its settings are ${inSection(name)}` })
    else {
      for (const [key, leaf] of Object.entries(node)) {
        const path = `${name}.${key}`
        if (paths.includes(path)) values.set(path, leaf)
        else problems.push(unknownSetting(path))
      }
    }
  }
  return { values, problems }
}

const inSection = (section: string) =>
  paths
    .filter((path) => path.startsWith(`${section}.`))
    .map((path) => path.slice(section.length + 1))
    .join(", ")

const refused = (path: string, { expected, isSecret }: Setting<unknown>, value: unknown, source: string): Problem => ({
  path,
  problem: `${isSecret ? "what is given" : shown(value)} (${source}) is not taken: it is ${expected}`
})

/** All that is wrong, or all that holds. */
export const read = (sources: Sources): Result.Result<Configuration, ReadonlyArray<Problem>> => {
  const problems: Array<Problem> = []
  const parsed = ConfigText.parse(sources.file ?? "")
  if (parsed._tag === "Broken") problems.push({ path: "", problem: `this is no JSON: ${parsed.reason}` })
  const file = flatten(parsed._tag === "Value" ? parsed.value : {})
  problems.push(...file.problems)
  const set = new Map<string, string>()
  for (const word of sources.set) {
    const at = word.indexOf("=")
    const path = at < 0 ? word : word.slice(0, at)
    if (!paths.includes(path)) problems.push(unknownSetting(path))
    else if (at < 0) problems.push({ path, problem: `--set needs a value: --set ${path}=VALUE` })
    else set.set(path, word.slice(at + 1))
  }
  const held: Array<Held> = []
  for (const { path, setting, variable } of ServeConfig.all) {
    const given = givenOf({ path, setting, variable }, { ...sources, set, values: file.values })
    if (given === undefined) {
      held.push({ path, value: setting.otherwise, source: "default", isSecret: setting.isSecret })
      continue
    }
    const decoded = decode(setting, given.value)
    if (Result.isFailure(decoded)) problems.push(refused(path, setting, given.value ?? given.text, given.source))
    else held.push({ path, value: decoded.success, source: given.source, isSecret: setting.isSecret })
  }
  if (problems.length > 0) return Result.fail(problems)
  const config = nested(held)
  const said = new Set(held.flatMap(({ path, source }) => (source === "file" || source === "--set" ? [path] : [])))
  const together = AgentBackend.problems(config, (path) => said.has(path))
  return together.length > 0 ? Result.fail(together) : Result.succeed({ config, held })
}

const givenOf = (
  { path, setting, variable }: ServeConfig.Named,
  from: {
    readonly set: ReadonlyMap<string, string>
    readonly environment: Sources["environment"]
    readonly values: ReadonlyMap<string, unknown>
  }
): { readonly value: unknown; readonly text?: string; readonly source: string } | undefined => {
  const word = from.set.get(path)
  if (word !== undefined) return { value: setting.parse(word), text: word, source: "--set" }
  const environment = from.environment[variable]
  if (environment !== undefined && environment !== "") {
    return { value: setting.parse(environment), text: environment, source: variable }
  }
  return from.values.has(path) ? { value: from.values.get(path), source: "file" } : undefined
}

const nested = (held: ReadonlyArray<Held>): ServeConfig.ServeConfig => {
  const root: Record<string, unknown> = {}
  for (const { path, value } of held) {
    const [first = "", second] = path.split(".")
    if (second === undefined) root[first] = value
    else root[first] = { ...(isObject(root[first]) ? root[first] : {}), [second]: value }
  }
  // Each path of `settings` is there once, with a value that its own schema has decoded.
  return root as unknown as ServeConfig.ServeConfig
}
