/**
 * A cluster of nodes and GPUs that is not there, as a backend: `GpuCluster` of the core decides where an instance goes, how
 * long each phase of its start takes and what breaks; this file has the clock and tells the outside. What runs behind an
 * instance once its start is over is a `Runner`'s: a real worker, a real process, or nobody (`modelled`).
 *
 * Laws: `../laws/`, and `property-tests/GpuCluster.laws.test.ts` for what is decided.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as GpuCluster from "../../core/simulation/GpuCluster.ts"
import * as GpuKinds from "../../core/simulation/GpuKinds.ts"
import * as StartModel from "../../core/simulation/StartModel.ts"
import * as BackendKit from "../BackendKit.ts"
import { ComputeBackend, type Exit, type InstanceSpec } from "../ComputeBackend.ts"
import { BadSpec, ImageNotFound } from "../LaunchError.ts"

/** Starts what stands behind an instance, when its simulated start is over. */
export type Runner = (spec: InstanceSpec, life: Omit<BackendKit.Life, "phase" | "refused">) => BackendKit.Instance

/** What a runner is given: its end gives the room back before it is told. */
class RunnerLife implements Omit<BackendKit.Life, "phase" | "refused"> {
  readonly #one: Live
  readonly #over: (one: Live, exit: Exit) => void

  constructor(one: Live, over: (one: Live, exit: Exit) => void) {
    this.#one = one
    this.#over = over
  }

  get started(): BackendKit.Life["started"] {
    return this.#one.life.started
  }

  get output(): BackendKit.Life["output"] {
    return this.#one.life.output
  }

  get ended(): BackendKit.Life["ended"] {
    return (exit) => this.#over(this.#one, exit)
  }
}

/** Nobody: it runs until it is told to end, which it does at once. */
export const modelled: Runner = (_spec, life) => {
  life.started()
  return {
    signal: (signal) => life.ended(signal === "SIGTERM" ? { kind: "code", code: 0 } : { kind: "signal", signal })
  }
}

/** A fault at a time after the backend's start, or now (`Simulated.inject`). */
export interface ScriptedFault {
  readonly afterMs: number
  readonly fault: GpuCluster.Fault
}

export interface Options {
  /** Nodes with GPUs. */
  readonly gpus?: ReadonlyArray<GpuKinds.GpuNodes>
  /** Places for instances without a GPU, instance type `local`. Default 16. */
  readonly slots?: number
  /** Default 1. The same seed and the same calls at the same times give the same cluster. */
  readonly seed?: number
  /** Of instances without a GPU, and of those with. Default: `process` for both. */
  readonly start?: StartModel.StartModel
  readonly gpuStart?: StartModel.StartModel
  /** What goes wrong by itself. Default: nothing. */
  readonly rates?: Partial<GpuCluster.FaultRates>
  readonly script?: ReadonlyArray<ScriptedFault>
  /** Default: `modelled`. */
  readonly run?: Runner
}

/** What a simulated cluster can be asked and told beyond the contract. */
export interface Simulated {
  readonly backend: ComputeBackend["Service"]
  readonly inject: (fault: GpuCluster.Fault) => void
  /** Name of the node that an instance is on. */
  readonly nodeOf: (instanceId: string) => string | undefined
  /** Nodes that are down and GPUs that are broken. */
  readonly health: () => { readonly nodesDown: number; readonly gpusBroken: number }
}

export const instanceTypeName = "local"
const slotsDefault = 16
/** The largest delay of a timer. */
const timerMsMax = 2 ** 31 - 1

interface Live {
  readonly spec: InstanceSpec
  readonly life: BackendKit.Life
  running: BackendKit.Instance | undefined
}

