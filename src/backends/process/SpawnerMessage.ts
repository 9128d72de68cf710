/**
 * What the process backend and its spawner tell each other, over Node's channel between parent and child. In order, and
 * without loss as long as both live.
 *
 * @module
 */
import type { Limits } from "./ControlGroup.ts"
import type { Places } from "./ControlGroups.ts"
import type { ZygoteCommand } from "./HandOver.ts"

/** What a spawner is told with its command line. */
export interface SpawnerOptions {
  /** Those that wait at a time; 0 = none. */
  readonly zygotes: { readonly count: number; readonly calmMs: number; readonly idleMs: number } & ZygoteCommand
  /** Where control groups can be made; absent = nothing is limited. */
  readonly places?: Places
}

/** `key` is the caller's name of one start, never used twice. */
export type ToSpawner =
  | {
      readonly _tag: "Spawn"
      readonly key: number
      readonly program: string
      readonly args: ReadonlyArray<string>
      readonly workingDirectory: string | undefined
      readonly environment: Readonly<Record<string, string>>
      /** A zygote would do, should one be ready. */
      readonly zygote: boolean
      /** Enforced as far as there are control groups. */
      readonly limits: Limits
      /**
       * The program is a sandbox around the instance's own: SIGTERM is for what is inside. `filter`: a file that it reads as
       * descriptor 3.
       */
      readonly sandbox: { readonly filter: string | undefined } | undefined
    }
  /** To the whole group, or to what is in its sandbox; nothing happens when its first process has ended. */
  | { readonly _tag: "Signal"; readonly key: number; readonly signal: "SIGTERM" | "SIGKILL" }

export type FromSpawner =
  | { readonly _tag: "Started"; readonly key: number; readonly pid: number; readonly atMs: number }
  /** There is no process. `code`: of the system, for example ENOENT, or `control-group`; empty = none. */
  | { readonly _tag: "Refused"; readonly key: number; readonly code: string; readonly message: string }
  | { readonly _tag: "Output"; readonly key: number; readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }
  /** Its first process ended, the rest of its groups was killed, and no output follows. */
  | {
      readonly _tag: "Gone"
      readonly key: number
      readonly code: number | null
      readonly signal: string | null
      /** The kernel killed something of it because its memory was full. */
      readonly hadNoMemory: boolean
    }
  /** Without it all goes on as it would without zygotes. */
  | { readonly _tag: "ZygoteFailed"; readonly detail: string }
