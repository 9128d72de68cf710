/**
 * Looks for processes in the world, so that a law need not believe a backend.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs"

/**
 * Processes of this Linux machine whose environment, as they were started with it, holds this text; those in containers
 * of this kernel too, if this user may read them. Zombies have none, so they do not count.
 */
export const countProcessesOnLinux = (text: string): number =>
  readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      return readFileSync(`/proc/${name}/environ`, "latin1").includes(text)
    } catch {
      return false
    }
  }).length
