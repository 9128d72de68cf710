/**
 * Brings every handler shape down to one function.
 *
 * @module
 */
import { makeBatching } from "./Batch.ts"
import type { Context, Handler, Invoke, ResponseEffect } from "./Handler.ts"
import type { WorkerClock } from "./WorkerClock.ts"

const effectTypeId = "~effect/Effect"

const isEffect = (value: unknown): value is ResponseEffect =>
  typeof value === "object" && value !== null && effectTypeId in value

/** Effect is loaded by the first handler that returns one, from the handler's own dependencies as ours. */
const runEffect = async (effect: ResponseEffect, context: Context): Promise<Response> => {
  const Effect = await import("effect/Effect")
  // The type id is Effect's own mark; that it succeeds with a Response is checked by who sends it.
  return Effect.runPromise(effect as unknown as import("effect/Effect").Effect<Response>, { signal: context.signal })
}

type Callable = (...values: ReadonlyArray<unknown>) => unknown

const callable = (value: unknown): Callable | undefined =>
  // What a function takes and returns cannot be seen from outside; its answer is checked when it comes.
  typeof value === "function" ? (value as Callable) : undefined

const fromFunction =
  (run: Callable, self: unknown): Invoke =>
  (request, context) => {
    const answer = run.call(self, request, context, context)
    // An answer that is neither is refused, with a sentence for the author, where it is sent.
    return isEffect(answer) ? runEffect(answer, context) : (answer as Response | Promise<Response>)
  }

export const makeInvoke = (handler: Handler, clock: WorkerClock): Invoke => {
  const plain = callable(handler)
  if (plain !== undefined) return fromFunction(plain, undefined)
  if (typeof handler === "object" && handler !== null) {
    if ("batch" in handler) return makeBatching(handler.batch, clock)
    const fetch = "fetch" in handler ? callable(handler.fetch) : undefined
    if (fetch !== undefined) return fromFunction(fetch, handler)
  }
  throw new TypeError("serve takes a function, an object with `fetch` (a Hono app is one), or `{ batch }`")
}
