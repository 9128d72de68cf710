/**
 * Output of instances for the API: the kept tail, and the tail followed by every new line.
 *
 * A reader that is too slow loses lines, never the platform's memory: what is left out is counted and said in the stream.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { LogLine } from "../../backends/ComputeBackend.ts"
import type { LogsSource } from "./ControlSources.ts"
import type * as Views from "./ControlViews.ts"

/** Lines kept for a reader that does not take them at once. */
export const followBufferLinesMax = 4_096

const view = (instanceId: string, line: LogLine): Views.LogLine => ({
  instanceId,
  atMs: line.atMs,
  stream: line.stream,
  text: line.text
})

/** The kept tails of these instances as one, in order of time. */
export const tail = (source: typeof LogsSource.Service, instanceIds: ReadonlyArray<string>) =>
  Effect.forEach(instanceIds, (instanceId) =>
    Effect.map(source.logs(instanceId), (lines) => lines.map((line) => view(instanceId, line)))
  ).pipe(Effect.map((tails) => tails.flat().sort((left, right) => left.atMs - right.atMs)))

const keyOf = (line: Views.LogLine) => `${line.instanceId} ${line.atMs} ${line.stream} ${line.text}`

/** Without those that the tail has already: they came between the start of following and the reading of the tail. */
const withoutRepeats = (lines: ReadonlyArray<Views.LogLine>, tail: ReadonlyArray<Views.LogLine>) => {
  const seen = new Map<string, number>()
  for (const line of tail) seen.set(keyOf(line), (seen.get(keyOf(line)) ?? 0) + 1)
  return lines.filter((line) => {
    const left = seen.get(keyOf(line)) ?? 0
    if (left > 0) seen.set(keyOf(line), left - 1)
    return left === 0
  })
}

/** `accepts`: whether a line of this instance belongs here, asked for each line, so that later instances count too. */
export const follow = (
  source: typeof LogsSource.Service,
  options: { readonly instanceIds: ReadonlyArray<string>; readonly accepts: (instanceId: string) => boolean }
): Stream.Stream<Views.LogLine> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const queue = yield* Queue.dropping<Views.LogLine>(followBufferLinesMax)
      const left = { out: 0 }
      yield* source.followLogs((instanceId, line) => {
        if (options.accepts(instanceId) && !Queue.offerUnsafe(queue, view(instanceId, line))) left.out += 1
      })
      // New lines are worth reading also where those of before cannot be had.
      const kept = yield* Effect.catch(tail(source, options.instanceIds), ({ message }) =>
        Effect.map(
          Clock.currentTimeMillis,
          (atMs): ReadonlyArray<Views.LogLine> => [
            { instanceId: options.instanceIds[0] ?? "", atMs, stream: "millrace", text: message }
          ]
        )
      )
      const meanwhile = withoutRepeats(yield* Queue.clear(queue), kept)
      const notice = (line: Views.LogLine): ReadonlyArray<Views.LogLine> => {
        if (left.out === 0) return [line]
        const text = `${left.out} lines left out: they came faster than they were read`
        left.out = 0
        return [{ instanceId: line.instanceId, atMs: line.atMs, stream: "millrace", text }, line]
      }
      return Stream.concat(
        Stream.fromIterable([...kept, ...meanwhile]),
        Stream.flattenIterable(Stream.map(Stream.fromQueue(queue), notice))
      )
    })
  )
