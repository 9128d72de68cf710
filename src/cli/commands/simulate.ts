/** `millrace simulate`. @module */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Scenarios from "../../core/simulation/Scenario.ts"
import { ImpossibleScenario } from "../../core/simulation/Simulation.ts"
import * as StartModel from "../../core/simulation/StartModel.ts"
import * as Duration from "../../lab/Duration.ts"
import * as Experiment from "../../lab/Experiment.ts"
import * as FaultWords from "../../lab/FaultWords.ts"
import * as GpuOpTimes from "../../lab/GpuOpTimes.ts"
import type { LlmService } from "../../lab/LlmService.ts"
import * as PolicySelection from "../../lab/PolicySelection.ts"
import { ProgressBar } from "../../lab/ProgressBar.ts"
import * as Page from "../../lab/report/Page.ts"
import * as Svg from "../../lab/report/Svg.ts"
import * as Samples from "../../lab/Samples.ts"
import * as Trace from "../../lab/Trace.ts"
import { TraceError } from "../../lab/TraceError.ts"
import * as TraceFile from "../../lab/TraceFile.ts"
import { CommandFailed, exitCodes, type Input, isSet, text, texts, usageError } from "../Command.ts"
import * as Output from "../Output.ts"

export const run = async (input: Input): Promise<number> => {
  try {
    return isSet(input, "table") ? await table(input) : await one(input)
  } catch (error) {
    if (error instanceof TraceError) throw new CommandFailed({ kind: "trace", message: error.message })
    if (error instanceof ImpossibleScenario) throw new CommandFailed({ kind: "impossible", message: error.message })
    if (error instanceof PolicySelection.PolicyProblem) {
      const { kind, message } = error.problem
      throw new CommandFailed({
        kind: `policy-${kind}`,
        message,
        exitCode: kind === "unknown" ? exitCodes.usage : exitCodes.failure
      })
    }
    throw error
  }
}

const defaultPolicies = "demand,fixed"

const one = async (input: Input): Promise<number> => {
  const path = text(input, "trace")
  if (path === undefined) {
    const folder = Samples.folder()
    const hint = folder === undefined ? "" : `; samples are in ${folder}`
    throw usageError(`name the trace: \`millrace simulate --trace FILE\`${hint}`)
  }
  const setting = settingOf(input)
  const policies = await PolicySelection.select([text(input, "policy") ?? defaultPolicies])
  if (policies.length === 0) throw usageError("--policy names no policy")
  const trace = TraceFile.load(path, traceOptions(input, setting.seed))
  refuseImpossible(trace, setting, policies)
  const bar = new ProgressBar(process.stderr)
  const outcomes = await Experiment.run(trace, setting, { policies, progress: (done) => bar.show(done) })
  bar.clear()
  const html = text(input, "html")
  if (html !== undefined) await writePage(html, { trace, setting, outcomes })
  if (isSet(input, "json")) Output.json(jsonOf(trace, setting, outcomes))
  else print(trace, outcomes, html)
  return outcomes.every(({ result }) => result.open === 0) ? exitCodes.ok : exitCodes.failure
}

// --- what was asked for ------------------------------------------------------------------------------------------------

const settingOf = (input: Input): Experiment.Setting => {
  const defaults = Experiment.settingDefaults
  const count = (name: string, fallback: number, least: number): number => {
    const given = text(input, name)
    const value = given === undefined ? fallback : Number(given)
    if (Number.isInteger(value) && value >= least) return value
    throw usageError(`--${name} is ${given}: it must be a whole number from ${least} on`)
  }
  return {
    seed: count("seed", defaults.seed, 0),
    start: startModel(text(input, "start-model")) ?? defaults.start,
    slots: count("slots", defaults.slots, 1),
    idleWindowMs: duration(input, "idle-window") ?? defaults.idleWindowMs,
    minInstances: count("min-instances", defaults.minInstances, 0),
    maxInstances: text(input, "max-instances") === undefined ? undefined : count("max-instances", 1, 1),
    sloWaitMs: duration(input, "slo") ?? defaults.sloWaitMs,
    clusters: count("clusters", defaults.clusters, 1),
    nodes: count("nodes", defaults.nodes, 1),
    gpusPerNode: count("gpus", defaults.gpusPerNode, 0),
    gpusPerInstance: count("gpus-per-instance", defaults.gpusPerInstance, 0),
    pricePerHour: price(text(input, "price")) ?? defaults.pricePerHour,
    faults: texts(input, "fault").map((words) => {
      const fault = FaultWords.parse(words)
      if (fault === undefined) throw usageError(`--fault ${words} is no fault: ${FaultWords.help}`)
      return fault
    })
  }
}

