/**
 * Named places where a test may end the process as a power failure would: `MILLRACE_CRASH_AT=invocation.append.afterWrite:2`
 * kills it by SIGKILL when it comes to that place for the second time, and `MILLRACE_CRASH_LIST=FILE` writes down, a line
 * each, every place that it comes to. Without either, a place costs one comparison.
 *
 * The variables are read here and not in `main.ts`, because the store thread loads its own copy of this module.
 *
 * @module
 */
import { appendFileSync } from "node:fs"

type Reach = (name: string) => void

const crashAt = (at: string): Reach => {
  const [, wanted = "", count = "1"] = /^(.*?)(?::(\d+))?$/.exec(at) ?? []
  let left = Number(count)
  return (name) => {
    // Nothing after this line runs: the signal is delivered before the call returns.
    if (name === wanted && --left === 0) process.kill(process.pid, "SIGKILL")
  }
}

const { MILLRACE_CRASH_AT: at, MILLRACE_CRASH_LIST: list } = process.env

const reached: Reach | null =
  at !== undefined ? crashAt(at) : list !== undefined ? (name) => appendFileSync(list, `${name}\n`) : null

/** This is the place `name`. */
export const hit = (name: string): void => {
  if (reached !== null) reached(name)
}
