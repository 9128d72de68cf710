/**
 * Where instances run. An agent drives exactly one backend; a backend knows nothing of requests, versions' traffic or
 * scaling. The laws of every backend are `millrace/backend-laws` (`laws/`); `docs/backends.md` says how to write one.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Chart } from "../core/chart/Chart.ts"
import type { BackendUnavailable, LaunchError } from "./LaunchError.ts"

export interface InstanceSpec {
  /** Deterministic and unique: launching the same id again finds the one that runs. */
  readonly instanceId: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  /** Program and arguments; empty when the image brings its own. One of `command` and `image` must be given. */
  readonly command: ReadonlyArray<string>
  /** Further arguments, after those of `command`, or for the image's own program. Absent = none. */
  readonly arguments?: ReadonlyArray<string>
  /** Name of an OCI image with its tag or digest, for a backend whose abilities say `image`. */
  readonly image?: string
  /** Where `command` begins. Absent = as the backend, or the image, likes. */
  readonly workingDirectory?: string
  /** Whole environment of the instance beyond what the backend must add (PATH, HOME). */
  readonly environment: Readonly<Record<string, string>>
  /**
   * Name and content of files that the instance finds in the directory that `MILLRACE_SECRETS_DIRECTORY` names: nobody
   * else can read them, they stand in no environment, command line or label, and they are gone when the instance is.
   * Names: 1 to 100 of `A-Z a-z 0-9 . _ -`, not beginning with a dot. Absent = none.
   */
  readonly secrets?: Readonly<Record<string, string>>
  /** Kind `none` with count 0: no GPU. */
  readonly gpu: { readonly kind: string; readonly count: number }
  /** One of the names of `capacity`. */
  readonly instanceType: string
  /** Thousandths of a core. Whether this and the next two are enforced is said in `limits` of the abilities. */
  readonly cpuMillis: number
  readonly memoryBytes: number
  /** Disk that it may fill and that goes with it. Absent = as the backend likes. */
  readonly ephemeralDiskBytes?: number
  /**
   * From launch to the worker's `Ready`, which the agent enforces. A backend ends a start whose process does not begin
   * within it, and reports `StartDeadlineExceeded` with the phase in which it stood.
   */
  readonly startDeadlineMs: number
  /** From SIGTERM to SIGKILL where nobody says another time, in milliseconds. */
  readonly graceMs: number
  /** Come back in `list`; for the agent, which finds its instances again by them. Absent = none. */
  readonly labels?: Readonly<Record<string, string>>
  /** Of a server that speaks no worker protocol and is called by a sidecar: it is ready when this answers 2xx. */
  readonly health?: { readonly port: number; readonly path: string }
  /**
   * A Helm function: what runs is this chart, which has held the rules, with a worker beside it that calls its Service.
   * Without a command and an image.
   */
  readonly chart?: Chart
}

/** In the instance's environment when it has secrets. */
export const secretsVariable = "MILLRACE_SECRETS_DIRECTORY"

export const isSecretName = (name: string): boolean => /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(name)

export type Exit =
  | { readonly kind: "code"; readonly code: number }
  /** `signal`: its name, as `SIGKILL`. */
  | { readonly kind: "signal"; readonly signal: string }
  | { readonly kind: "out-of-memory" }
  /** Its process never began; what could be known at once fails the launch instead. */
  | { readonly kind: "start-failed"; readonly error: LaunchError }
  /** A GPU of it broke. `xid`: the driver's number of the error. */
  | { readonly kind: "gpu-fault"; readonly xid: number; readonly detail: string }
  /** Its place was taken by somebody with a better right, for example a spot node. */
  | { readonly kind: "preempted"; readonly detail: string }
  /** It is gone, and nobody knows how it ended. */
  | { readonly kind: "lost"; readonly detail: string }

/**
 * `atMs`: Unix ms. Of one instance, in this order: any `Phase`s, `Started`, more `Phase`s, `Exited`; without `Started` when its process
 * never began. Ids can be used again after `Exited`. A backend restarts nothing: one end is one `Exited`.
 */
