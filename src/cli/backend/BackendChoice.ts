/**
 * Which backend `dev` and `up` run: `--backend` and what belongs to it.
 *
 * @module
 */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ComputeBackend } from "../../backends/ComputeBackend.ts"
import * as ProcessBackend from "../../backends/process/ProcessBackend.ts"
import * as SimulatedBackend from "../../backends/simulated/SimulatedBackend.ts"
import * as GpuKinds from "../../core/simulation/GpuKinds.ts"
import * as StartModel from "../../core/simulation/StartModel.ts"
import { type Input, text, usageError } from "../Command.ts"
import * as ProcessRunner from "./ProcessRunner.ts"
import * as SimulatedWorker from "./SimulatedWorker.ts"

export type BackendChoice =
  | { readonly kind: "process" }
  | {
      readonly kind: "simulated"
      readonly gpus: ReadonlyArray<GpuKinds.GpuNodes>
      readonly gpuStart: StartModel.StartModel | undefined
    }

const names: ReadonlyArray<BackendChoice["kind"]> = ["process", "simulated"]

/** Throws a usage error that says what would be right. */
export const of = (input: Input): BackendChoice => {
  const gpu = text(input, "gpu")
  const startModel = text(input, "start-model")
  const isSimulatedAsked = gpu !== undefined || startModel !== undefined
  const given = text(input, "backend") ?? (process.env["MILLRACE_BACKEND"] || undefined)
  const name = given ?? (isSimulatedAsked ? "simulated" : "process")
  const kind = names.find((one) => one === name)
  if (kind === undefined) {
    throw usageError(`--backend (MILLRACE_BACKEND) is ${JSON.stringify(name)}; backends: ${names.join(", ")}`)
  }
  if (kind !== "simulated") {
    if (!isSimulatedAsked) return { kind }
    throw usageError(
      `--${gpu === undefined ? "start-model" : "gpu"} is for simulated GPUs: leave out --backend ${kind}`
    )
  }
  const gpus = gpu === undefined ? [] : GpuKinds.parseCluster(gpu)
  if (typeof gpus === "string") throw usageError(`--gpu: ${gpus}`)
  const gpuStart = startModel === undefined ? undefined : StartModel.byName(startModel)
  if (startModel !== undefined && gpuStart === undefined) {
    const known = StartModel.models.map((model) => model.name).join(", ")
    throw usageError(`--start-model is ${JSON.stringify(startModel)}; models: ${known}`)
  }
  return { kind, gpus, gpuStart }
}

export const layer = (choice: BackendChoice, stateDirectory: string): Layer.Layer<ComputeBackend> => {
  const processes = ProcessBackend.layer({ compileCacheDirectory: join(stateDirectory, "compile-cache") })
  return choice.kind === "process" ? processes : simulated(choice).pipe(Layer.provide(processes))
}

const simulated = ({ gpus, gpuStart }: Extract<BackendChoice, { readonly kind: "simulated" }>) =>
  Layer.effect(
    ComputeBackend,
    Effect.gen(function* () {
      const runProcess = yield* ProcessRunner.make(yield* ComputeBackend)
      const run: SimulatedBackend.Runner = (spec, life) => {
        if (spec.command[0] === SimulatedWorker.program) return SimulatedWorker.run(spec, life)
        return spec.command.length === 0 ? SimulatedBackend.modelled(spec, life) : runProcess(spec, life)
      }
      const { backend } = yield* SimulatedBackend.make({ gpus, run, ...(gpuStart === undefined ? {} : { gpuStart }) })
      if (gpus.length > 0)
        yield* Effect.logWarning("the GPUs are simulated: they are counted, and nothing runs on them")
      return backend
    })
  )
