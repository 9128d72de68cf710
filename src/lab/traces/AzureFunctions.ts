/**
 * Azure Functions invocation trace 2021 (Zhang et al., SOSP 2021): `app,func,end_timestamp,duration`, both in seconds. A
 * request came when it ended less its duration. Functions are named by the first digits of app and function.
 *
 * @module
 */
import * as Fields from "../Fields.ts"
import { type ReadOptions, type Trace, TraceBuilder } from "../Trace.ts"

const names = ["app", "func", "end_timestamp", "duration"]
const digits = 8

export const isHead = (head: string): boolean => head === names.join(",")

export const read = (all: ReadonlyArray<string>, options: ReadOptions): Trace => {
  const trace = new TraceBuilder(options.file)
  for (const line of Fields.lines(options.file, all, 1)) {
    const [app, func, end, duration] = Fields.fields(line, names)
    if (app === "" || func === "") throw Fields.wrong(line, "app and func to be names")
    const endMs = Fields.number(line, "end_timestamp", end) * 1_000
    const serviceMs = Fields.number(line, "duration", duration) * 1_000
    const atMs = Math.max(0, endMs - serviceMs)
    if (atMs < options.fromMs || atMs >= options.toMs) continue
    trace.add(`${app!.slice(0, digits)}/${func!.slice(0, digits)}`, atMs, serviceMs)
  }
  return trace.build(options.name, [])
}
