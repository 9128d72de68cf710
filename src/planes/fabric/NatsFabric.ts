/**
 * The fabric of several processes: NATS JetStream. Blobs lie in a folder that the processes share.
 *
 * Laws: those of the ports, and: it does not start on servers, streams or consumers whose settings could lose what was
 * accepted, and says which line to change; what it makes itself is made as it must be.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { BlobStore } from "./BlobStore.ts"
import type { Fabric } from "./EmbeddedFabric.ts"
import * as EmbeddedBlobStore from "./embedded/EmbeddedBlobStore.ts"
import * as ReportFault from "./embedded/ReportFault.ts"
import { FabricUnavailable, UnsafeServer } from "./FabricError.ts"
import { KeyValue } from "./KeyValue.ts"
import { Log } from "./Log.ts"
import * as KeySweep from "./nats/KeySweep.ts"
import * as NatsFailure from "./nats/NatsFailure.ts"
import * as NatsKeyValue from "./nats/NatsKeyValue.ts"
import * as NatsLog from "./nats/NatsLog.ts"
import { defaults, type NatsOptions } from "./nats/NatsOptions.ts"
import * as NatsPubSub from "./nats/NatsPubSub.ts"
import * as NatsWorkQueue from "./nats/NatsWorkQueue.ts"
import * as Retry from "./nats/Retry.ts"
import * as StartCheck from "./nats/StartCheck.ts"
import { Streams } from "./nats/Streams.ts"
import { Supervisor } from "./nats/Supervisor.ts"
import { PubSub } from "./PubSub.ts"
import { WorkQueue } from "./WorkQueue.ts"

export type NatsFabricOptions = Partial<NatsOptions> &
  Pick<NatsOptions, "servers"> & {
    /** Of the blobs; made when it is missing. Gateways that serve the same shards need the same one. */
    readonly blobDirectory: string
  }

/** The connection itself, for health checks and for those who watch it. */
export class NatsLink extends Context.Service<NatsLink, Supervisor>()("millrace/planes/fabric/NatsLink") {}

const openError = (error: unknown): UnsafeServer | FabricUnavailable =>
  error instanceof UnsafeServer
    ? error
    : new FabricUnavailable({
        port: "NATS",
        operation: "open",
        reason: NatsFailure.reasonOf(error),
        retryable: NatsFailure.mayPass(NatsFailure.of(error))
      })

const judgeEveryMs = 5_000

const promise = <A>(body: () => Promise<A>) => Effect.tryPromise({ try: body, catch: openError })

/** Until each of these servers has answered once. It is too late to refuse the start, and not to say so. */
const judgeLate = (supervisor: Supervisor, names: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let left = names; left.length > 0; ) {
      yield* Effect.sleep(judgeEveryMs)
      const late = yield* Effect.promise(() => StartCheck.late(supervisor, left))
      for (const finding of late.unsafe) yield* Effect.logError(`accepted requests could be lost: ${finding}`)
      left = late.silent
    }
  })

const make = Effect.fnUntraced(function* ({ blobDirectory, ...given }: NatsFabricOptions) {
  const options: NatsOptions = { ...defaults, ...given }
  const report = yield* ReportFault.make
  const supervisor = yield* Effect.acquireRelease(
    promise(() => Supervisor.open(options, report)),
    (supervisor) => Effect.promise(() => supervisor.close())
  )
  const streams = new Streams(supervisor)
  const { waived, silent } = yield* promise(() => Retry.ask(supervisor, () => StartCheck.run(supervisor, streams)))
  for (const finding of waived) yield* Effect.logWarning(`not safe when the power is lost: ${finding}`)
  if (silent.length > 0) {
    const what = `servers that were silent at the start were not judged, and are when they answer: ${silent.join(", ")}`
    yield* Effect.logWarning(what)
    yield* Effect.forkScoped(judgeLate(supervisor, silent))
  }
  const keyValue = yield* promise(() => NatsKeyValue.make(supervisor, streams, report))
  yield* promise(() => supervisor.track(KeySweep.runInTurn(supervisor))).pipe(
    Effect.catch((error) => Effect.logWarning(`marks of removed keys were not swept: ${error.message}`)),
    Effect.delay(KeySweep.keptMs),
    Effect.repeat(Schedule.forever),
    Effect.forkScoped
  )
  const blobs = yield* EmbeddedBlobStore.make(blobDirectory, { isShared: true })
  return Context.make(Log, NatsLog.make(supervisor, streams)).pipe(
    Context.add(KeyValue, keyValue),
    Context.add(WorkQueue, NatsWorkQueue.make(supervisor, streams, report)),
    Context.add(PubSub, NatsPubSub.make(supervisor, report)),
    Context.add(BlobStore, blobs),
    Context.add(NatsLink, supervisor)
  )
})

/**
 * All five ports, four of them on NATS.
 *
 * Fails with `UnsafeServer` when settings would lose accepted work, naming every line to change, and with
 * `FabricUnavailable` when no server takes the connection within `connectLimitMs`.
 */
export const layer = (options: NatsFabricOptions): Layer.Layer<Fabric | NatsLink, UnsafeServer | FabricUnavailable> =>
  Layer.effectContext(make(options))
