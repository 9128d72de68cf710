/**
 * `serve`: makes this process a worker.
 *
 * @module
 */
import { connectWebSocket } from "./connection/WebSocketTransport.ts"
import type { Connect, ConnectOptions, WorkerConnection } from "./connection/WorkerTransport.ts"
import * as Environment from "./Environment.ts"
import { installFetchApi } from "./fetch-api/FetchGlobals.ts"
import type { Handler } from "./Handler.ts"
import { makeInvoke } from "./Invocation.ts"
import { Worker } from "./Worker.ts"
import { systemClock } from "./WorkerClock.ts"
import * as Process from "./WorkerProcess.ts"

const loadedAtMs = systemClock.nowMs()

const sdk = "millrace-node/0.1.0"

/** A worker that runs. */
export interface Served {
  /** Finishes what it holds and leaves, as SIGTERM does; the process ends when nothing else keeps it. */
  readonly drain: () => void
  /** Settles when the worker has left its plane. */
  readonly ended: Promise<void>
}

const log = (text: string, error?: unknown): void => {
  if (error === undefined) console.error(`millrace: ${text}`)
  else console.error(`millrace: ${text}:`, error)
}

/** gRPC is loaded only by workers that are told to use it: it costs about as much as Node's own start. */
const connectGrpc: Connect = (options: ConnectOptions): WorkerConnection => {
  let connection: WorkerConnection | undefined
  let ended: string | undefined
  import("./connection/GrpcTransport.ts").then(
    ({ connectGrpc }) => {
      if (ended === undefined) connection = connectGrpc(options)
    },
    (error: unknown) => options.events.onClosed({ reason: `gRPC could not be loaded: ${String(error)}` })
  )
  return {
    send: (message) => connection?.send(message) ?? false,
    finish: () => connection?.finish(),
    destroy: (reason) => {
      if (connection !== undefined) return connection.destroy(reason)
      ended = reason
      setImmediate(() => options.events.onClosed({ reason }))
    }
  }
}

/**
 * Connects this process to the Millrace that started it and runs `handler` for each call.
 *
 * Takes a fetch handler, anything with one (a Hono app), a function that returns an Effect, or `{ batch }`. Settings
 * come from the environment that Millrace gives its instances; without it the process says how to run the function and
 * exits with code 1. SIGTERM, SIGINT and the plane's own wish drain: calls finish, then the process exits with code 0.
 *
 * A handler that throws fails its call only. A promise that rejects with nobody listening is logged and ends nothing;
 * an exception outside any call ends the process, as Node does. Replaces the global `Response` and `Headers` by light
 * ones of the same behaviour, unless `MILLRACE_NATIVE_FETCH=1`.
 */
export const serve = (handler: Handler): Served => {
  const servedAtMs = systemClock.nowMs()
  const invoke = makeInvoke(handler, systemClock)
  const environment = Environment.read(process.env)
  if ("_tag" in environment) {
    console.error(environment.message)
    process.exit(1)
  }
  if (process.env["MILLRACE_NATIVE_FETCH"] !== "1") installFetchApi()
  const worker = new Worker({
    url: environment.url,
    connect: environment.url.startsWith("grpc") ? connectGrpc : connectWebSocket,
    request: {
      instanceId: environment.instanceId,
      functionId: environment.functionId,
      versionId: environment.versionId,
      token: environment.token,
      workerId: `${environment.instanceId}.${process.pid}.${Math.floor(Math.random() * 2 ** 48).toString(36)}`,
      sdk
    },
    slots: environment.slots,
    invoke,
    phases: () => ({
      processMs: environment.spawnedAtMs === undefined ? 0 : Math.max(0, loadedAtMs - environment.spawnedAtMs),
      initialiseMs: Math.max(0, servedAtMs - loadedAtMs),
      connectMs: Math.max(0, systemClock.nowMs() - servedAtMs)
    }),
    clock: systemClock,
    chance: Math.random,
    log
  })
  worker.start()
  Process.attach(worker, log)
  return { drain: () => worker.drain("asked by the function"), ended: worker.ended.then(() => undefined) }
}
