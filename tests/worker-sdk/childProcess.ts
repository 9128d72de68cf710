/**
 * A worker as its own process, with what it wrote and how it ended.
 *
 * @module
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { until } from "./FakePlane.ts"

export interface Child {
  /** Leads a group of its own. */
  readonly process: ChildProcess
  readonly output: () => string
  readonly exit: () => Promise<number | string>
}

export const startChild = (
  fixture: string,
  environment: Record<string, string>,
  options: { readonly arguments?: ReadonlyArray<string>; readonly stdio?: StdioOptions } = {}
): Child => {
  const file = fileURLToPath(new URL(`./fixtures/${fixture}`, import.meta.url))
  const { MILLRACE_WORKER_URL: _, ...inherited } = process.env
  const child = spawn(process.execPath, [file, ...(options.arguments ?? [])], {
    stdio: options.stdio ?? ["ignore", "pipe", "pipe"],
    detached: true,
    env: { ...inherited, ...environment }
  })
  let output = ""
  child.stdout?.on("data", (chunk) => {
    output += chunk
  })
  child.stderr?.on("data", (chunk) => {
    output += chunk
  })
  let ended: number | string | undefined
  // Not `close`: Node does not emit it for a child whose IPC channel we closed.
  child.on("exit", (code, signal) => {
    ended = code ?? signal ?? "unknown"
  })
  const isRead = (): boolean => [child.stdout, child.stderr].every((stream) => stream === null || stream.readableEnded)
  return {
    process: child,
    output: () => output,
    exit: async () => {
      const found = await until(
        "the process ends",
        () => (ended === undefined || !isRead() ? undefined : { ended }),
        () => output
      )
      return found.ended
    }
  }
}

/** With what it started. */
export const killGroup = ({ process: { pid } }: Child): void => {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL")
  } catch {
    // ESRCH: nothing of it is left.
  }
}
