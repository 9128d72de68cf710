/**
 * What a maker of a backend gives to the laws: how to open one, and how to say in its specs what instances do.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ComputeBackend, InstanceSpec } from "../ComputeBackend.ts"
import type { Program } from "./Program.ts"

export type Backend = ComputeBackend["Service"]

export interface Harness {
  /** In the names of the laws. */
  readonly name: string
  /**
   * Opens a backend that has room for exactly `places` instances of `spec`'s type. `cluster`: whose instances it sees;
   * absent = a cluster that no other law uses. Closing the scope is the end of the agent's process, not an order to end
   * instances, for a backend whose instances survive it; the harness ends what is left after each law.
   */
  readonly open: (options: {
    readonly places: number
    readonly cluster?: string
  }) => Effect.Effect<Backend, never, Scope.Scope>
  /** All of `change` must be in the spec; what `environment` it names is added to the program's own. */
  readonly spec: (instanceId: string, program: Program, change?: Partial<InstanceSpec>) => InstanceSpec
  /** What the environment of an instance may hold beyond the spec's. */
  readonly environmentAdded: ReadonlyArray<string>
  /** How long a fact may take to come true. Default 10,000. */
  readonly factDeadlineMs?: number
  /**
   * How many processes run whose environment holds this text, looked up in the world and not in the backend
   * (`countProcessesOnLinux`). Absent: instances are not processes of this machine.
   */
  readonly countProcesses?: (text: string) => number
  /** Something of the same kind that is not ours, and might be taken for it: runs until the scope closes. */
  readonly foreign?: Effect.Effect<
    { readonly instanceId: string; readonly isRunning: Effect.Effect<boolean> },
    never,
    Scope.Scope
  >
  /** Breaks what `watch` listens on, once; it heals by itself. */
  readonly breakWatch?: (backend: Backend) => Effect.Effect<void>
  /** Laws that this backend is not held to, by number, each with its reason. */
  readonly skips?: Readonly<Record<string, string>>
}

export interface Law {
  /** `C7`. */
  readonly number: string
  readonly sentence: string
  readonly run: (harness: Harness) => Effect.Effect<void, unknown, Scope.Scope>
}
