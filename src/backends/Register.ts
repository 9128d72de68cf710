/**
 * Listeners of a backend, each for as long as its scope is open, and how they are told.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export const register = <A>(listeners: Set<A>, listener: A): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => listeners.add(listener)),
      () => Effect.sync(() => listeners.delete(listener))
    )
  )

/** A listener that throws harms neither the instance nor the other listeners. */
export const teller =
  (backend: string, runFork: (effect: Effect.Effect<void>) => unknown) =>
  <A extends ReadonlyArray<unknown>>(listeners: ReadonlySet<(...args: A) => void>, ...args: A): void => {
    for (const listener of listeners) {
      try {
        listener(...args)
      } catch (cause) {
        runFork(Effect.logError(`a listener of the ${backend} backend threw`, cause))
      }
    }
  }
