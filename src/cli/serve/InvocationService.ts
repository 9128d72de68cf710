/** `millrace serve invocation`: gateway, shards and the port of workers. @module */
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import { PubSub } from "../../planes/fabric/PubSub.ts"
import * as InvocationPlane from "../../planes/InvocationPlane.ts"
import * as InstanceWatch from "../../planes/invocation/InstanceWatch.ts"
import * as WorkerSecret from "../../planes/WorkerSecret.ts"
import * as Service from "./Service.ts"

export const service = ({ config, check, ready }: Service.Running) =>
  Effect.gen(function* () {
    const { invocation } = config
    const watch = yield* InstanceWatch.make
    const plane = yield* InvocationPlane.open(
      {
        host: invocation.host,
        gatewayPort: invocation.port,
        workerPort: invocation.workerPort,
        workerSocket: invocation.workerSocket === undefined ? undefined : resolve(invocation.workerSocket),
        workerUrl: invocation.workerUrl,
        peerUrl: invocation.peerUrl,
        shardCount: invocation.shards,
        region: invocation.region,
        workerSecret: yield* Service.workerSecret(config),
        workerTokenLifetimeMs: WorkerSecret.tokenLifetimeMs,
        storeIsExclusive: false,
        buffer: {},
        deadLetters: { retentionMs: invocation.deadLetterRetentionMs },
        eventStreams: {},
        heartbeatMs: invocation.heartbeatMs,
        drainMs: invocation.drainMs
      },
      watch
    ).pipe(Effect.provideService(PubSub, watch.pubSub))
    check({ name: "shards", look: Effect.sync(plane.failure) })
    yield* plane.answer
    const port = yield* plane.listen
    ready({
      gateway: `http://${invocation.host}:${port}`,
      worker: plane.workerUrl,
      requestsFound: plane.shards.recordsReplayed
    })
  }).pipe(Service.providing(Service.registry(config)))
