/**
 * Writes of the registry, and the watching that brings them into the table: a write answers when the table shows it, a
 * conflict is decided anew on what is there by then.
 *
 * @module
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as CrashPoint from "../CrashPoint.ts"
import { type FabricUnavailable, OutcomeUnknown, type RevisionConflict } from "../fabric/FabricError.ts"
import type { Change, KeyValue, Watch } from "../fabric/KeyValue.ts"
import { ConcurrentChange } from "./ControlErrors.ts"
import * as RegistrySnapshots from "./RegistrySnapshots.ts"
import * as RegistryTable from "./RegistryTable.ts"
import { type Records, textOf } from "./registry/RecordTexts.ts"
import type { Snapshot } from "./registry/SnapshotFile.ts"
import type { Stored } from "./registry/StoredRecords.ts"

/** The store failed: nothing happened (`FabricUnavailable`), or nobody knows (`OutcomeUnknown`). */
export type StoreFailure = FabricUnavailable | OutcomeUnknown

export interface RegistryStore {
  /**
   * Writes, and answers the value when the table shows it. `expectedRevision`: 0 = must not exist. The value is valid;
   * one that is not is a defect of the caller.
   */
  readonly put: <A extends RegistryTable.Area>(
    area: A,
    id: string,
    value: Records[A],
    expectedRevision: number
  ) => Effect.Effect<Records[A], RevisionConflict | StoreFailure>
  /** Removes what is stored, at its revision. `isGone`: whether the table shows that. */
  readonly remove: (
    area: RegistryTable.Area,
    id: string,
    stored: Stored<unknown> | undefined,
    isGone: () => boolean
  ) => Effect.Effect<void, RevisionConflict | StoreFailure>
  /** Decides again on what is there now when another writer was faster. */
  readonly settled: <A, E>(
    key: string,
    change: Effect.Effect<A, E | RevisionConflict>
  ) => Effect.Effect<A, Exclude<E, RevisionConflict> | ConcurrentChange>
}

/** How often a change is decided anew after another writer was faster. */
const conflictRetriesMax = 5
/** How long a confirmed write may take to come back through the watch. */
const watchLagMsMax = 10_000
/** How long to wait, before deciding anew, for the change that was in the way. */
const catchUpMsMax = 1_000

const bytes = new TextEncoder()

const isRevisionConflict = (error: unknown): error is RevisionConflict =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "RevisionConflict"

export interface StoreOptions {
  readonly keyValue: KeyValue["Service"]
  readonly table: RegistryTable.RegistryTable
  readonly onUnreadable: (unreadable: RegistryTable.Unreadable) => void
  /** Where snapshots are kept; absent: there are none. */
  readonly snapshots?: RegistrySnapshots.SnapshotsPlace | undefined
}

/** Succeeds when all that was stored is in the table; keeps it current until the scope closes. */
export const make = Effect.fnUntraced(function* (options: StoreOptions) {
  const { keyValue } = options
  const watching = yield* watchAll(options)

  const put: RegistryStore["put"] = (area, id, value, expectedRevision) =>
    Effect.suspend(() => {
      CrashPoint.hit("registry.put.before")
      return keyValue.put(`${area}/${id}`, bytes.encode(textOf[area](value)), expectedRevision)
    }).pipe(
      Effect.flatMap((revision) => watching.until(`${area}/${id}`, () => watching.revision(area) >= revision)),
      Effect.as(value)
    )

  const remove: RegistryStore["remove"] = (area, id, stored, isGone) =>
    stored === undefined
      ? Effect.void
      : Effect.andThen(keyValue.remove(`${area}/${id}`, stored.revision), watching.until(`${area}/${id}`, isGone))

  const settled = <A, E>(
    key: string,
    change: Effect.Effect<A, E | RevisionConflict>
  ): Effect.Effect<A, Exclude<E, RevisionConflict> | ConcurrentChange> => {
    const attempt = (left: number): Effect.Effect<A, E | RevisionConflict | ConcurrentChange> =>
      Effect.catchIf(change, isRevisionConflict, (conflict) =>
        left === 0
          ? Effect.fail(new ConcurrentChange({ key }))
          : Effect.andThen(watching.catchUp(conflict), attempt(left - 1))
      )
    // Every conflict is caught above, so it is no longer among the errors.
    return attempt(conflictRetriesMax) as Effect.Effect<A, Exclude<E, RevisionConflict> | ConcurrentChange>
  }

  const store: RegistryStore = { put, remove, settled }
  return store
})

interface Watching {
  /** Highest revision that the watch of this area has delivered. */
  readonly revision: (area: RegistryTable.Area) => number
  /** Waits until the fact holds; facts change only when the watch delivers. */
  readonly until: (key: string, fact: () => boolean) => Effect.Effect<void, OutcomeUnknown>
  /** After a conflict: until the watch has delivered what was in the way, or a moment has passed. */
  readonly catchUp: (conflict: RevisionConflict) => Effect.Effect<void>
}

