/**
 * A process that is measured: started with a channel, told to end by closing it, killed when it does not.
 *
 * @module
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"

/** What `V8` gets in `millrace up`, and so what every server here gets that it is compared with. */
export const nodeFlags = ["--max-semi-space-size=16", "--no-allocation-site-pretenuring"]

const startMs = 30_000
const endMs = 15_000

export interface BenchProcess<Started> {
  readonly started: Started
  readonly pid: number
  /** Sends a message and waits for the next one that comes back; by default half a minute. */
  readonly ask: (message: object, waitMs?: number) => Promise<unknown>
  readonly close: () => Promise<void>
}

const nextMessage = (child: ChildProcess, what: string, waitMs = startMs): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer)
      child.off("message", onMessage)
      child.off("exit", onExit)
      child.off("error", onError)
    }
    const onMessage = (message: unknown) => {
      done()
      resolve(message)
    }
    const onError = (cause: Error) => {
      done()
      reject(cause)
    }
    const onExit = (code: number | null) => onError(new Error(`${what} ended with code ${code} before it said a word`))
    const timer = setTimeout(() => onError(new Error(`${what} said nothing for ${waitMs} ms`)), waitMs)
    child.on("message", onMessage)
    child.on("exit", onExit)
    child.on("error", onError)
  })

/**
 * Starts `bench/processes/{file}`. `Started` is what its first message holds; the caller knows, since both are files of
 * this folder.
 */
export const start = async <Started>(
  file: string,
  args: ReadonlyArray<string> = [],
  flags: ReadonlyArray<string> = nodeFlags,
  firstMessageMs = startMs
): Promise<BenchProcess<Started>> => {
  const path = fileURLToPath(new URL(`./processes/${file}`, import.meta.url))
  const child = fork(path, args, { execArgv: [...flags], stdio: ["ignore", "ignore", "inherit", "ipc"] })
  const close = () =>
    new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve()
      const timer = setTimeout(() => child.kill("SIGKILL"), endMs)
      child.once("exit", () => {
        clearTimeout(timer)
        resolve()
      })
      if (child.connected) child.disconnect()
    })
  try {
    const started = (await nextMessage(child, file, firstMessageMs)) as Started
    return {
      started,
      pid: child.pid ?? 0,
      ask: (message, waitMs) => {
        child.send(message)
        return nextMessage(child, file, waitMs)
      },
      close
    }
  } catch (cause) {
    child.kill("SIGKILL")
    throw cause
  }
}
