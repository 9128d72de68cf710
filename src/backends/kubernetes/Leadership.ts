/**
 * One of the agents of a cluster acts at a time: the lease machine of the core over a Kubernetes Lease.
 *
 * The epoch is `leaseTransitions`; the revision is the object's version, which the server compares on each write.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Lease from "../../core/lease/Lease.ts"
import type { Api, ApiFailure } from "./Api.ts"
import * as Names from "./Names.ts"

export interface Options extends Lease.Options {
  readonly cluster: string
  /** Of the Lease objects. */
  readonly path: string
  readonly onGained: () => void
  readonly onLost: (reason: string) => void
}

export interface Leadership {
  /** Ask before each act. */
  readonly isActing: () => boolean
}

const sentAtAnnotation = `${Names.group}/sent-at-ms`

const Resource = Schema.Struct({
  metadata: Schema.Struct({
    resourceVersion: Schema.String,
    annotations: Schema.optional(Schema.Record(Schema.String, Schema.String))
  }),
  spec: Schema.Struct({
    holderIdentity: Schema.optional(Schema.NullOr(Schema.String)),
    leaseDurationSeconds: Schema.optional(Schema.NullOr(Schema.Int)),
    leaseTransitions: Schema.optional(Schema.NullOr(Schema.Int))
  })
})
const decodeResource = Schema.decodeUnknownResult(Resource)

const seenOf = (object: unknown): Lease.Seen | undefined => {
  const read = decodeResource(object)
  if (Result.isFailure(read)) return undefined
  const { metadata, spec } = read.success
  const holder = spec.holderIdentity ?? ""
  return {
    revision: Number(metadata.resourceVersion),
    record: {
      epoch: Math.max(1, spec.leaseTransitions ?? 1),
      holder: holder === "" ? null : holder,
      ttlMs: Math.max(1, (spec.leaseDurationSeconds ?? 1) * 1_000),
      sentAtMs: Number(metadata.annotations?.[sentAtAnnotation] ?? 0)
    }
  }
}

const nowMs = () => performance.now()

/** Wants the leadership until the scope closes, then gives it back. */
export const start = (api: Api, options: Options): Effect.Effect<Leadership, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { cluster } = options
    const name = Names.leaseName(cluster)
    const run = Effect.runForkWith(yield* Effect.context<never>())
    let state = Lease.idle(nowMs())
    let timer: NodeJS.Timeout | undefined
    let isClosed = false
    let lastWrite: Effect.Effect<void> = Effect.void

    const send = (event: Lease.Event): void => {
      const [next, commands] = Lease.step(options, state, event)
      state = next
      for (const command of commands) perform(command)
      clearTimeout(timer)
      const wakeAtMs = Lease.wakeAtMs(options, state)
      if (isClosed || !Number.isFinite(wakeAtMs)) return
      timer = setTimeout(() => send(Lease.Event.Ticked({ nowMs: nowMs() })), Math.max(1, wakeAtMs - nowMs()))
    }

    const onRead = (object: unknown): void => {
      const seen = object === undefined ? { record: null, revision: 0 } : seenOf(object)
      if (seen !== undefined) send(Lease.Event.Seen({ nowMs: nowMs(), seen }))
    }

    const read = api.find({ method: "GET", path: `${options.path}/${name}` }).pipe(
      Effect.map(onRead),
      // It ticks, and asks again.
      Effect.ignore
    )

    const compareAndSet = ({ record, expectedRevision }: Extract<Lease.Command, { _tag: "CompareAndSet" }>) => {
      const isNew = expectedRevision === 0
      const now = new Date().toISOString().replace("Z", "000Z")
      const body = {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: {
          name,
          labels: Names.labelsOfCluster(cluster),
          annotations: { [sentAtAnnotation]: String(record.sentAtMs) },
          ...(isNew ? {} : { resourceVersion: String(expectedRevision) })
        },
        spec: {
          holderIdentity: record.holder ?? "",
          leaseDurationSeconds: Math.max(1, Math.ceil(record.ttlMs / 1_000)),
          leaseTransitions: record.epoch,
          renewTime: now
        }
      }
      const path = isNew ? options.path : `${options.path}/${name}`
      return api.call({ method: isNew ? "POST" : "PUT", path, body }).pipe(
        Effect.map((object): Lease.Event => {
          const seen = seenOf(object)
          if (seen === undefined) return Lease.Event.WriteUnknown({ nowMs: nowMs() })
          return Lease.Event.Written({ nowMs: nowMs(), seen: { ...seen, record } })
        }),
        Effect.catch((failure: ApiFailure) =>
          Effect.succeed(
            failure.status === 409
              ? Lease.Event.Refused({ nowMs: nowMs() })
              : Lease.Event.WriteUnknown({ nowMs: nowMs() })
          )
        ),
        Effect.map(send)
      )
    }

    const perform = (command: Lease.Command): void => {
      switch (command._tag) {
        case "Read":
          run(Effect.delay(read, Math.max(0, command.atMs - nowMs())))
          return
        case "CompareAndSet": {
          const write = compareAndSet(command)
          if (isClosed) lastWrite = write
          else run(write)
          return
        }
        case "Gained":
          return options.onGained()
        case "Lost":
          return options.onLost(command.reason)
      }
    }

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        isClosed = true
        send(Lease.Event.ReleaseWanted({ nowMs: nowMs() }))
        clearTimeout(timer)
        return Effect.timeoutOption(lastWrite, 2_000)
      })
    )
    send(Lease.Event.Wanted({ nowMs: nowMs() }))
    return { isActing: () => Lease.isActing(options, state, nowMs()) }
  })
