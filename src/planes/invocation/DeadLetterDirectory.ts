/**
 * What the invocation plane can tell about dead letters, and do with them: for the control API and the CLI.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type {
  DeadLetterIncomplete,
  DeadLetterNotFound,
  FunctionNotFound,
  NotDeployed,
  ReplayRefused,
  VersionNotFound,
  VersionOfAnotherFunction
} from "../control/ControlErrors.ts"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type { DeadLetter, Replay } from "./DeadLetters.ts"

/** One letter with its request. */
export interface DeadLetterContent extends DeadLetter {
  /** Those that carry credentials are shown as `(hidden)`; a replay sends them as they were. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Null: it never came whole. At most the first 64 KiB are shown. */
  readonly body: {
    readonly encoding: "utf8" | "base64"
    readonly content: string
    readonly isTruncated: boolean
  } | null
  readonly history: ReadonlyArray<{ readonly atMs: number; readonly what: string }>
}

export interface DeadLetterFilter {
  readonly tenant: string
  readonly functionId?: string
  readonly versionId?: string
  readonly replayed?: boolean
  /** `next` of the page before. */
  readonly after?: string
  readonly limit: number
}

export interface DeadLetterDirectory {
  /** Latest death first. `next`: null at the end. */
  readonly list: (filter: DeadLetterFilter) => {
    readonly items: ReadonlyArray<DeadLetter>
    readonly next: string | null
  }
  readonly get: (
    tenant: string,
    requestId: string
  ) => Effect.Effect<DeadLetterContent, DeadLetterNotFound | FabricUnavailable>
  /**
   * Makes a new request of the letter, on stable storage when it succeeds. `versionId`: who is to run it; without it the
   * active version of the function. A letter that was replayed answers what came of that, and nothing runs again
   * (`isNew`: false).
   */
  readonly replay: (
    tenant: string,
    requestId: string,
    versionId: string | undefined
  ) => Effect.Effect<
    Replay & { readonly isNew: boolean },
    | DeadLetterNotFound
    | DeadLetterIncomplete
    | ReplayRefused
    | FunctionNotFound
    | VersionNotFound
    | VersionOfAnotherFunction
    | NotDeployed
    | FabricUnavailable
    | OutcomeUnknown
  >
  readonly drop: (
    tenant: string,
    requestId: string
  ) => Effect.Effect<void, DeadLetterNotFound | FabricUnavailable | OutcomeUnknown>
}
