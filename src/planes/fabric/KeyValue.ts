/**
 * Small values by key: specs of functions, deployments, keys, ownership. Never requests.
 *
 * Laws (`tests/fabric/keyValueLaws.ts`): K1 a confirmed put is read back, also after a restart. K2 revisions strictly
 * grow over the whole store. K3 of several compare-and-sets at one revision at most one succeeds. K4 a watch delivers
 * the present state first, then every change in order of revision, without gaps and without repeats; a delete is a change.
 * On NATS one that was cut off hears of the last 64 changes of each key that is there, and of what it knows and is gone.
 * K5 a prefix matches literally: no key character is special. K6 a watch that goes on from where another one stood hears of
 * every key that changed since, in order of revision; where the store cannot know that, it begins as if it had heard of none.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FabricUnavailable, OutcomeUnknown, RevisionConflict } from "./FabricError.ts"

export interface Entry {
  readonly key: string
  /** May be a part of something far larger: who keeps it for long keeps a copy. */
  readonly value: Uint8Array
  readonly revision: number
}

export type Change =
  | { readonly _tag: "Put"; readonly entry: Entry }
  | { readonly _tag: "Deleted"; readonly key: string; readonly revision: number }
  /** Everything that was there when the watch began has been delivered. */
  | { readonly _tag: "CaughtUp" }

/** Where a watch stood, for a later one of the same prefix, also in another process. Any text. */
export type WatchPosition = string

export interface WatchOptions {
  /**
   * The keys that the watcher has, asked for when it was cut off for so long that the store has forgotten removals; whoever
   * leaves it out is not told of those.
   */
  readonly known?: () => Iterable<string>
  /** Only beside `known`. */
  readonly goOn?: {
    readonly from: WatchPosition
    /** Called before the first change when the watch goes on from there, and not when it begins anew. */
    readonly onGoingOn: () => void
  }
}

export interface Watch {
  /**
   * What was delivered up to now. Undefined: it has not caught up, its watcher does not say what is `known`, or its store
   * reads fast enough to begin anew.
   */
  readonly position: () => WatchPosition | undefined
}

export class KeyValue extends Context.Service<
  KeyValue,
  {
    readonly get: (key: string) => Effect.Effect<Entry | undefined, FabricUnavailable>
    /** In order of key. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<Entry>, FabricUnavailable>
    /**
     * Durable when it succeeds; answers the new revision. `expectedRevision`: absent = whatever is there, 0 = the key
     * must not exist.
     */
    readonly put: (
      key: string,
      value: Uint8Array,
      expectedRevision?: number
    ) => Effect.Effect<number, RevisionConflict | FabricUnavailable | OutcomeUnknown>
    /** Deleting what is not there succeeds. */
    readonly remove: (
      key: string,
      expectedRevision?: number
    ) => Effect.Effect<void, RevisionConflict | FabricUnavailable | OutcomeUnknown>
    /**
     * Calls `onChange` until the scope closes. In the embedded maker a watch that has caught up has a change before
     * `put` answers.
     */
    readonly watch: (
      prefix: string,
      onChange: (change: Change) => void,
      options?: WatchOptions
    ) => Effect.Effect<Watch, FabricUnavailable, Scope.Scope>
  }
>()("millrace/planes/fabric/KeyValue") {}
