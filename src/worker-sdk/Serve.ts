/**
 * `serve`: makes this process a worker that runs a handler.
 *
 * @module
 */
import { installFetchApi } from "./fetch-api/FetchGlobals.ts"
import type { Handler } from "./Handler.ts"
import { makeInvoke } from "./Invocation.ts"
import { environmentOrExit, launch, log } from "./Launch.ts"
import { systemClock } from "./WorkerClock.ts"
import * as WorkerProcess from "./WorkerProcess.ts"

/** A worker that runs. */
export interface Served {
  /** Finishes what it holds and leaves, as SIGTERM does; then the process ends. */
  readonly drain: () => void
  /** Settles when the worker has left its plane. */
  readonly ended: Promise<void>
}

/**
 * Connects this process to the Millrace that started it and runs `handler` for each call.
 *
 * Takes a fetch handler, anything with one (a Hono app), a function that returns an Effect, or `{ batch }`. Settings
 * come from the environment that Millrace gives its instances; without it the process says how to run the function and
 * exits with code 1. SIGTERM, SIGINT and the plane's own wish drain: calls finish, then the process exits with code 0.
 *
 * A handler that throws fails its call only; the call is tried again elsewhere if what it threw has `retryable: true`. A
 * promise that rejects with nobody listening is logged and ends nothing; an exception outside any call ends the process,
 * as Node does. The names `Response`, `Headers`, `Request` and `fetch` mean light classes of the same behaviour from then
 * on, unless `MILLRACE_NATIVE_FETCH=1`.
 */
export const serve = (handler: Handler): Served => {
  const servedAtMs = systemClock.nowMs()
  const invoke = makeInvoke(handler, systemClock)
  const environment = environmentOrExit()
  if (process.env["MILLRACE_NATIVE_FETCH"] !== "1") installFetchApi()
  const worker = launch(environment, invoke, servedAtMs)
  WorkerProcess.attach(worker, { log, onEnded: WorkerProcess.exit })
  return { drain: () => worker.drain("asked by the function"), ended: worker.ended.then(() => undefined) }
}
