/**
 * An agent in a process of its own (`agentMain.ts`), which launches many instances and says how far it is.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"

export interface Said {
  readonly launched: number
  readonly started: number
  readonly calls: number
  readonly rssMiB: number
  readonly rssAtStartMiB: number
}

export interface AgentProcess {
  /** The last that it said; it speaks ten times a second. */
  readonly said: () => Said
  /** The next part may be launched, as soon as the one before it is. */
  readonly goOn: () => void
  readonly kill: () => Promise<void>
}

export const start = (options: {
  readonly cluster: string
  readonly kubeconfig: string
  readonly count: number
  /** Default 1. */
  readonly parts?: number
}): AgentProcess => {
  const flags = ["--conditions=millrace-source", `${import.meta.dirname}/agentMain.ts`, JSON.stringify(options)]
  const child = spawn(process.execPath, flags, { stdio: ["pipe", "pipe", "inherit"] })
  const ended = once(child, "exit")
  let said: Said = { launched: 0, started: 0, calls: 0, rssMiB: 0, rssAtStartMiB: 0 }
  createInterface({ input: child.stdout }).on("line", (line) => {
    said = JSON.parse(line)
  })
  const kill = async () => {
    child.kill("SIGKILL")
    await ended
  }
  return { said: () => said, goOn: () => void child.stdin.write("\n"), kill }
}
