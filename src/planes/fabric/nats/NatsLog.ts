/**
 * `Log` over one JetStream stream for each shard. Laws: see `Log`; how: `LogStream`, `Snapshots`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { FabricUnavailable, OutcomeUnknown, PositionConflict } from "../FabricError.ts"
import type { Log } from "../Log.ts"
import { type Appended, LogStream } from "./LogStream.ts"
import * as NatsFailure from "./NatsFailure.ts"
import * as Retry from "./Retry.ts"
import { Snapshots } from "./Snapshots.ts"
import { logStream, type Streams } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

export const recordsMax = 4096
/** Bodies of that size belong into the blob store. */
export const batchBytesMax = 32 * 1024 * 1024
export const shardNameMax = 200

const refuse = (operation: string, reason: string, retryable: boolean): FabricUnavailable =>
  new FabricUnavailable({ port: "Log", operation, reason, retryable })

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0

const shardProblem = (shard: string): string | undefined =>
  shard.length > 0 && shard.length <= shardNameMax && shard.isWellFormed() && !shard.includes("\0")
    ? undefined
    : `a shard's name has 1 to ${shardNameMax} characters and ${JSON.stringify(shard.slice(0, 40))} is none`

const appendProblem = (shard: string, expectedPosition: number, records: ReadonlyArray<Uint8Array>) => {
  if (records.length === 0 || records.length > recordsMax) {
    return `a batch has 1 to ${recordsMax} records and this one has ${records.length}`
  }
  const bytes = records.reduce((sum, record) => sum + record.byteLength, 0)
  if (bytes > batchBytesMax) return `a batch has at most ${batchBytesMax} bytes and this one has ${bytes}`
  if (!isCount(expectedPosition)) return `${expectedPosition} is no position`
  return shardProblem(shard)
}

const resultOf = (
  shard: string,
  expected: number,
  appended: Appended
): Effect.Effect<number, PositionConflict | FabricUnavailable | OutcomeUnknown> => {
  switch (appended._tag) {
    case "Done":
      return Effect.succeed(appended.end)
    case "Conflict":
      return Effect.fail(new PositionConflict({ shard, expected, actual: appended.actual }))
    case "Refused":
      return Effect.fail(refuse("append", appended.reason, appended.retryable))
    case "Unknown":
      return Effect.fail(new OutcomeUnknown({ port: "Log", operation: "append", reason: appended.reason }))
  }
}

export const make = (supervisor: Supervisor, streams: Streams): Log["Service"] => {
  /** Whatever fails here changed nothing, or may be asked again. */
  const asking = <A>(operation: string, question: () => Promise<A>): Effect.Effect<A, FabricUnavailable> =>
    Effect.tryPromise({
      try: () => Retry.ask(supervisor, question),
      catch: (error) => refuse(operation, NatsFailure.reasonOf(error), NatsFailure.mayPass(NatsFailure.of(error)))
    })
  const snapshots = new Snapshots(supervisor, streams)
  const logs = new Map<string, LogStream>()
  const logOf = (shard: string): LogStream => {
    let log = logs.get(shard)
    if (log === undefined) {
      log = new LogStream(supervisor, streams, logStream(supervisor.options.prefix, shard))
      logs.set(shard, log)
    }
    return log
  }

  return {
    append: (shard, expectedPosition, records, options) => {
      const problem = appendProblem(shard, expectedPosition, records)
      if (problem !== undefined) return Effect.fail(refuse("append", problem, false))
      return Effect.callback((resume) => {
        const withdraw = logOf(shard).append(expectedPosition, records, options?.mayUseReserve === true, (appended) =>
          resume(resultOf(shard, expectedPosition, appended))
        )
        return Effect.sync(withdraw)
      })
    },
    read: (shard, position, limit) =>
      isCount(position) && isCount(limit) && limit > 0
        ? asking("read", () => logOf(shard).read(position, limit))
        : Effect.fail(refuse("read", `cannot read ${limit} records from position ${position} on`, false)),
    bounds: (shard) =>
      asking("bounds", async () => {
        const { first, end } = await logOf(shard).bounds()
        return { first, end }
      }),
    saveSnapshot: (shard, snapshot) =>
      Effect.flatMap(
        asking("saveSnapshot", () => snapshots.save(shard, snapshot)),
        (saved): Effect.Effect<void, FabricUnavailable | OutcomeUnknown> => {
          if (saved._tag === "Stored") return Effect.void
          return Effect.fail(
            saved._tag === "Refused"
              ? refuse("saveSnapshot", saved.reason, saved.retryable)
              : new OutcomeUnknown({ port: "Log", operation: "saveSnapshot", reason: saved.reason })
          )
        }
      ),
    loadSnapshot: (shard) => asking("loadSnapshot", () => snapshots.load(shard)),
    truncate: (shard, position) => asking("truncate", () => logOf(shard).truncate(position))
  }
}
