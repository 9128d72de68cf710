/**
 * Waits for the zygotes of a platform that is measured: they are made when it is calm, and a bench is not.
 *
 * @module
 */
import { readFileSync } from "node:fs"

const readyDeadlineMs = 20_000

/** Nothing for a process that is gone. */
const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

const childrenOf = (pid: number): ReadonlyArray<number> =>
  read(`/proc/${pid}/task/${pid}/children`).trim().split(" ").filter(Boolean).map(Number)

const isWaiting = (pid: number): boolean => read(`/proc/${pid}/cmdline`).startsWith("millrace zygote, waiting")

/** Zygotes wait below the spawner, which is a child of the platform. */
const waiting = (platformPid: number): ReadonlyArray<number> =>
  childrenOf(platformPid).flatMap(childrenOf).filter(isWaiting)

/** Resolves with the pid of one that is ready. */
export const untilWaiting = async (platformPid: number): Promise<number> => {
  const untilMs = performance.now() + readyDeadlineMs
  for (;;) {
    const [first] = waiting(platformPid)
    if (first !== undefined) return first
    if (performance.now() > untilMs) throw new Error(`no zygote waits after ${readyDeadlineMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
