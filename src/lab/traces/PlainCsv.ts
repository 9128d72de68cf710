/**
 * `arrival_ms, function, duration_ms`, with that line as its head: the format to write when you have a trace of your own.
 *
 * @module
 */
import * as Fields from "../Fields.ts"
import { type ReadOptions, type Trace, TraceBuilder } from "../Trace.ts"

const names = ["arrival_ms", "function", "duration_ms"]

export const isHead = (head: string): boolean =>
  head
    .split(",")
    .map((field) => field.trim())
    .join(",") === names.join(",")

export const read = (all: ReadonlyArray<string>, options: ReadOptions): Trace => {
  const trace = new TraceBuilder(options.file)
  for (const line of Fields.lines(options.file, all, 1)) {
    const [arrival, name, duration] = Fields.fields(line, names)
    const atMs = Fields.number(line, "arrival_ms", arrival)
    if (name === "") throw Fields.wrong(line, "the name of a function in the second field")
    const serviceMs = Fields.number(line, "duration_ms", duration)
    if (atMs >= options.fromMs && atMs < options.toMs) trace.add(name!, atMs, serviceMs)
  }
  return trace.build(options.name, [])
}
