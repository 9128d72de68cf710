/**
 * `millrace dev` or `millrace up` as a real child process, read through its JSON lines.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as Programs from "./Programs.ts"
import { root } from "./TestPlatform.ts"

export type Line = { readonly event: string } & Readonly<Record<string, unknown>>

export interface MillraceProcess {
  readonly child: ChildProcess
  readonly lines: ReadonlyArray<Line>
  readonly stderr: () => string
  /** Resolves with the first line (also an earlier one) that fits; rejects when the process ends or time is up. */
  readonly line: (what: string, fits: (line: Line) => boolean, deadlineMs?: number) => Promise<Line>
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>
  readonly stop: (signal?: NodeJS.Signals) => Promise<{ readonly code: number | null; readonly signal: string | null }>
}

/** What `node` is given to be the `millrace` command. */
export const cli = Programs.wordsOf("dist/cli/main.js")

/** Free ports unless `args` say otherwise. `wrapper`: in front of the command. */
export const start = (
  args: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>> = {},
  wrapper: ReadonlyArray<string> = []
): MillraceProcess => {
  const [command = process.execPath, ...words] = [...wrapper, process.execPath, ...cli, ...args]
  const child = spawn(command, words, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      MILLRACE_PORT: "0",
      MILLRACE_CONTROL_PORT: "0",
      MILLRACE_WORKER_PORT: "0",
      ...environment
    }
  })
  const lines: Array<Line> = []
  const listeners = new Set<() => void>()
  let stderr = ""
  let ended: { readonly code: number | null; readonly signal: string | null } | undefined
  const exited = new Promise<{ readonly code: number | null; readonly signal: string | null }>((resolve) => {
    child.on("exit", (code, signal) => {
      ended = { code, signal }
      resolve(ended)
      for (const listener of listeners) listener()
    })
  })
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8")
  })
  createInterface({ input: child.stdout }).on("line", (text) => {
    try {
      // Each line of stdout is one event of `EventLines`.
      lines.push(JSON.parse(text) as Line)
    } catch {
      stderr += `not JSON on stdout: ${text}\n`
    }
    for (const listener of listeners) listener()
  })
  return {
    child,
    lines,
    stderr: () => stderr,
    exited,
    line: (what, fits, deadlineMs = 60_000) =>
      new Promise<Line>((resolve, reject) => {
        const fail = (why: string) => {
          done()
          reject(new Error(`${what}: ${why}; seen: ${JSON.stringify(lines.slice(-5))}; stderr: ${stderr.slice(-2000)}`))
        }
        const timer = setTimeout(() => fail(`not within ${deadlineMs} ms`), deadlineMs)
        const look = () => {
          const found = lines.find(fits)
          if (found !== undefined) {
            done()
            resolve(found)
          } else if (ended !== undefined) fail(`the process ended with ${ended.code ?? ended.signal}`)
        }
        const done = () => {
          clearTimeout(timer)
          listeners.delete(look)
        }
        listeners.add(look)
        look()
      }),
    stop: (signal = "SIGINT") => {
      if (ended === undefined) child.kill(signal)
      return exited
    }
  }
}

/** False once a process is gone or only its entry is left. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