const duration = (input: Input, name: string): number | undefined => {
  const given = text(input, name)
  if (given === undefined) return undefined
  const value = Duration.parse(given)
  if (value === undefined) throw usageError(`--${name} is ${given}: write a time like 250ms, 90s, 10m, 6h or 14d`)
  return value
}

const price = (given: string | undefined): number | undefined => {
  if (given === undefined) return undefined
  const value = Number(given)
  if (given !== "" && Number.isFinite(value) && value >= 0) return value
  throw usageError(`--price is ${given}: it must be a number from 0 on`)
}

const startModel = (name: string | undefined): StartModel.StartModel | undefined => {
  if (name === undefined) return undefined
  const known = StartModel.byName(name)
  if (known !== undefined) return known
  const ms = Duration.parse(name)
  if (ms !== undefined) return StartModel.fixed(ms)
  const names = StartModel.models.map((model) => model.name).join(", ")
  throw usageError(`there is no start model ${name}: there are ${names}, or a time like 20s`)
}

const traceOptions = (input: Input, seed: number): TraceFile.Options => {
  const fromMs = duration(input, "from")
  const toMs = duration(input, "to")
  const serviceMs = duration(input, "service-time")
  const llm = serviceModel(text(input, "service-model"))
  return {
    seed,
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(toMs === undefined ? {} : { toMs }),
    ...(serviceMs === undefined ? {} : { serviceMs }),
    ...(llm === undefined ? {} : { llm })
  }
}

const decodeBatch = 8

const serviceModel = (words: string | undefined): LlmService | undefined => {
  if (words === undefined) return undefined
  const parts = /^(.+):([^/:]+)\/([^/:]+)\/(\d+)$/.exec(words)
  if (parts === null) {
    throw usageError(
      `--service-model is ${words}: write FILE:GPU/MODEL/TENSOR-PARALLEL, as in ops.csv.gz:a100/Llama-2-7b-hf/1`
    )
  }
  const [, file = "", gpu = "", model = "", parallel = ""] = parts
  return GpuOpTimes.read(file, TraceFile.linesOf(file), {
    gpu,
    model,
    tensorParallel: Number(parallel),
    batch: decodeBatch
  })
}

/** Before the run: a person should not wait to hear it. */
const refuseImpossible = (
  trace: Trace.Trace,
  setting: Experiment.Setting,
  policies: ReadonlyArray<PolicySelection.Selected>
): void => {
  for (const policy of policies) {
    const problems = Scenarios.problems(Experiment.scenario(trace, setting, policy))
    if (problems.length > 0) throw new ImpossibleScenario(problems)
  }
}

// --- what is told --------------------------------------------------------------------------------------------------------

const head = [
  "policy",
  "wait p50",
  "p99",
  "max",
  "within SLO",
  "cold starts",
  "instance-s",
  "÷ optimum",
  "busy",
  "turns/h",
  "cost"
]

const row = ({ policy, result, ratio }: Experiment.Outcome): ReadonlyArray<string> => [
  policy,
  Svg.time(result.wait.p50),
  Svg.time(result.wait.p99),
  Svg.time(result.wait.max),
  `${(result.sloAttainment * 100).toFixed(1)} %`,
  String(result.coldStarts),
  Svg.figure(result.instanceSeconds),
  ratio === undefined ? "-" : ratio.toFixed(2),
  `${(result.busyShare * 100).toFixed(0)} %`,
  result.directionChangesPerHour.toFixed(1),
  result.cost.toFixed(2)
]

const print = (trace: Trace.Trace, outcomes: ReadonlyArray<Experiment.Outcome>, html: string | undefined): void => {
  const functions = `${trace.functions.length} ${trace.functions.length === 1 ? "function" : "functions"}`
  Output.line(
    `${trace.name}: ${Svg.figure(trace.atMs.length)} requests to ${functions} in ${Svg.time(Trace.spanMs(trace))}`
  )
  Output.table(head, outcomes.map(row))
  for (const { policy, result } of outcomes) {
    if (result.open > 0) Output.line(`${policy}: ${result.open} requests had not ended when the time to end was over`)
    if (result.refused > 0) Output.line(`${policy}: ${result.refused} requests were refused, the queue was full`)
  }
  if (html !== undefined) Output.line(`written: ${html}`)
}

const jsonOf = (trace: Trace.Trace, setting: Experiment.Setting, outcomes: ReadonlyArray<Experiment.Outcome>) => ({
  trace: trace.name,
  requests: trace.atMs.length,
  functions: trace.functions.length,
  spanMs: Trace.spanMs(trace),
  seed: setting.seed,
  startModel: setting.start.name,
  notes: notesOf(trace, setting),
  policies: outcomes.map(({ policy, result: { picture: _, ...result }, optimumSeconds, ratio }) => ({
    policy,
    ...result,
    optimumInstanceSeconds: optimumSeconds ?? null,
    ratioToOptimum: ratio ?? null
  }))
})

