/**
 * Processor time of processes. On a machine that others use, work per request says more than requests per second.
 *
 * @module
 */
import { readFileSync } from "node:fs"

/** The kernel's unit in `/proc/{pid}/stat`, fixed for user space. */
const msPerTick = 10

/** User and system time of all threads of these processes, in milliseconds; NaN where there is no `/proc`. */
export const spentMs = (pids: ReadonlyArray<number>): number => {
  let ticks = 0
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      // The name in brackets may hold anything, so fields count from its end: 11 and 12 of them are the times.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      ticks += Number(fields[11]) + Number(fields[12])
    } catch {
      return Number.NaN
    }
  }
  return ticks * msPerTick
}
