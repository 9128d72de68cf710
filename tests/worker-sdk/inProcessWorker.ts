/**
 * A worker in the test's process, over a real connection.
 *
 * @module
 */
import { connectGrpc } from "../../src/worker-sdk/connection/GrpcTransport.ts"
import { connectWebSocket } from "../../src/worker-sdk/connection/WebSocketTransport.ts"
import type { Handler } from "../../src/worker-sdk/Handler.ts"
import { makeInvoke } from "../../src/worker-sdk/Invocation.ts"
import { Worker } from "../../src/worker-sdk/Worker.ts"
import { systemClock, type WorkerClock } from "../../src/worker-sdk/WorkerClock.ts"
import { type FakePlane, isGrpc, type Scheme } from "./FakePlane.ts"

export interface Started {
  readonly worker: Worker
  readonly logs: Array<string>
}

export const startWorker = (
  plane: Pick<FakePlane, "url">,
  scheme: Scheme,
  handler: Handler,
  options: { readonly slots?: number; readonly clock?: WorkerClock } = {}
): Started => {
  const logs: Array<string> = []
  const worker = new Worker({
    url: plane.url(scheme),
    connect: isGrpc(scheme) ? connectGrpc : connectWebSocket,
    request: {
      instanceId: "instance-1",
      functionId: "function-1",
      versionId: "version-1",
      token: "first-token",
      workerId: "worker-1",
      sdk: "test"
    },
    slots: options.slots ?? 8,
    invoke: makeInvoke(handler, systemClock),
    phases: () => ({ processMs: 1, initialiseMs: 2, connectMs: 3 }),
    clock: options.clock ?? systemClock,
    // The shortest backoff, so that tests of reconnecting are quick.
    chance: () => 0,
    log: (text, error) => logs.push(error === undefined ? text : `${text}: ${String(error)}`)
  })
  worker.start()
  return { worker, logs }
}
