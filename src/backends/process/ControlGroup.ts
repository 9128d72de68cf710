/**
 * The control group of one instance, in the spawner. What starts in it is in it from its first instruction on: the
 * spawner goes in, forks, and goes home; the limits come then, so that they never hit the spawner.
 *
 * Laws: G4 whatever an instance starts, also what leaves its process group or session, is in its control group and is
 * killed with it. G5 a group is removed when what was in it is gone.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as ControlGroups from "./ControlGroups.ts"

export interface Limits {
  readonly memoryBytes: number
  readonly cpuMillis: number
}

/** Processes and threads at a time: enough for a thread a core on large machines, and an end for those that fork for ever. */
export const pidsMax = 512

/**
 * A tenth of what is usual: an instance that has used up its share stands still for the rest of the period, and a call in
 * it with it.
 */
const cpuPeriodMicros = 10_000
/** What the kernel takes at least. */
const cpuQuotaMicrosMin = 1_000

const removeAgainMs = 50
const removeTriesMax = 100

export interface ControlGroup {
  /** What `start` forks is in the group. Throws what cannot be had, and then nothing was started. */
  readonly enter: <A>(start: () => A) => A
  /** Throws when it holds more memory already. */
  readonly limit: (limits: Limits) => void
  /** Whether the kernel killed something in it because its memory was full. */
  readonly hadNoMemory: () => boolean
  /** Kills what is in it, and removes it as soon as that is gone. */
  readonly remove: () => void
}

/** The group cannot be had; `code` as in `Refused`. */
class Unavailable extends Error {
  readonly code = "control-group"
}

const orUnavailable = (write: () => void) => {
  try {
    write()
  } catch (cause) {
    throw new Unavailable(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/** Throws when it cannot be made. `name`: not used twice. */
export const make = ({ version, of }: ControlGroups.Places, name: string): ControlGroup => {
  const places = Object.values(of)
  const groupOf = (place: ControlGroups.Place) => join(place.directory, name)
  const groups = [...new Set(places.map(groupOf))]
  const homes = new Set(places.map(({ home }) => home))

  const write = (controller: ControlGroups.Controller, file: string, value: string) => {
    const place = of[controller]
    if (place !== undefined) writeFileSync(join(groupOf(place), file), value)
  }

  const read = (controller: ControlGroups.Controller, file: string): string => {
    const place = of[controller]
    try {
      return place === undefined ? "" : readFileSync(join(groupOf(place), file), "utf8")
    } catch {
      return ""
    }
  }

  const remove = () => {
    for (const group of groups) removeSoon(group)
  }

  const goHome = () => {
    try {
      for (const home of homes) writeFileSync(join(home, "cgroup.procs"), "0")
    } catch (cause) {
      // It would be limited and killed as the instance is; another spawner takes over.
      console.error(`the spawner cannot leave the control group of an instance: ${String(cause)}`)
      process.exit(1)
    }
  }

  try {
    for (const group of groups) orUnavailable(() => mkdirSync(group))
  } catch (cause) {
    remove()
    throw cause
  }

  // One that was idle may use the share of two periods at once (`burst`): a call is not held back by its own first burst.
  return {
    enter: (start) => {
      try {
        for (const group of groups) orUnavailable(() => writeFileSync(join(group, "cgroup.procs"), "0"))
        return start()
      } finally {
        goHome()
      }
    },
    limit: ({ memoryBytes, cpuMillis }) => {
      const quota = String(Math.max(cpuQuotaMicrosMin, Math.round((cpuMillis * cpuPeriodMicros) / 1_000)))
      if (version === 2) {
        write("pids", "pids.max", String(pidsMax))
        write("cpu", "cpu.max", `${quota} ${cpuPeriodMicros}`)
        optional(() => write("cpu", "cpu.max.burst", quota))
        optional(() => write("memory", "memory.swap.max", "0"))
        return write("memory", "memory.max", String(memoryBytes))
      }
      write("pids", "pids.max", String(pidsMax))
      optional(() => write("cpu", "cpu.cfs_period_us", String(cpuPeriodMicros)))
      // Refused when a group above has less than that: then that is the limit.
      optional(() => write("cpu", "cpu.cfs_quota_us", quota))
      optional(() => write("cpu", "cpu.cfs_burst_us", quota))
      write("memory", "memory.limit_in_bytes", String(memoryBytes))
      // Memory and swap together; not every kernel counts swap.
      optional(() => write("memory", "memory.memsw.limit_in_bytes", String(memoryBytes)))
    },
    hadNoMemory: () => {
      const events = read("memory", version === 2 ? "memory.events" : "memory.oom_control")
      return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0) > 0
    },
    remove
  }
}

const optional = (write: () => void) => {
  try {
    write()
  } catch {
    // This kernel, or a group above, does not have it.
  }
}

/** What was killed leaves its group a moment later. */
export const removeSoon = (directory: string, tries = 0): void => {
  if (ControlGroups.tryRemove(directory) || tries >= removeTriesMax) return
  setTimeout(() => removeSoon(directory, tries + 1), removeAgainMs)
}
