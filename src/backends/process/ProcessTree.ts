/**
 * Which processes came from which, on Linux; elsewhere none.
 *
 * @module
 */
import { readFileSync } from "node:fs"

/** What has ended meanwhile has none. */
export const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    return text.split(" ").filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Without itself. */
export const descendantsOf = (pid: number): ReadonlyArray<number> =>
  childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
