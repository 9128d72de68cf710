/**
 * Collects what callers see, and puts it together with what the function wrote down into one history.
 *
 * @module
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs"
import { join } from "node:path"
import type { Entry, History } from "../history/History.ts"
import { monotonicMs } from "./Clock.ts"
import { processStart } from "./ProcessStart.ts"
import type { Born } from "./recorder.ts"

/** An entry without its time, which is now. */
export type Seen = Entry extends infer One ? (One extends Entry ? Omit<One, "atMs"> : never) : never

export class Recording {
  readonly effectsFile: string
  readonly #seen: Array<Entry>
  #bornOffset = 0
  readonly #born: Array<Born> = []

  /** `before`: what was seen in an earlier part of the same story. */
  constructor(home: string, before: History = []) {
    this.effectsFile = join(home, "effects.jsonl")
    this.#seen = [...before]
  }

  seen(): History {
    return this.#seen
  }

  see(entry: Seen): void {
    // One of the entries with its time put back.
    this.#seen.push({ ...entry, atMs: monotonicMs() } as Entry)
  }

  /** Process ids of the instances that run, the youngest last. */
  alive(): ReadonlyArray<number> {
    return this.instances().flatMap(({ pid, start }) => (start !== "" && processStart(pid) === start ? [pid] : []))
  }

  /** That ever were. */
  instances(): ReadonlyArray<Born> {
    const { lines, bytes } = linesFrom(this.effectsFile, this.#bornOffset)
    this.#bornOffset += bytes
    for (const line of lines) {
      const entry = parse(line)
      if (entry?._tag === "Born") this.#born.push(entry)
    }
    return this.#born
  }

  history(): History {
    const { lines } = linesFrom(this.effectsFile, 0)
    const work: Array<Entry> = []
    for (const line of lines) {
      const entry = parse(line)
      if (entry !== undefined && entry._tag !== "Born") work.push(entry)
    }
    return [...this.#seen, ...work].sort((a, b) => a.atMs - b.atMs)
  }
}

/** Whole lines only: the last one may be half written. */
const linesFrom = (file: string, offset: number): { lines: ReadonlyArray<string>; bytes: number } => {
  let text: Buffer
  try {
    text = offset === 0 ? readFileSync(file) : tail(file, offset)
  } catch {
    return { lines: [], bytes: 0 }
  }
  const end = text.lastIndexOf(10) + 1
  return { lines: text.subarray(0, end).toString("utf8").split("\n").filter(Boolean), bytes: end }
}

const tail = (file: string, offset: number): Buffer => {
  const handle = openSync(file, "r")
  try {
    const chunk = Buffer.alloc(4 * 1024 * 1024)
    return chunk.subarray(0, readSync(handle, chunk, 0, chunk.length, offset))
  } finally {
    closeSync(handle)
  }
}

const parse = (line: string): Entry | Born | undefined => {
  try {
    // Written by `recorder.ts`.
    return JSON.parse(line) as Entry | Born
  } catch {
    // Two instances were killed in the middle of a line.
    return undefined
  }
}
