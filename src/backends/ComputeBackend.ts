/**
 * Where instances run. An agent drives exactly one backend; a backend knows nothing of requests, versions' traffic or
 * scaling. The law suite is `backendLaws` (tests/backends).
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

export interface InstanceSpec {
  /** Deterministic and unique: launching the same id again finds the one that runs. */
  readonly instanceId: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  /** Program and arguments; empty when an image brings its own. */
  readonly command: ReadonlyArray<string>
  readonly image?: string
  readonly workingDirectory?: string
  /** Whole environment of the instance beyond what the backend must add (PATH, HOME). */
  readonly environment: Readonly<Record<string, string>>
  readonly gpu: { readonly kind: string; readonly count: number }
  readonly instanceType: string
  readonly cpuMillis: number
  readonly memoryBytes: number
  /** From launch to the worker's `Ready`; enforced by the agent, which knows of readiness. */
  readonly startDeadlineMs: number
  /** SIGTERM to SIGKILL. */
  readonly graceMs: number
}

export type Exit =
  | { readonly kind: "code"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: string }
  | { readonly kind: "out-of-memory" }
  | { readonly kind: "lost"; readonly detail: string }

export type InstanceObservation =
  | { readonly _tag: "Started"; readonly instanceId: string; readonly atMs: number; readonly pid?: number }
  /** Phase of the start as the backend sees it: `image`, `weights`, `process`. */
  | { readonly _tag: "Phase"; readonly instanceId: string; readonly phase: string; readonly atMs: number }
  | {
      readonly _tag: "Exited"
      readonly instanceId: string
      readonly atMs: number
      readonly exit: Exit
      /** Last lines of its output, bounded. */
      readonly lastOutput: string
      /** We asked for it. */
      readonly requested: boolean
    }

export interface RunningInstance {
  readonly instanceId: string
  readonly versionId: string
  readonly startedAtMs: number
  readonly pid?: number
}

export interface LogLine {
  readonly atMs: number
  readonly stream: "stdout" | "stderr"
  readonly text: string
}

export interface Capacity {
  readonly instanceTypes: ReadonlyArray<{
    readonly name: string
    readonly gpuKind: string
    readonly gpuCount: number
    readonly total: number
    readonly free: number
  }>
}

export class LaunchFailed extends Schema.TaggedError<LaunchFailed>()("LaunchFailed", {
  instanceId: Schema.String,
  reason: Schema.Literals(["command-not-found", "no-capacity", "bad-spec", "image-not-found", "backend-unavailable"]),
  detail: Schema.String,
  /** Trying the same again later can help. */
  retryable: Schema.Boolean
}) {
  override get message() {
    return `instance ${this.instanceId} did not start (${this.reason}): ${this.detail}`
  }
}

export interface Abilities {
  readonly name: string
  readonly isolation: "none" | "process" | "container" | "virtual-machine"
  readonly image: boolean
  readonly command: boolean
  readonly gpu: boolean
  readonly preWarm: boolean
}

export class ComputeBackend extends Context.Service<
  ComputeBackend,
  {
    readonly abilities: Abilities
    readonly capacity: Effect.Effect<Capacity>
    /** The start order has left when this succeeds, in the same turn for a local backend. Idempotent by instance id. */
    readonly launch: (spec: InstanceSpec) => Effect.Effect<void, LaunchFailed>
    /** Asks it to end (SIGTERM), kills it after `graceMs`. Succeeds when it is gone; also when it never was. */
    readonly terminate: (instanceId: string, graceMs: number) => Effect.Effect<void>
    readonly list: Effect.Effect<ReadonlyArray<RunningInstance>>
    /** Every observation from now on until the scope closes, in order per instance. */
    readonly watch: (
      onObservation: (observation: InstanceObservation) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /** The kept tail of its output, oldest first; also of instances that ended a short while ago. */
    readonly logs: (instanceId: string) => Effect.Effect<ReadonlyArray<LogLine>>
    /** New lines of any instance until the scope closes. */
    readonly followLogs: (
      onLine: (instanceId: string, line: LogLine) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/backends/ComputeBackend") {}