const notesOf = (trace: Trace.Trace, setting: Experiment.Setting): ReadonlyArray<string> => [
  ...trace.notes,
  `starts: model ${setting.start.name}; ${setting.start.source}`,
  `${setting.slots} requests at a time in one instance; idle window ${Svg.time(setting.idleWindowMs)}; ` +
    `${setting.clusters} clusters of ${setting.nodes} nodes with ${setting.gpusPerNode} GPUs`,
  `SLO: a wait of at most ${Svg.time(setting.sloWaitMs)}; price: ${setting.pricePerHour} for a GPU and hour; seed ${setting.seed}`,
  "the optimum of each policy may wait as long as the policy's p99; a start costs it the median of the start model"
]

const frontierWaits = [0, 100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 180_000]

const writePage = async (
  path: string,
  made: {
    readonly trace: Trace.Trace
    readonly setting: Experiment.Setting
    readonly outcomes: ReadonlyArray<Experiment.Outcome>
  }
): Promise<void> => {
  const { trace, setting, outcomes } = made
  const longest = Math.max(...outcomes.map(({ result }) => result.wait.p99))
  const waits = frontierWaits.filter((_, index) => index === 0 || (frontierWaits[index - 1] ?? 0) < longest)
  const page = Page.render({
    trace: trace.name,
    requests: trace.atMs.length,
    functions: trace.functions.length,
    spanMs: Trace.spanMs(trace),
    notes: notesOf(trace, setting),
    outcomes,
    frontier: Experiment.frontier(trace, setting, waits)
  })
  try {
    await writeFile(path, page)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CommandFailed({ kind: "write", message: `the page could not be written to ${path}: ${why}` })
  }
}

// --- the table of all policies ---------------------------------------------------------------------------------------------

/** Markdown: all policies on the samples. */
const table = async (input: Input): Promise<number> => {
  const folder = Samples.folder()
  if (folder === undefined) {
    throw new CommandFailed({
      kind: "trace",
      message: "the sample traces are not here: they come with the repository, in traces/"
    })
  }
  const setting = settingOf(input)
  const words = text(input, "policy") ?? PolicySelection.names.join(",")
  const policies = await PolicySelection.select([words])
  const bar = new ProgressBar(process.stderr)
  const rows: Array<{ readonly sample: string; readonly outcomes: ReadonlyArray<Experiment.Outcome> }> = []
  for (const [index, sample] of Samples.samples.entries()) {
    const { fromMs, toMs } = sample
    const trace = TraceFile.load(join(folder, sample.file), { ...traceOptions(input, setting.seed), fromMs, toMs })
    const progress: Experiment.Progress = ({ policy, share }) =>
      bar.show({ policy: `${sample.name}, ${policy}`, share: (index + share) / Samples.samples.length })
    rows.push({ sample: sample.name, outcomes: await Experiment.run(trace, setting, { policies, progress }) })
  }
  bar.clear()
  if (isSet(input, "json")) {
    Output.json(
      rows.map(({ sample, outcomes }) => ({
        sample,
        policies: outcomes.map(({ policy, result, ratio }) => ({
          policy,
          wait: result.wait,
          instanceSeconds: result.instanceSeconds,
          ratioToOptimum: ratio ?? null
        }))
      }))
    )
    return exitCodes.ok
  }
  Output.line(
    "| trace | policy | wait p50 | wait p99 | cold starts | instance-seconds | ÷ optimum | better on both axes |"
  )
  Output.line("|---|---|---|---|---|---|---|---|")
  for (const { sample, outcomes } of rows) {
    for (const outcome of outcomes) {
      const { policy, result, ratio } = outcome
      const better = outcomes.filter((other) => isBetter(other, outcome)).map((other) => other.policy)
      Output.line(
        `| ${[sample, policy, Svg.time(result.wait.p50), Svg.time(result.wait.p99), result.coldStarts, Svg.figure(result.instanceSeconds), ratio?.toFixed(2) ?? "-", better.join(", ")].join(" | ")} |`
      )
    }
  }
  return exitCodes.ok
}

/** Waits less and costs less; waits within the error of the sketch are equal. */
const isBetter = ({ result: one }: Experiment.Outcome, { result: other }: Experiment.Outcome): boolean => {
  const isNoSlower = one.wait.p99 <= other.wait.p99 * 1.02
  const isNoDearer = one.instanceSeconds <= other.instanceSeconds
  return (
    isNoSlower &&
    isNoDearer &&
    (one.wait.p99 < other.wait.p99 * 0.98 || one.instanceSeconds < other.instanceSeconds * 0.99)
  )
}
