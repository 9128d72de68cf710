/**
 * A backend in sixty lines: each instance is a process group of this machine, and at most `places` run at a time.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { BackendKit, CommandNotFound } from "millrace/backend"

const environmentOfAll = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" }

/** What it can do; everything else is refused for us, in words. */
const abilities = {
  name: "shell",
  isolation: "none",
  image: false,
  command: true,
  gpuKinds: [],
  preWarm: false,
  tasks: true,
  limits: [],
  survivesRestart: false
} as const

const signalGroup = (child: ChildProcess, signal: NodeJS.Signals) => {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // It is gone, which is what was wanted.
  }
}

export const make = (places: number) =>
  BackendKit.make({
    abilities,
    instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: places }],
    start: (spec, life) => {
      const [program = "", ...words] = [...spec.command, ...(spec.arguments ?? [])]
      const child = spawn(program, words, {
        cwd: spec.workingDirectory,
        env: { ...environmentOfAll, ...spec.environment },
        detached: true,
        stdio: ["ignore", "pipe", "pipe"]
      })
      child.once("spawn", () => life.started(child.pid))
      child.once("error", ({ message }) =>
        life.refused(new CommandNotFound({ instanceId: spec.instanceId, program, detail: `${message}: install it` }))
      )
      child.stdout.on("data", (bytes: Buffer) => life.output("stdout", bytes))
      child.stderr.on("data", (bytes: Buffer) => life.output("stderr", bytes))
      let last = ""
      child.stderr.on("data", (bytes: Buffer) => (last = `${last}${bytes}`.slice(-2_000)))
      // Its children end with it; its pipes close when they are gone too.
      child.once("exit", () => signalGroup(child, "SIGKILL"))
      child.once("close", (code, signal) => {
        const isFull = signal === "SIGABRT" && last.includes("heap out of memory")
        if (isFull) return life.ended({ kind: "out-of-memory" })
        life.ended(signal === null ? { kind: "code", code: code ?? 0 } : { kind: "signal", signal })
      })
      return { signal: (signal) => signalGroup(child, signal) }
    }
  })
