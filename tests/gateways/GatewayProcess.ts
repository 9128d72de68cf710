/**
 * A gateway in a process of its own: started on its ports, killed, paused, or told to leave.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import * as Programs from "../support/Programs.ts"
import type { MainOptions } from "./gatewayMain.ts"

export class GatewayProcess {
  readonly url: string
  readonly workerUrl: string
  readonly #options: MainOptions
  #child: ChildProcess | undefined
  said = ""

  constructor(options: MainOptions) {
    this.#options = options
    this.url = `http://127.0.0.1:${options.gatewayPort}`
    this.workerUrl = `ws://127.0.0.1:${options.workerPort}`
  }

  /** Resolves when it serves its share. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [...Programs.wordsOf("tests/gateways/gatewayMain.ts"), JSON.stringify(this.#options)],
      { stdio: ["ignore", "pipe", "pipe"] }
    )
    this.#child = child
    const hear = (text: string) => {
      this.said = (this.said + text).slice(-20_000)
    }
    child.stderr?.on("data", (bytes: Buffer) => hear(bytes.toString("utf8")))
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout! }).on("line", (line) => {
        if (line.startsWith("{")) resolve()
        else hear(`${line}\n`)
      })
      child.once("exit", (code, signal) => reject(new Error(`the gateway ended with ${signal ?? code}: ${this.said}`)))
    })
  }

  get isAlive(): boolean {
    const child = this.#child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child
    if (child === undefined || !this.isAlive) return
    const over = once(child, "exit")
    child.kill(signal)
    await over
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal)
  }
}
