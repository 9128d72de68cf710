/**
 * The number of a function's next version, counted in the store under `version-counters/{functionId}`. Only who makes a
 * version wants it, so it is read then and kept by nobody.
 *
 * Laws: V1 a number is never given twice, however many count. V2 a counter that cannot be read goes on behind the highest
 * number that is known.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as CrashPoint from "../../CrashPoint.ts"
import type { FabricUnavailable, OutcomeUnknown } from "../../fabric/FabricError.ts"
import type { KeyValue } from "../../fabric/KeyValue.ts"
import { ConcurrentChange } from "../ControlErrors.ts"

const Counter = Schema.fromJsonString(Schema.Struct({ last: Schema.Int }))
const decode = Schema.decodeUnknownResult(Counter)
const encode = Schema.encodeSync(Counter)

/** Each try that is in vain is another's success. */
const triesMax = 32

export interface VersionNumbers {
  readonly next: (functionId: string) => Effect.Effect<number, ConcurrentChange | FabricUnavailable | OutcomeUnknown>
  /** Of a function that is gone. */
  readonly forget: (functionId: string) => Effect.Effect<void, FabricUnavailable | OutcomeUnknown>
}

export const make = (options: {
  readonly keyValue: KeyValue["Service"]
  /** Of the versions that are there; 0 = there is none. */
  readonly highestOf: (functionId: string) => number
  readonly onUnreadable: (unreadable: { readonly key: string; readonly reason: string }) => void
}): VersionNumbers => {
  const { keyValue, highestOf, onUnreadable } = options
  const keyOf = (functionId: string) => `version-counters/${functionId}`

  const attempt = Effect.fnUntraced(function* (functionId: string) {
    const key = keyOf(functionId)
    const stored = yield* keyValue.get(key)
    const counter = stored === undefined ? undefined : decode(Buffer.from(stored.value).toString("utf8"))
    if (counter !== undefined && Result.isFailure(counter)) onUnreadable({ key, reason: counter.failure.message })
    const known = counter !== undefined && Result.isSuccess(counter) ? counter.success.last : highestOf(functionId)
    CrashPoint.hit("registry.put.before")
    yield* keyValue.put(key, Buffer.from(encode({ last: known + 1 })), stored?.revision ?? 0)
    return known + 1
  })

  return {
    next: (functionId) => {
      const attempts = (left: number): ReturnType<VersionNumbers["next"]> =>
        Effect.catchTag(attempt(functionId), "RevisionConflict", () =>
          left === 0 ? Effect.fail(new ConcurrentChange({ key: keyOf(functionId) })) : attempts(left - 1)
        )
      return attempts(triesMax)
    },
    forget: (functionId) =>
      // Without an expected revision there is none to be in conflict with.
      Effect.catchTag(keyValue.remove(keyOf(functionId)), "RevisionConflict", (conflict) => Effect.die(conflict))
  }
}
