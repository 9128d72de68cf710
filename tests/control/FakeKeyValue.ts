/**
 * A key-value store in memory for tests of the registry: revisions, compare-and-set, gapless watches. Several registries
 * can share one, as several processes share a real one. `lag: true` delivers changes a turn after the write answered,
 * as a store on the network may.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { FabricUnavailable, RevisionConflict } from "../../src/planes/fabric/FabricError.ts"
import { type Change, type Entry, KeyValue } from "../../src/planes/fabric/KeyValue.ts"

export interface FakeKeyValue {
  readonly service: typeof KeyValue.Service
  readonly entries: () => ReadonlyArray<Entry>
  /** From now on the n-th write from here fails with `FabricUnavailable`; 0 = none does. */
  readonly failWrite: (countdown: number) => void
}

export const make = (options: { readonly lag?: boolean } = {}): FakeKeyValue => {
  const store = new Map<string, Entry>()
  const watchers = new Set<{ readonly prefix: string; readonly deliver: (change: Change) => void }>()
  let revision = 0
  let countdown = 0

  const tell = (key: string, change: Change) => {
    for (const { prefix, deliver } of watchers) {
      if (!key.startsWith(prefix)) continue
      if (options.lag) setImmediate(() => deliver(change))
      else deliver(change)
    }
  }

  const list = (prefix: string) =>
    [...store.values()]
      .filter(({ key }) => key.startsWith(prefix))
      .sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0))

  const refused = (operation: string) => {
    if (countdown === 0) return undefined
    countdown -= 1
    return countdown === 0
      ? new FabricUnavailable({ port: "KeyValue", operation, reason: "the test said so", retryable: true })
      : undefined
  }

  const service = KeyValue.of({
    get: (key) => Effect.sync(() => store.get(key)),
    list: (prefix) => Effect.sync(() => list(prefix)),
    put: (key, value, expectedRevision) =>
      Effect.suspend((): Effect.Effect<number, FabricUnavailable | RevisionConflict> => {
        const failure = refused("put")
        if (failure !== undefined) return Effect.fail(failure)
        const actual = store.get(key)?.revision ?? 0
        if (expectedRevision !== undefined && expectedRevision !== actual) {
          return Effect.fail(new RevisionConflict({ key, expected: expectedRevision, actual }))
        }
        const entry: Entry = { key, value, revision: ++revision }
        store.set(key, entry)
        tell(key, { _tag: "Put", entry })
        return Effect.succeed(entry.revision)
      }),
    remove: (key, expectedRevision) =>
      Effect.suspend((): Effect.Effect<void, FabricUnavailable | RevisionConflict> => {
        const failure = refused("remove")
        if (failure !== undefined) return Effect.fail(failure)
        const actual = store.get(key)?.revision ?? 0
        if (expectedRevision !== undefined && expectedRevision !== actual) {
          return Effect.fail(new RevisionConflict({ key, expected: expectedRevision, actual }))
        }
        if (actual === 0) return Effect.void
        store.delete(key)
        revision += 1
        tell(key, { _tag: "Deleted", key, revision })
        return Effect.void
      }),
    watch: (prefix, onChange) =>
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => {
            const watcher = { prefix, deliver: onChange }
            for (const entry of list(prefix)) onChange({ _tag: "Put", entry })
            onChange({ _tag: "CaughtUp" })
            watchers.add(watcher)
            return watcher
          }),
          (watcher) => Effect.sync(() => watchers.delete(watcher))
        ),
        { position: () => undefined }
      )
  })

  const failWrite = (n: number) => {
    countdown = n
  }

  return { service, entries: () => list(""), failWrite }
}