/** Of one area: what its watch has shown. */
interface Shown {
  revision: number
  changes: number
  /** It began with one. */
  hasSnapshot: boolean
  /** Something was there that could not be read; it may be gone. */
  isIncomplete: boolean
}

/** Follows all areas into the table. */
const watchAll = (options: StoreOptions): Effect.Effect<Watching, FabricUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const { table, snapshots: place } = options
    const nothing = (): Shown => ({ revision: 0, changes: 0, hasSnapshot: false, isIncomplete: false })
    const shown: Readonly<Record<RegistryTable.Area, Shown>> = {
      functions: nothing(),
      "function-names": nothing(),
      versions: nothing(),
      deployments: nothing()
    }
    const waiters = new Set<{ readonly fact: () => boolean; readonly tell: () => void }>()
    const revisionOf = (area: RegistryTable.Area) => shown[area].revision
    const tellUnreadable = (area: RegistryTable.Area, unreadable: RegistryTable.Unreadable) => {
      shown[area].isIncomplete = true
      options.onUnreadable(unreadable)
    }

    const onChange = (area: RegistryTable.Area, change: Change) => {
      const unreadable = table.apply(area, change)
      if (change._tag === "CaughtUp") return
      if (unreadable !== undefined) tellUnreadable(area, unreadable)
      const revision = change._tag === "Put" ? change.entry.revision : change.revision
      const ofArea = shown[area]
      ofArea.revision = Math.max(revision, ofArea.revision)
      ofArea.changes += 1
      for (const waiter of waiters) {
        if (waiter.fact()) waiter.tell()
      }
    }

    const caughtUp = yield* Effect.all(RegistryTable.areas.map(() => Deferred.make<void>()))
    const snapshots =
      place === undefined
        ? undefined
        : RegistrySnapshots.make({
            ...place,
            table,
            revision: revisionOf,
            changes: (area) => shown[area].changes,
            hasOne: (area) => shown[area].hasSnapshot,
            isIncomplete: (area) => shown[area].isIncomplete
          })
    const load = (area: RegistryTable.Area, { chunks, revision }: Snapshot) => {
      for (const chunk of chunks) for (const one of table.load(area, chunk)) tellUnreadable(area, one)
      shown[area].revision = revision
      shown[area].hasSnapshot = true
    }
    const watches = new Map<RegistryTable.Area, Watch>()
    const watch = Effect.fnUntraced(function* (area: RegistryTable.Area) {
      // Let go as soon as it is loaded: the watch keeps for good what it was given.
      let snapshot = snapshots === undefined ? undefined : yield* snapshots.read(area)
      const goOn = snapshot && { from: snapshot.position, onGoingOn: () => snapshot && load(area, snapshot) }
      const known = () => table.keys(area)
      const watching = yield* options.keyValue.watch(
        `${area}/`,
        (change) => {
          onChange(area, change)
          if (change._tag === "CaughtUp") Deferred.doneUnsafe(caughtUp[RegistryTable.areas.indexOf(area)]!, Effect.void)
        },
        { known, ...(goOn && { goOn }) }
      )
      snapshot = undefined
      watches.set(area, watching)
    })
    // Functions first: names share their texts. The others together, so that the store never waits for this thread.
    const [functions, ...others] = RegistryTable.areas
    yield* watch(functions)
    yield* Effect.forEach(others, watch, { concurrency: "unbounded", discard: true })
    yield* Effect.forEach(caughtUp, Deferred.await, { discard: true })
    if (snapshots !== undefined) yield* Effect.forkScoped(snapshots.keep(watches))

    const wait = (fact: () => boolean) =>
      Effect.callback<void>((resume) => {
        if (fact()) return resume(Effect.void)
        const waiter = {
          fact,
          tell: () => {
            waiters.delete(waiter)
            resume(Effect.void)
          }
        }
        waiters.add(waiter)
        return Effect.sync(() => waiters.delete(waiter))
      })

    return {
      revision: revisionOf,
      until: (key, fact) =>
        Effect.suspend(() => {
          if (fact()) return Effect.void
          const reason = `${key} was written and did not come back through the watch within ${watchLagMsMax} ms`
          return Effect.timeoutOrElse(wait(fact), {
            duration: watchLagMsMax,
            orElse: () => Effect.fail(new OutcomeUnknown({ port: "KeyValue", operation: "watch", reason }))
          })
        }),
      catchUp: (conflict) =>
        Effect.suspend(() => {
          const area = RegistryTable.areas.find((area) => conflict.key.startsWith(`${area}/`))
          if (area === undefined) return Effect.void
          // A key that is gone has no revision; its removal is still to come.
          const wanted = conflict.actual > 0 ? conflict.actual : revisionOf(area) + 1
          return Effect.timeoutOrElse(
            wait(() => revisionOf(area) >= wanted),
            { duration: catchUpMsMax, orElse: () => Effect.void }
          )
        })
    }
  })
