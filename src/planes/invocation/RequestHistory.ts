/**
 * What happened to a request, oldest first: its times as sentences, and its story.
 *
 * @module
 */
import type { Entry, Story } from "./Entry.ts"

export const of = (entry: Entry): ReadonlyArray<Story> => {
  const { arrivedMs, storedMs, firstAssignedMs, assignedMs, headMs, endedMs } = entry
  const told = [
    { atMs: arrivedMs, what: `arrived (${entry.mode})` },
    entry.isReadBack ? { atMs: arrivedMs, what: "read back from the log after a restart" } : undefined,
    storedMs === undefined ? undefined : { atMs: storedMs, what: "on stable storage" },
    firstAssignedMs === undefined ? undefined : { atMs: firstAssignedMs, what: "first leased to a worker" },
    assignedMs === undefined || assignedMs === firstAssignedMs
      ? undefined
      : { atMs: assignedMs, what: `leased to ${entry.lastInstanceId} (attempt ${entry.attempts})` },
    headMs === undefined ? undefined : { atMs: headMs, what: "the answer began" },
    endedMs === undefined || entry.end === undefined
      ? undefined
      : {
          atMs: endedMs,
          what: `ended: ${entry.end.terminal}${entry.end.reason === null ? "" : ` (${entry.end.reason})`}`
        }
  ]
  return [...told.filter((event) => event !== undefined), ...entry.story].sort((a, b) => a.atMs - b.atMs)
}
