/**
 * Makes this process a worker: what `serve` and `wrap` have in common.
 *
 * @module
 */
import { connectWebSocket } from "./connection/WebSocketTransport.ts"
import type { Connect, ConnectOptions, WorkerConnection } from "./connection/WorkerTransport.ts"
import * as Environment from "./Environment.ts"
import type { Invoke } from "./Handler.ts"
import { Worker } from "./Worker.ts"
import { systemClock } from "./WorkerClock.ts"

/** The end of the process's own start: the SDK was loaded, or a process that had loaded it before was given a function. */
let begunAtMs = systemClock.nowMs()

/** Said by a zygote (`zygote-main.ts`): the time before was not spent on this function. */
export const beginNow = (): void => {
  begunAtMs = systemClock.nowMs()
}

const sdk = "millrace-node/0.1.0"

export const log = (text: string, error?: unknown): void => {
  if (error === undefined) console.error(`millrace: ${text}`)
  else console.error(`millrace: ${text}:`, error)
}

/** What Millrace told this process; without that it says how to be started, and ends. */
export const environmentOrExit = (): Environment.WorkerEnvironment => {
  const environment = Environment.read(process.env)
  if (!("_tag" in environment)) return environment
  console.error(environment.message)
  process.exit(1)
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

/** Begins to connect before it returns. `servedAtMs`: when the function's own set-up was over. */
export const launch = (environment: Environment.WorkerEnvironment, invoke: Invoke, servedAtMs: number): Worker => {
  const worker = new Worker({
    url: environment.url,
    connect: Environment.isGrpc(environment.url) ? connectGrpc : connectWebSocket,
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
      processMs: environment.spawnedAtMs === undefined ? 0 : Math.max(0, begunAtMs - environment.spawnedAtMs),
      initialiseMs: Math.max(0, servedAtMs - begunAtMs),
      connectMs: Math.max(0, systemClock.nowMs() - servedAtMs)
    }),
    clock: systemClock,
    chance: Math.random,
    log
  })
  worker.start()
  return worker
}
