/**
 * Where a watch of keys stood, so that a later one goes on from there and does not read everything.
 *
 * Laws: M1 who goes on has heard of all that it does not hear of from there on: it is the same stream, the newest message
 * that was delivered still stands in it, and no removal behind it was swept. M2 whatever is not certain of that begins anew.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { WatchPosition } from "../KeyValue.ts"
import * as KeySweep from "./KeySweep.ts"
import * as Retry from "./Retry.ts"
import * as StreamReader from "./StreamReader.ts"
import { keyStream } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

/** The client reads the time of a message in two ways, and one of them rounds. */
const timeErrorMs = 1

/**
 * `created`: of the stream. `through`: all up to this sequence was heard of. `newest`: the last message that was delivered,
 * with its time, Unix ms: a store that was set back gives its sequence to another one.
 */
const Mark = Schema.fromJsonString(
  Schema.Struct({
    created: Schema.String,
    through: Schema.Int,
    newest: Schema.Struct({ sequence: Schema.Int, storedAtMs: Schema.Number })
  })
)
export type Mark = typeof Mark.Type

const decode = Schema.decodeUnknownResult(Mark)
const encode = Schema.encodeSync(Mark)

/** What a watch must know of the store before it begins, to say later where it stands. */
export interface Ground {
  readonly created: string
  /** Removals up to here may have been swept: who reads everything now knows nothing of them, and need not. */
  readonly sweptThrough: number
  readonly lastSequence: number
}

export const look = async (supervisor: Supervisor, prefix: string): Promise<Ground> => {
  const stream = keyStream(supervisor.options.prefix).name
  const sweptThrough = await KeySweep.sweptThrough(supervisor, prefix)
  const { created, state } = await Retry.beside(() => supervisor.link.manager.streams.info(stream))
  return { created: String(created), sweptThrough, lastSequence: state.last_seq }
}

/** M1; undefined: M2. */
export const standing = async (
  supervisor: Supervisor,
  ground: Ground,
  position: WatchPosition
): Promise<Mark | undefined> => {
  const found = decode(position)
  if (Result.isFailure(found)) return undefined
  const { created, through, newest } = found.success
  if (created !== ground.created || through < ground.sweptThrough || through > ground.lastSequence) return undefined
  const stream = keyStream(supervisor.options.prefix).name
  const there = await StreamReader.message(supervisor, stream, { seq: newest.sequence })
  const isSame = there !== undefined && Math.abs(there.storedAtMs - newest.storedAtMs) <= timeErrorMs
  return isSame ? found.success : undefined
}

export const positionOf = (mark: Mark): WatchPosition => encode(mark)