export type InstanceObservation =
  | { readonly _tag: "Started"; readonly instanceId: string; readonly atMs: number; readonly pid?: number }
  /** Phase of the start as the backend sees it: `schedule`, `image`, `weights`, `process`. */
  | { readonly _tag: "Phase"; readonly instanceId: string; readonly phase: string; readonly atMs: number }
  | {
      readonly _tag: "Exited"
      readonly instanceId: string
      readonly atMs: number
      readonly exit: Exit
      /** The phase in which it ended: one of `Phase`, or `running` when its process had begun. */
      readonly phase: string
      /** Last lines of its output, at most 4 KiB. */
      readonly lastOutput: string
      /** We asked for it. */
      readonly requested: boolean
    }
  /** Something may have been missed: whoever must know lists now. */
  | { readonly _tag: "Gap"; readonly atMs: number; readonly detail: string }

/** One that runs, or is on its way in. */
export interface RunningInstance {
  readonly instanceId: string
  readonly versionId: string
  /** Unix ms when its process began; while that is still to come, when it was launched. */
  readonly startedAtMs: number
  readonly pid?: number
  /** As in its spec. */
  readonly labels: Readonly<Record<string, string>>
}

export interface LogLine {
  /** Unix ms when it came. */
  readonly atMs: number
  readonly stream: "stdout" | "stderr"
  /** At most 8 KiB. */
  readonly text: string
}

export interface Capacity {
  readonly instanceTypes: ReadonlyArray<{
    /** What `instanceType` of a spec names. */
    readonly name: string
    /** `none` with a `gpuCount` of 0: without GPUs. */
    readonly gpuKind: string
    /** Of one instance. */
    readonly gpuCount: number
    /** Instances of this type that there could be if nothing else ran. */
    readonly total: number
    /** Instances of this type that would start now. Types may share what they are made of. */
    readonly free: number
  }>
}

export interface Abilities {
  /** Of the backend, as `docker`: shown to people, and in errors. */
  readonly name: string
  readonly isolation: "none" | "process" | "container" | "virtual-machine"
  /** Runs images. */
  readonly image: boolean
  /** Runs commands of this machine. */
  readonly command: boolean
  /** Runs charts. Absent = no. */
  readonly charts?: boolean
  /** Kinds of GPU that it can hand out, as a spec names them; empty = none. */
  readonly gpuKinds: ReadonlyArray<string>
  /** Can fetch what a version needs before its first instance. */
  readonly preWarm: boolean
  /** Runs work that ends by itself with code 0, and reports that end. */
  readonly tasks: boolean
  /** What of a spec's figures is enforced, and not only counted. */
  readonly limits: ReadonlyArray<"cpu" | "memory" | "ephemeral-disk">
  /** Instances outlive the process that launched them, and `list` of the next one finds them. */
  readonly survivesRestart: boolean
}

export class ComputeBackend extends Context.Service<
  ComputeBackend,
  {
    readonly abilities: Abilities
    readonly capacity: Effect.Effect<Capacity, BackendUnavailable>
    /**
     * The start order has left when this succeeds, in the same turn for a local backend; the instance is listed from then
     * on. Idempotent by instance id. A failure leaves nothing behind, except `BackendUnavailable`, after which the
     * outcome is unknown; `isRetryable` tells which ones can go away by themselves.
     */
    readonly launch: (spec: InstanceSpec) => Effect.Effect<void, LaunchError>
    /**
     * Asks it to end (SIGTERM), kills it after `graceMs`. Succeeds when it is gone; also when it never was. The shortest
     * grace that anybody asked for counts. Touches only what this cluster's agent launched.
     */
    readonly terminate: (instanceId: string, graceMs: number) => Effect.Effect<void, BackendUnavailable>
    /** All that this cluster's agent launched and that are not gone. */
    readonly list: Effect.Effect<ReadonlyArray<RunningInstance>, BackendUnavailable>
    /** Every observation from now on until the scope closes, in order per instance; what may be missing is a `Gap`. */
    readonly watch: (
      onObservation: (observation: InstanceObservation) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /**
     * The kept tail of its output, oldest first: at most 1,000 lines and 1 MiB; also of instances that ended a short
     * while ago. Empty for one that never was.
     */
    readonly logs: (instanceId: string) => Effect.Effect<ReadonlyArray<LogLine>, BackendUnavailable>
    /** New lines of any instance until the scope closes. */
    readonly followLogs: (
      onLine: (instanceId: string, line: LogLine) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/backends/ComputeBackend") {}
