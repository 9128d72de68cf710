/**
 * Processes as Linux shows them: who is whose child, and what each was started as.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs"

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

export const childrenOf = (pid: number): ReadonlyArray<number> =>
  read(`/proc/${pid}/task/${pid}/children`).trim().split(" ").filter(Boolean).map(Number)

export const parentOf = (pid: number): number =>
  Number(
    read(`/proc/${pid}/stat`)
      .replace(/^.*\) /, "")
      .split(" ")[1]
  )

/** Empty for one that is gone. */
export const commandOf = (pid: number): string => read(`/proc/${pid}/cmdline`)

/** Zygotes of this spawner that are ready. */
export const waitingZygotes = (spawner: number): ReadonlyArray<number> =>
  childrenOf(spawner).filter((pid) => commandOf(pid).startsWith("millrace zygote, waiting"))

/** Zygotes of this spawner, also those that are not ready yet. */
export const zygotes = (spawner: number): ReadonlyArray<number> =>
  childrenOf(spawner).filter((pid) => /zygote/.test(commandOf(pid)))

/** Processes that run, by their command lines and by the environment that they began with. */
export const countProcesses = (isWanted: (command: string, environment: string) => boolean): number =>
  readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && isWanted(commandOf(Number(name)), read(`/proc/${name}/environ`))
  ).length
