/**
 * Requests counted over slots of time: `timestamp,value`, as in the CloudWatch series of the Numenta Anomaly Benchmark
 * (Lavin and Ahmad, 2015). The requests of a slot are spread over it at random; a slot that is missing has none.
 *
 * @module
 */
import * as Random from "../../core/simulation/Random.ts"
import * as Fields from "../Fields.ts"
import { type ReadOptions, type Trace, TraceBuilder } from "../Trace.ts"

const names = ["timestamp", "value"]

export const isHead = (head: string): boolean => head === names.join(",")

const stamp = /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$/

export const read = (all: ReadonlyArray<string>, options: ReadOptions): Trace => {
  const slots: Array<{ readonly atMs: number; readonly count: number }> = []
  for (const line of Fields.lines(options.file, all, 1)) {
    const [time, value] = Fields.fields(line, names)
    const atMs = stamp.test(time!) ? Date.parse(`${time!.replace(" ", "T")}Z`) : Number.NaN
    if (Number.isNaN(atMs)) throw Fields.wrong(line, "timestamp like 2014-04-10 00:04:00")
    const before = slots.at(-1)
    if (before !== undefined && atMs <= before.atMs) throw Fields.wrong(line, "a timestamp after the one before it")
    slots.push({ atMs, count: Fields.number(line, "value", value) })
  }
  const trace = new TraceBuilder(options.file)
  const firstMs = slots[0]?.atMs ?? 0
  const slotMs = slotLength(slots.map(({ atMs }) => atMs))
  const times = Random.split(options.random, "spread")
  const service = Random.split(options.random, "service")
  for (const { atMs, count } of slots) {
    for (let index = 0; index < Math.round(count); index++) {
      const sinceMs = atMs - firstMs + Random.uniform(times) * slotMs
      const serviceMs = options.serviceMs(service)
      if (sinceMs >= options.fromMs && sinceMs < options.toMs) trace.add("service", sinceMs, serviceMs)
    }
  }
  return trace.build(options.name, [
    `counts of ${slotMs / 1_000} s slots, spread evenly at random within each`,
    options.serviceNote
  ])
}

/** The least distance of two neighbours: longer ones are gaps. */
const slotLength = (times: ReadonlyArray<number>): number => {
  let least = Number.POSITIVE_INFINITY
  for (let index = 1; index < times.length; index++) least = Math.min(least, times[index]! - times[index - 1]!)
  return Number.isFinite(least) ? least : 60_000
}
