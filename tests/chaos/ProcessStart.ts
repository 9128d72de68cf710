/**
 * What tells two processes apart that had the same pid: long runs on a busy machine meet pids again.
 *
 * @module
 */
import { readFileSync } from "node:fs"

/** Clock ticks from the start of the machine to that of the process; empty when it is gone, or where there is no /proc. */
export const processStart = (pid: number): string => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The name before it is in brackets and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return fields[0] === "Z" ? "" : (fields[19] ?? "")
  } catch {
    return ""
  }
}
