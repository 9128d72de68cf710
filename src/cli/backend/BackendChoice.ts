/**
 * Which backend an agent runs: `--backend` of `dev` and `up` and what belongs to it, and the backend of any choice.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ComputeBackend } from "../../backends/ComputeBackend.ts"
import type { BackendUnavailable } from "../../backends/LaunchError.ts"
import * as ProcessBackend from "../../backends/process/ProcessBackend.ts"
import * as SimulatedBackend from "../../backends/simulated/SimulatedBackend.ts"
import * as GpuKinds from "../../core/simulation/GpuKinds.ts"
import * as StartModel from "../../core/simulation/StartModel.ts"
import { type Input, isSet, text, usageError } from "../Command.ts"
import * as ProcessRunner from "./ProcessRunner.ts"
import * as SimulatedWorker from "./SimulatedWorker.ts"

export type BackendChoice =
  | { readonly kind: "process"; readonly isolation: "none" | "bubblewrap" }
  | { readonly kind: "docker"; readonly baseImage: string | undefined }
  | {
      readonly kind: "kubernetes"
      /** For functions without one; it has Node. */
      readonly image: string | undefined
      readonly namespace: string | undefined
      /** Stands beside charts and servers that speak no worker protocol. */
      readonly workerImage: string | undefined
      readonly charts: boolean
      /** A file; undefined: as the environment says. */
      readonly kubeconfig?: string | undefined
      /** Absent: named after the state directory. */
      readonly cluster?: string
      readonly region?: string
    }
  | {
      readonly kind: "simulated"
      readonly gpus: ReadonlyArray<GpuKinds.GpuNodes>
      readonly gpuStart: StartModel.StartModel | undefined
    }

const names: ReadonlyArray<BackendChoice["kind"]> = ["process", "simulated", "docker", "kubernetes"]

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
  const baseImage = text(input, "docker-image") ?? (process.env["MILLRACE_DOCKER_IMAGE"] || undefined)
  if (kind !== "docker" && text(input, "docker-image") !== undefined) {
    throw usageError("--docker-image is for --backend docker")
  }
  const image = text(input, "image") ?? (process.env["MILLRACE_IMAGE"] || undefined)
  const namespace = text(input, "namespace") ?? (process.env["MILLRACE_NAMESPACE"] || undefined)
  const workerImage = text(input, "worker-image") ?? (process.env["MILLRACE_WORKER_IMAGE"] || undefined)
  const charts = isSet(input, "charts") || process.env["MILLRACE_CHARTS"] === "on"
  for (const flag of ["image", "namespace", "worker-address", "worker-image", "charts"]) {
    if (kind !== "kubernetes" && input.values[flag] !== undefined) {
      throw usageError(`--${flag} is for --backend kubernetes`)
    }
  }
  const isolation = text(input, "isolation") ?? (process.env["MILLRACE_ISOLATION"] || "none")
  if (isolation !== "none" && isolation !== "bubblewrap") {
    throw usageError(`--isolation (MILLRACE_ISOLATION) is ${JSON.stringify(isolation)}; none or bubblewrap`)
  }
  if (kind !== "process" && text(input, "isolation") !== undefined) {
    throw usageError("--isolation is for --backend process")
  }
  if (kind !== "simulated") {
    if (!isSimulatedAsked) {
      if (kind === "kubernetes") return { kind, image, namespace, workerImage, charts }
      return kind === "docker" ? { kind, baseImage } : { kind, isolation }
    }
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

/** Where instances connect that have no network; undefined = at the worker port. */
export const workerSocketOf = (choice: BackendChoice, stateDirectory: string): string | undefined =>
  choice.kind === "docker" || (choice.kind === "process" && choice.isolation !== "none")
    ? join(stateDirectory, "workers", "worker.sock")
    : undefined

export const layer = (
  choice: BackendChoice,
  stateDirectory: string
): Layer.Layer<ComputeBackend, BackendUnavailable> => {
  if (choice.kind === "docker") return docker(choice, stateDirectory)
  if (choice.kind === "kubernetes") return kubernetes(choice, stateDirectory)
  const processes = ProcessBackend.layer({
    compileCacheDirectory: join(stateDirectory, "compile-cache"),
    ...(choice.kind === "process" && choice.isolation !== "none"
      ? { isolation: choice.isolation, workerSocketDirectory: join(stateDirectory, "workers") }
      : {})
  })
  return choice.kind === "process" ? processes : simulated(choice).pipe(Layer.provide(processes))
}

/** The same state directory finds its instances again, and no other one does. */
const clusterOf = (stateDirectory: string): string =>
  `local-${createHash("sha256").update(stateDirectory).digest("hex").slice(0, 12)}`

const kubernetes = (
  {
    image,
    namespace,
    workerImage,
    charts,
    kubeconfig,
    cluster,
    region
  }: Extract<BackendChoice, { readonly kind: "kubernetes" }>,
  stateDirectory: string
) =>
  Layer.unwrap(
    Effect.promise(async () => {
      const KubernetesBackend = await import("../../backends/kubernetes/KubernetesBackend.ts")
      return KubernetesBackend.layer({
        cluster: cluster ?? clusterOf(stateDirectory),
        ...(region === undefined ? {} : { region }),
        ...(kubeconfig === undefined ? {} : { kubeconfig }),
        ...(namespace === undefined ? {} : { namespace }),
        ...(image === undefined ? {} : { functionImage: image }),
        ...(workerImage === undefined ? {} : { workerImage }),
        miniServices: charts
      })
    })
  )

/** Loaded when it is asked for: its client is larger than the rest of Millrace. */
const docker = (choice: Extract<BackendChoice, { readonly kind: "docker" }>, stateDirectory: string) =>
  Layer.unwrap(
    Effect.promise(async () => {
      const DockerBackend = await import("../../backends/docker/DockerBackend.ts")
      const FunctionImage = await import("../../backends/docker/FunctionImage.ts")
      return DockerBackend.layer({
        cluster: clusterOf(stateDirectory),
        workerSocketDirectory: join(stateDirectory, "workers"),
        pack: FunctionImage.make({ baseImage: choice.baseImage })
      })
    })
  )

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
