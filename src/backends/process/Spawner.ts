/**
 * The parent's side of the spawner (`spawner-main.ts`): orders leave in the turn in which they are given.
 *
 * Laws: S1 every `spawn` is answered by `Started` or `Refused`, and every `Started` by one `Gone` or `lost`. S2 when the
 * spawner dies, what it had started is killed and told as lost, and the next order starts another spawner.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { FromSpawner, SpawnerOptions, ToSpawner } from "./SpawnerMessage.ts"

export interface Spawner {
  readonly send: (message: ToSpawner) => void
  /** Keeps this process alive, as a server does, while instances run. */
  readonly hold: (isHeld: boolean) => void
  /**
   * Ends the spawner, at once and also in the midst of its start; what it started is the caller's to end. Resolves when it
   * is gone, at the latest after `waitMs`.
   */
  readonly close: (waitMs: number) => Promise<void>
}

export interface Listener {
  readonly onMessage: (message: FromSpawner) => void
  /** The spawner is gone, and with it all knowledge of what it had started. */
  readonly onLost: (detail: string) => void
}

/** The same file as source and as built. */
const main = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./spawner-main.ts" : "./spawner-main.js", import.meta.url)
)

/** One that dies sooner after its start is not replaced before the next order, so that nothing spins. */
const stableMs = 1_000

export const make = (options: SpawnerOptions, listener: Listener): Spawner => {
  let isClosed = false
  let isHeld = false
  let current: ChildProcess | undefined = start()

  function start(): ChildProcess {
    const startedAtMs = performance.now()
    const flags = ["--max-old-space-size=64", "--max-semi-space-size=1"]
    const child = spawn(process.execPath, [...flags, main, JSON.stringify(options)], {
      detached: true,
      // What instances get is in their orders; the spawner itself needs nothing of ours.
      env: {},
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    let isGone = false
    const gone = (detail: string) => {
      if (isGone) return
      isGone = true
      if (current === child) current = undefined
      if (isClosed) return
      listener.onLost(detail)
      if (current === undefined && performance.now() - startedAtMs > stableMs) current = start()
    }
    // Sent by us, so of this shape: both ends are of one build.
    child.on("message", (message) => listener.onMessage(message as FromSpawner))
    child.once("error", (cause) => gone(cause.message))
    child.once("exit", (code, signal) => gone(`the spawner ended (${signal ?? `code ${code}`})`))
    setHold(child, isHeld)
    return child
  }

  return {
    send: (message) => {
      current ??= start()
      // A failure to send is the end of the spawner, of which `gone` tells.
      current.send(message, () => undefined)
    },
    hold: (next) => {
      isHeld = next
      if (current !== undefined) setHold(current, next)
    },
    close: (waitMs) => {
      isClosed = true
      const child = current
      if (child === undefined || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        setHold(child, true)
        const timer = setTimeout(resolve, waitMs)
        child.once("exit", () => {
          clearTimeout(timer)
          resolve()
        })
        child.kill("SIGKILL")
      })
    }
  }
}

const setHold = (child: ChildProcess, isHeld: boolean) => {
  if (isHeld) {
    child.ref()
    child.channel?.ref()
  } else {
    child.unref()
    child.channel?.unref()
  }
}
