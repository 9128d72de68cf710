/**
 * A secret that all processes of one installation share through the key-value store: made by whoever comes first, by
 * compare-and-set, and the same for everybody from then on. Who can read the store can read it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { FabricUnavailable, OutcomeUnknown, RevisionConflict } from "./fabric/FabricError.ts"
import { KeyValue } from "./fabric/KeyValue.ts"

/** More than ever collide: each conflict means that another one has made it. */
const triesMax = 5

/** `make` is called when there is none. */
export const shared = (
  name: string,
  make: () => string
): Effect.Effect<string, FabricUnavailable | OutcomeUnknown | RevisionConflict, KeyValue> => {
  const key = `secrets/${name}`
  return Effect.gen(function* () {
    const keyValue = yield* KeyValue
    const found = yield* keyValue.get(key)
    if (found !== undefined) return Buffer.from(found.value).toString("utf8")
    const made = make()
    yield* keyValue.put(key, Buffer.from(made), 0)
    return made
  }).pipe(Effect.retry({ times: triesMax, while: ({ _tag }) => _tag !== "FabricUnavailable" }))
}
