/**
 * Keeps snapshots of the registry beside the store, in a folder of this process, for stores that are slow to read as a
 * whole. They are nothing but time saved: whatever is missing, old or damaged is read from the store.
 *
 * Laws (`property-tests/Registry.laws.test.ts`): P1 a registry that began with a snapshot says what one says that read
 * everything, whatever changed while it was written and since.
 *
 * @module
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { Watch } from "../fabric/KeyValue.ts"
import type { RegistryTable } from "./RegistryTable.ts"
import type { Area } from "./registry/RecordTexts.ts"
import * as SnapshotFile from "./registry/SnapshotFile.ts"

/** About a millisecond of work. */
const rowsPerChunk = 1_024
/** A store is read faster than fewer are worth a file. */
const recordsMinDefault = 1_000
const lookMsDefault = 10_000
/** After so many changes there is a new one. */
const changesMax = 1_000
/** A store remembers removals for an hour. */
const ageMsMax = 900_000

export const placeIn = (stateDirectory: string): SnapshotsPlace => ({ directory: join(stateDirectory, "registry") })

export interface SnapshotsPlace {
  readonly directory: string
  /** Areas with fewer records have no snapshot. Default 1,000. */
  readonly recordsMin?: number
  /** How often it is asked whether a new one is worth it. Default 10,000. */
  readonly lookMs?: number
}

export interface SnapshotsOptions extends SnapshotsPlace {
  readonly table: RegistryTable
  /** Highest revision that this area has shown. */
  readonly revision: (area: Area) => number
  /** How many changes this area has shown. */
  readonly changes: (area: Area) => number
  /** This area began with one. */
  readonly hasOne: (area: Area) => boolean
  /** Something of this area is in the store and could not be read: the next start is to try and to tell it again. */
  readonly isIncomplete: (area: Area) => boolean
}

export interface RegistrySnapshots {
  /** Undefined: there is none that can be used. */
  readonly read: (area: Area) => Effect.Effect<SnapshotFile.Snapshot | undefined>
  /** Writes one now. False: the watch cannot say where it stands, or something of the area could not be read. */
  readonly save: (area: Area, watch: Watch) => Effect.Effect<boolean, unknown>
  /** Writes them as they are worth it, and never ends. */
  readonly keep: (watches: ReadonlyMap<Area, Watch>) => Effect.Effect<never>
}

export const make = (options: SnapshotsOptions): RegistrySnapshots => {
  const { directory, table, revision, changes, hasOne, isIncomplete } = options
  const { recordsMin = recordsMinDefault, lookMs = lookMsDefault } = options
  const pathOf = (area: Area) => join(directory, `${area}.snapshot`)

  const save: RegistrySnapshots["save"] = (area, watch) =>
    Effect.tryPromise({
      try: async () => {
        const position = watch.position()
        if (position === undefined || isIncomplete(area)) return false
        mkdirSync(directory, { recursive: true, mode: 0o700 })
        const head = { area, position, revision: revision(area) }
        await SnapshotFile.write(pathOf(area), head, table.chunks(area, rowsPerChunk))
        return true
      },
      catch: (error) => error
    })

  const keep: RegistrySnapshots["keep"] = (watches) => {
    const startMs = performance.now()
    const saved = new Map<Area, { readonly changes: number; readonly atMs: number }>()
    const isWanted = (area: Area) => {
      const last = saved.get(area)
      const since = changes(area) - (last?.changes ?? 0)
      const isOld = last !== undefined || hasOne(area) ? performance.now() - (last?.atMs ?? startMs) > ageMsMax : true
      return table.count(area) >= recordsMin && (since >= changesMax || (since > 0 && isOld))
    }
    const look = Effect.forEach(
      watches,
      ([area, watch]) => {
        if (!isWanted(area)) return Effect.void
        const at = { changes: changes(area), atMs: performance.now() }
        return Effect.matchCauseEffect(save(area, watch), {
          // Tried again with the next changes: a full disk is not told every ten seconds.
          onFailure: (cause) => {
            saved.set(area, at)
            return Effect.logWarning(`no snapshot of ${area} could be written: the next start reads all of it`, cause)
          },
          onSuccess: (isWritten) => Effect.sync(() => isWritten && saved.set(area, at))
        })
      },
      { discard: true }
    )
    return Effect.forever(Effect.andThen(Effect.sleep(lookMs), look))
  }

  return { read: (area) => Effect.promise(() => SnapshotFile.read(pathOf(area), area)), save, keep }
}
