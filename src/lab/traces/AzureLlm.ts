/**
 * Azure LLM inference trace 2023 (Patel et al., Splitwise, ISCA 2024): `TIMESTAMP,ContextTokens,GeneratedTokens`. One
 * function; times in a worker come from the tokens.
 *
 * @module
 */
import * as Fields from "../Fields.ts"
import { type ReadOptions, type Trace, TraceBuilder } from "../Trace.ts"

const names = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]

export const isHead = (head: string): boolean => head === names.join(",")

const stamp = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(\.\d+)?$/

export const read = (all: ReadonlyArray<string>, options: ReadOptions): Trace => {
  const trace = new TraceBuilder(options.file)
  let firstMs: number | undefined
  for (const line of Fields.lines(options.file, all, 1)) {
    const [time, context, generated] = Fields.fields(line, names)
    const atMs = parse(line, time!)
    firstMs ??= atMs
    const input = Fields.number(line, "ContextTokens", context)
    const output = Fields.number(line, "GeneratedTokens", generated)
    const sinceMs = atMs - firstMs
    if (sinceMs < options.fromMs || sinceMs >= options.toMs) continue
    trace.add("llm", sinceMs, options.tokensMs(input, output))
  }
  return trace.build(options.name, [options.tokensNote])
}

/** Stamps have 100 ns, more than a Date keeps. */
const parse = (line: Fields.Line, text: string): number => {
  const parts = stamp.exec(text)
  const wholeMs = parts === null ? Number.NaN : Date.parse(`${parts[1]}T${parts[2]}Z`)
  if (Number.isNaN(wholeMs)) throw Fields.wrong(line, "TIMESTAMP like 2023-11-16 18:17:03.9799600")
  return wholeMs + Number(parts?.[3] ?? 0) * 1_000
}
