/**
 * Reading a log to its end, so that it stays the end: an owner that was deposed and does not know it could still append
 * where the new one has written nothing yet. So the new one writes an empty record before it serves; whoever expects to
 * append before that is refused from then on. What came in between is read first.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { FabricUnavailable, OutcomeUnknown, PositionConflict } from "../fabric/FabricError.ts"
import type { Log, LogRecord } from "../fabric/Log.ts"

/** An owner that writes on and on while it is being deposed is one that lives: then its lease is not over. */
const roundsMax = 100

/**
 * False: no other process can have the log open, and no fence is needed. Else it succeeds when this process owns the log;
 * what is there can be read before.
 */
export type Turn = false | Effect.Effect<void>

/** No record of ours is empty. */
const fence: Uint8Array = new Uint8Array(0)

interface Reading {
  readonly name: string
  readonly from: number
  /** As it was when it was asked last; what comes in between is found. */
  readonly end: number
  /** Records to read at once. */
  readonly chunk: number
  readonly turn: Turn
  readonly onRecord: (record: LogRecord) => void
  readonly onChunk?: () => void
}

/** Answers the position where the caller may append. Fences of the past are not shown. */
export const readToEnd = Effect.fnUntraced(function* (
  log: Log["Service"],
  { name, from, end: knownEnd, chunk, turn, onRecord, onChunk }: Reading
): Effect.fn.Return<number, FabricUnavailable | OutcomeUnknown> {
  let position = from
  let end = knownEnd
  for (let round = 0; ; round++) {
    while (position < end) {
      const records: ReadonlyArray<LogRecord> = yield* log.read(name, position, chunk)
      if (records.length === 0) break
      for (const record of records) if (record.bytes.length > 0) onRecord(record)
      onChunk?.()
      position += records.length
    }
    if (turn === false) return position
    yield* turn
    const fenced: { readonly after: number } | { readonly conflict: PositionConflict } = yield* log
      .append(name, position, [fence], { mayUseReserve: true })
      .pipe(
        Effect.map((after) => ({ after })),
        Effect.catchTag("PositionConflict", (conflict) => Effect.succeed({ conflict }))
      )
    if ("after" in fenced) return fenced.after
    if (round === roundsMax) throw new Error(`the log ${fenced.conflict.message}, again and again`)
    end = fenced.conflict.actual
  }
})
