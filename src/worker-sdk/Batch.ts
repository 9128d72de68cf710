/**
 * Dynamic batching: calls that arrive close together go to the handler as one list.
 *
 * A batch leaves when it has `maxSize` calls or its first call has waited `maxWaitMs`, whichever is first. Calls that
 * are cancelled while they wait leave the batch.
 *
 * @module
 */
import { LightResponse } from "./fetch-api/LightResponse.ts"
import type { BatchItem, BatchOptions, Invoke } from "./Handler.ts"
import type { Timer, WorkerClock } from "./WorkerClock.ts"

interface Waiting extends BatchItem {
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

const check = ({ maxSize, maxWaitMs }: BatchOptions): void => {
  if (!Number.isInteger(maxSize) || maxSize < 1)
    throw new TypeError(`batch.maxSize is ${maxSize}; it must be 1 or more`)
  if (!(maxWaitMs >= 0)) throw new TypeError(`batch.maxWaitMs is ${maxWaitMs}; it must be 0 or more`)
}

export const makeBatching = (options: BatchOptions, clock: WorkerClock): Invoke => {
  check(options)
  let waiting: Array<Waiting> = []
  let timer: Timer | undefined

  const run = async (batch: ReadonlyArray<Waiting>): Promise<void> => {
    const results = await options.handler(batch.map(({ request, context }) => ({ request, context })))
    if (!Array.isArray(results) || results.length !== batch.length) {
      const count = Array.isArray(results) ? `${results.length} results` : "no list"
      throw new TypeError(`the batch handler got ${batch.length} items and returned ${count}`)
    }
    batch.forEach((item, index) => {
      const result: unknown = results[index]
      // A result that is no Response is told to its own caller by whoever sends it.
      if (result instanceof Error) item.reject(result)
      else item.resolve(result instanceof LightResponse ? result : (result as Response))
    })
  }

  const leave = (): void => {
    timer?.cancel()
    timer = undefined
    const batch = waiting.splice(0, options.maxSize)
    if (batch.length === 0) return
    run(batch).catch((error: unknown) => {
      for (const item of batch) item.reject(error)
    })
  }

  return (request, context) =>
    new Promise((resolve, reject) => {
      const item: Waiting = { request, context, resolve, reject }
      waiting.push(item)
      context.signal.addEventListener(
        "abort",
        () => {
          if (!waiting.includes(item)) return
          waiting = waiting.filter((other) => other !== item)
          reject(context.signal.reason)
        },
        { once: true }
      )
      if (waiting.length >= options.maxSize) leave()
      else timer ??= clock.after(options.maxWaitMs, leave)
    })
}
