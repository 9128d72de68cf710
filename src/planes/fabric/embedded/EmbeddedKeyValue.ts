/**
 * `KeyValue` over the store thread. Laws: see `KeyValue`.
 *
 * Watching needs nothing of the store but a list: every change goes through this process, answers come in the order in
 * which the store made the changes, and a list is one of them. It comes in pages, so that nobody waits for a long one. What
 * changes meanwhile is left out of later pages and delivered behind the last, so that the order is that of the revisions.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { type FabricUnavailable, RevisionConflict } from "../FabricError.ts"
import type { Change, KeyValue } from "../KeyValue.ts"
import * as EntryPage from "./EntryPage.ts"
import { type Place, read, refuse, write } from "./Outcome.ts"
import type { ReportFault } from "./ReportFault.ts"
import type { StoreClient } from "./StoreClient.ts"
import type { StoredPage } from "./StoreMessage.ts"

export const keyBytesMax = 1024
/** Specs are kilobytes; a value of megabytes would hold up every shard's commits. */
export const valueBytesMax = 4 * 1024 * 1024

interface Watcher {
  readonly prefix: string
  readonly deliver: (change: Change) => void
  /** Changes since the first page, until the last one is delivered. */
  held: Array<Change> | undefined
  isLive: boolean
}

const place = (operation: string): Place => ({ port: "KeyValue", operation })

const keyProblem = (key: string): string | undefined => {
  const isKey =
    key.length > 0 && key.isWellFormed() && !key.includes("\0") && Buffer.byteLength(key, "utf8") <= keyBytesMax
  return isKey
    ? undefined
    : `a key is text of 1 to ${keyBytesMax} bytes and ${JSON.stringify(key.slice(0, 40))} is none`
}

export const make = (client: StoreClient, report: ReportFault): KeyValue["Service"] => {
  /** Replaced whole on each change, so that one who comes in the middle of a delivery does not see it. */
  let watchers: ReadonlyArray<Watcher> = []

  const announce = (key: string, change: Change) => {
    for (const watcher of watchers) {
      if (!watcher.isLive || !key.startsWith(watcher.prefix)) continue
      if (watcher.held === undefined) watcher.deliver(change)
      else watcher.held.push(change)
    }
  }

  const conflict = (key: string, expected: number | undefined) => (actual: number) =>
    new RevisionConflict({ key, expected: expected ?? 0, actual })

  const put: KeyValue["Service"]["put"] = (key, value, expectedRevision) => {
    const problem =
      value.byteLength > valueBytesMax
        ? `a value has at most ${valueBytesMax} bytes and this one has ${value.byteLength}`
        : keyProblem(key)
    if (problem !== undefined) return Effect.fail(refuse(place("put"), problem, false))
    return Effect.suspend(() => {
      // A copy: the caller may go on with its buffer, and a view would take the whole buffer to the other thread.
      const stored = new Uint8Array(value)
      return write({
        client,
        place: place("put"),
        bytes: stored.byteLength,
        order: () => ({ _tag: "Put", key, value: stored, expectedRevision }),
        conflict: conflict(key, expectedRevision),
        onDone: (revision) => announce(key, { _tag: "Put", entry: { key, value: stored, revision } })
      })
    })
  }

  const remove: KeyValue["Service"]["remove"] = (key, expectedRevision) => {
    const problem = keyProblem(key)
    if (problem !== undefined) return Effect.fail(refuse(place("remove"), problem, false))
    return Effect.asVoid(
      write({
        client,
        place: place("remove"),
        bytes: 0,
        order: () => ({ _tag: "Remove", key, expectedRevision }),
        conflict: conflict(key, expectedRevision),
        onDone: (revision) => {
          if (revision > 0) announce(key, { _tag: "Deleted", key, revision })
        }
      })
    )
  }

  const startWatching = (prefix: string, onChange: (change: Change) => void) =>
    Effect.callback<Watcher, FabricUnavailable>((resume) => {
      const deliver = (change: Change) => {
        try {
          onChange(change)
        } catch (error) {
          report(`a watcher of ${prefix} threw`, error)
        }
      }
      const watcher: Watcher = { prefix, deliver, held: undefined, isLive: true }
      /** Of the first page: what is newer comes behind the last one. */
      let revision = 0

      const caughtUp = () => {
        const { held = [] } = watcher
        watcher.held = undefined
        for (const change of held) deliver(change)
        deliver({ _tag: "CaughtUp" })
        resume(Effect.succeed(watcher))
      }

      const take = (page: StoredPage) => {
        EntryPage.forEach(page.bytes, (entry) => {
          if (entry.revision <= revision) deliver({ _tag: "Put", entry })
        })
        if (page.last === undefined) caughtUp()
      }

      const ask = (after: string) =>
        client.submit<"ListPage">({
          bytes: 0,
          order: () => ({ _tag: "ListPage", prefix, after }),
          onAnswer: (answer) => {
            if (answer._tag !== "Done") {
              const reason = "reason" in answer ? answer.reason : `the store answered ${answer._tag}`
              stopWatching(watcher)
              return resume(Effect.fail(refuse(place("watch"), reason, answer._tag === "Refused" && answer.retryable)))
            }
            const page = answer.value
            if (after === "") {
              revision = page.revision
              watcher.held = []
              watchers = [...watchers, watcher]
            }
            if (page.last === undefined) return take(page)
            // The store reads the next one while this one is delivered: it is asked at the end of this turn, and before that.
            ask(page.last)
            queueMicrotask(() => take(page))
          }
        })
      ask("")
    })

  const stopWatching = (watcher: Watcher) => {
    watcher.isLive = false
    watchers = watchers.filter((other) => other !== watcher)
  }

  return {
    get: (key) => read<"Get">(client, place("get"), { _tag: "Get", key }),
    list: (prefix) => read<"List">(client, place("list"), { _tag: "List", prefix }),
    put,
    remove,
    watch: (prefix, onChange) =>
      Effect.as(
        Effect.acquireRelease(startWatching(prefix, onChange), (watcher) => Effect.sync(() => stopWatching(watcher))),
        { position: () => undefined }
      )
  }
}