export const make: (options?: Options) => Effect.Effect<Simulated, never, Scope.Scope> = Effect.fnUntraced(function* (
  options: Options = {}
) {
  const { gpus = [], slots = slotsDefault, run = modelled } = options
  const processStart = StartModel.byName("process") ?? StartModel.fixed(0)
  const startedAtMs = performance.now()
  const now = () => performance.now() - startedAtMs
  const live = new Map<string, Live>()
  let timer: NodeJS.Timeout | undefined
  let timerAtMs = Number.POSITIVE_INFINITY
  let state = GpuCluster.make(
    {
      seed: options.seed ?? 1,
      groups: [
        ...gpus.map((group) => ({ ...group, slotsPerNode: 0 })),
        { gpuKind: "none", nodes: 1, gpusPerNode: 0, slotsPerNode: slots }
      ],
      start: options.start ?? processStart,
      gpuStart: options.gpuStart ?? processStart,
      rates: { ...GpuCluster.noFaults, ...options.rates }
    },
    now()
  )
  const types = gpus.flatMap((group) =>
    GpuKinds.instanceTypesOf(group).map((type) => ({ ...type, gpuKind: group.gpuKind, nodes: group }))
  )
  const instanceTypes = [
    ...types.map(({ name, gpuKind, gpuCount, nodes }) => ({
      name,
      gpuKind,
      gpuCount,
      total: Math.floor(nodes.gpusPerNode / gpuCount) * nodes.nodes
    })),
    ...(slots > 0 ? [{ name: instanceTypeName, gpuKind: "none", gpuCount: 0, total: slots }] : [])
  ]

  const apply = (event: GpuCluster.Event): void => {
    const [next, commands] = GpuCluster.step(state, event, true)
    state = next
    for (const command of commands) perform(command)
    arm()
  }

  /** A timer that is early finds nothing due and sets the next one: cheaper than a new timer with each start and end. */
  const arm = () => {
    const atMs = GpuCluster.wakeAtMs(state)
    if (atMs === undefined || !(atMs < timerAtMs)) return keepAwake()
    clearTimeout(timer)
    timerAtMs = atMs
    timer = setTimeout(
      () => {
        timerAtMs = Number.POSITIVE_INFINITY
        apply({ _tag: "Ticked", nowMs: Math.max(now(), 0) })
      },
      Math.min(timerMsMax, Math.max(0, atMs - now()))
    )
    keepAwake()
  }

  /** A node that will be lost some day keeps nobody awake. */
  const keepAwake = () => {
    if (live.size === 0) timer?.unref()
    else timer?.ref()
  }

  const perform = (command: GpuCluster.Command): void => {
    const one = live.get(command.instanceId)
    if (one === undefined) return
    const { spec, life } = one
    switch (command._tag) {
      case "Refuse":
        live.delete(spec.instanceId)
        return life.refused(noPlace(spec))
      case "EnterPhase":
        return life.phase(command.phase)
      case "Began":
        one.running = run(spec, new RunnerLife(one, over))
        return
      case "Ended": {
        live.delete(spec.instanceId)
        // It is told before its process hears of it, as of a node that is gone.
        life.ended(exitOf(spec, command.cause))
        return one.running?.signal("SIGKILL")
      }
      default:
        return unreachable(command)
    }
  }

  const over = (one: Live, exit: Exit) => {
    if (live.get(one.spec.instanceId) !== one) return
    live.delete(one.spec.instanceId)
    apply({ _tag: "ProcessEnded", nowMs: now(), instanceId: one.spec.instanceId })
    one.life.ended(exit)
  }

  const backend = yield* BackendKit.make({
    abilities: {
      name: "simulated",
      isolation: "none",
      image: true,
      command: true,
      gpuKinds: [...new Set(gpus.map(({ gpuKind }) => gpuKind))],
      preWarm: false,
      tasks: true,
      limits: [],
      survivesRestart: false
    },
    instanceTypes,
    free: (name) => {
      const type = types.find((one) => one.name === name)
      return GpuCluster.room(state, type?.gpuKind ?? "none", type?.gpuCount ?? 0)
    },
    refusal: (spec) => {
      const type = types.find((one) => one.name === spec.instanceType)
      const { kind, count } = spec.gpu
      if (count === 0 || (type?.gpuKind === kind && type.gpuCount >= count)) return undefined
      const detail = `${count} ${kind} do not fit into the instance type ${spec.instanceType}: take a larger one`
      return new BadSpec({ instanceId: spec.instanceId, field: "gpu", detail })
    },
    start: (spec, life) => {
      const type = types.find((one) => one.name === spec.instanceType)
      const one: Live = { spec, life, running: undefined }
      const { instanceId } = spec
      live.set(instanceId, one)
      apply({
        _tag: "Asked",
        nowMs: now(),
        instanceId,
        gpuKind: type?.gpuKind ?? "none",
        gpuCount: type?.gpuCount ?? 0
      })
      return {
        signal: (signal) => {
          if (one.running !== undefined) return one.running.signal(signal)
          over(one, { kind: "signal", signal })
        }
      }
    }
  })
  const inject = (fault: GpuCluster.Fault) => apply({ _tag: "Faulted", nowMs: now(), fault })
  const scripted = (options.script ?? []).map(({ afterMs, fault }) => setTimeout(() => inject(fault), afterMs).unref())
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      clearTimeout(timer)
      for (const each of scripted) clearTimeout(each)
    })
  )
  arm()
  return {
    backend,
    inject,
    nodeOf: (instanceId) => GpuCluster.nodeOf(state, instanceId),
    health: () => ({
      nodesDown: state.down.size,
      gpusBroken: [...state.broken.values()].reduce((sum, count) => sum + count, 0)
    })
  }
})

export const layer = (options: Options = {}): Layer.Layer<ComputeBackend> =>
  Layer.effect(
    ComputeBackend,
    Effect.map(make(options), ({ backend }) => backend)
  )

const noPlace = ({ instanceId }: InstanceSpec) =>
  new BadSpec({ instanceId, field: "instance id", detail: "it is there already: end it first" })

const exitOf = ({ instanceId, image }: InstanceSpec, cause: GpuCluster.Cause): Exit => {
  switch (cause.kind) {
    case "out-of-memory":
      return { kind: "out-of-memory" }
    case "image-pull": {
      const detail = "the simulated registry did not give it"
      return { kind: "start-failed", error: new ImageNotFound({ instanceId, image: image ?? "(none named)", detail }) }
    }
    case "xid":
      return { kind: "gpu-fault", xid: cause.xid, detail: `a GPU of the simulated node ${cause.node}` }
    case "spot-loss":
      return { kind: "preempted", detail: `the simulated spot node ${cause.node} was taken back` }
    case "node-loss":
      return { kind: "lost", detail: `the simulated node ${cause.node} is gone` }
    default:
      return unreachable(cause)
  }
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
