/**
 * Policies by the words of `--policy`: a name, `fixed:8`, `shadow(demand,knative)`, an object in JSON with options, or the
 * path of a file.
 *
 * @module
 */
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Policies from "../core/scaling/Policies.ts"
import type { Policy } from "../core/scaling/Policy.ts"
import * as PolicyChoice from "../core/scaling/PolicyChoice.ts"
import * as Scaling from "../core/scaling/Scaling.ts"
import * as PolicyLaws from "../core/simulation/PolicyLaws.ts"

export interface Selected {
  /** For tables and pictures. */
  readonly label: string
  readonly start: () => Scaling.Running
  /** `fixed` holds so many instances; `"peak"`: as many as the trace needs at its peak. Absent = as the lab says. */
  readonly instances?: number | "peak"
}

export type Problem =
  | { readonly kind: "unknown"; readonly message: string }
  | { readonly kind: "file"; readonly message: string }
  | { readonly kind: "law"; readonly message: string; readonly breach: PolicyLaws.Breach }

export class PolicyProblem extends Error {
  readonly _tag = "PolicyProblem"
  readonly problem: Problem
  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

/** All that can be named without options. */
export const names: ReadonlyArray<string> = PolicyChoice.PolicyName.literals

/** Throws `PolicyProblem`. */
export const select = async (words: ReadonlyArray<string>): Promise<ReadonlyArray<Selected>> => {
  const selected: Array<Selected> = []
  for (const word of words.flatMap(split)) {
    selected.push(isPath(word) ? await fromFile(word) : named(word))
  }
  return selected
}

const isPath = (word: string): boolean => /^\.{0,2}\//.test(word) || /\.[cm]?[jt]s$/.test(word)

/** At commas that are in no brackets. */
export const split = (list: string): ReadonlyArray<string> => {
  const words: Array<string> = []
  let depth = 0
  let word = ""
  for (const character of list) {
    if ("([{".includes(character)) depth += 1
    if (")]}".includes(character)) depth -= 1
    if (character === "," && depth === 0) {
      words.push(word.trim())
      word = ""
    } else word += character
  }
  words.push(word.trim())
  return words.filter((each) => each !== "")
}

const decode = Schema.decodeUnknownResult(PolicyChoice.PolicyChoice)

const named = (word: string): Selected => {
  const fixed = /^fixed:(\d+)$/.exec(word)
  if (fixed !== null) return { ...chosen("fixed", `fixed ${fixed[1]}`), instances: Number(fixed[1]) }
  if (word === "fixed") return { ...chosen("fixed", "fixed (peak)"), instances: "peak" }
  const shadow = /^shadow\((.*)\)$/.exec(word)
  if (shadow !== null) {
    const [acting, watched] = split(shadow[1]!)
    return chosen({ name: "shadow", acting: { name: acting }, watched: { name: watched } }, word)
  }
  return chosen(word.startsWith("{") ? parse(word) : word, word)
}

const parse = (word: string): unknown => {
  try {
    return JSON.parse(word)
  } catch {
    throw new PolicyProblem({ kind: "unknown", message: `the policy ${word} begins like JSON and is none` })
  }
}

const chosen = (choice: unknown, label: string): Selected => {
  const decoded = decode(choice)
  if (Result.isSuccess(decoded)) return { label, start: () => Policies.start(decoded.success) }
  const isName = typeof choice === "string"
  throw new PolicyProblem({
    kind: "unknown",
    message: isName
      ? `there is no policy ${label}: there are ${names.join(", ")}, shadow(one,other), and files like ./my-policy.ts`
      : `the policy ${label} cannot be used: ${decoded.failure.message}`
  })
}

/** Exported as `default` or as `policy`; checked against the laws before it is used. */
const fromFile = async (path: string): Promise<Selected> => {
  let loaded: Readonly<Record<string, unknown>>
  try {
    loaded = await import(pathToFileURL(resolve(path)).href)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PolicyProblem({ kind: "file", message: `the policy file ${path} cannot be loaded: ${why}` })
  }
  const policy = loaded["default"] ?? loaded["policy"]
  if (!isPolicy(policy)) {
    throw new PolicyProblem({
      kind: "file",
      message: `${path} exports no policy: its default export must be { name, empty, decide(memory, observation) }`
    })
  }
  const breach = PolicyLaws.check(policy)
  if (breach !== undefined) throw new PolicyProblem({ kind: "law", message: broken(policy.name, breach), breach })
  return { label: policy.name, start: () => Scaling.running(policy) }
}

const isPolicy = (value: unknown): value is Policy<unknown> =>
  typeof value === "object" &&
  value !== null &&
  "name" in value &&
  typeof value.name === "string" &&
  "empty" in value &&
  "decide" in value &&
  typeof value.decide === "function"

const broken = (name: string, { law, what, history }: PolicyLaws.Breach): string => {
  const lines = history.map(({ nowMs, seen, ready, desired, reason }) => {
    const answer = Number.isNaN(desired) ? "no answer" : `desired ${desired} (${reason})`
    return `  at ${(nowMs / 1_000).toFixed(1)} s: pending ${seen.pending}, leased ${seen.leased}, ready ${ready} -> ${answer}`
  })
  const count = `${history.length} ${history.length === 1 ? "observation" : "observations"}`
  return [
    `the policy ${name} breaks the law ${law}: ${what}`,
    `the shortest history that shows it has ${count}:`,
    ...lines
  ].join("\n")
}
