/**
 * The `millrace` command as the benches run it: free ports, JSON lines, the flags for V8 that its own first line has.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { nodeFlags } from "./BenchProcess.ts"

const cli = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url))
const readyDeadlineMs = 30_000

export interface MillraceCommand {
  readonly pid: number
  readonly gateway: string
  /** From `exec` to the line that says ready. */
  readonly readyMs: number
  readonly close: () => Promise<void>
}

/** `words`: the command and its arguments, such as `["up"]`. Resolves when it is ready. */
export const start = async (words: ReadonlyArray<string>, workingDirectory: string): Promise<MillraceCommand> => {
  const fromMs = performance.now()
  const ports = ["--port", "0", "--control-port", "0", "--worker-port", "0"]
  const child = spawn(process.execPath, [...nodeFlags, cli, ...words, ...ports, "--json"], {
    cwd: workingDirectory,
    stdio: ["ignore", "pipe", "ignore"]
  })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const close = () => {
    child.kill("SIGTERM")
    return ended
  }
  try {
    return await new Promise<MillraceCommand>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not ready after ${readyDeadlineMs} ms`)), readyDeadlineMs)
      createInterface({ input: child.stdout }).on("line", (line) => {
        // Each line of `--json` is one object with its event.
        const told = JSON.parse(line) as { readonly event: string; readonly gateway?: string }
        if (told.event !== "ready" || told.gateway === undefined) return
        clearTimeout(timer)
        resolve({ pid: child.pid ?? 0, gateway: told.gateway, readyMs: performance.now() - fromMs, close })
      })
      child.once("exit", (code) => reject(new Error(`millrace ${words.join(" ")} ended with code ${code}`)))
    })
  } catch (cause) {
    child.kill("SIGKILL")
    throw cause
  }
}
