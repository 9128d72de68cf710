/**
 * A worker as a process: signals, the parent's death, stray rejections, the exit code.
 *
 * @module
 */
import type { Worker, WorkerEnd } from "./Worker.ts"

type Log = (text: string, error?: unknown) => void

/**
 * A parent that dies without a word leaves its end of a pipe or IPC channel closed. An instance without parent serves
 * nobody who would ever stop it, so it goes at once.
 */
const watchParent = (log: Log): void => {
  const leave = () => {
    log("the process that started this worker is gone")
    process.exit(1)
  }
  if (process.send !== undefined) process.once("disconnect", leave)
  const descriptor = Number(process.env["MILLRACE_PARENT_FD"] ?? Number.NaN)
  if (!Number.isInteger(descriptor) || descriptor < 0) return
  import("node:net").then(({ Socket }) => {
    const pipe = new Socket({ fd: descriptor, readable: true, writable: false })
    pipe.on("error", leave)
    pipe.on("close", leave)
    pipe.resume()
    pipe.unref()
  }, leave)
}

const watchSignals = (worker: Worker): void => {
  let interrupted = false
  process.on("SIGTERM", () => worker.drain("SIGTERM"))
  process.on("SIGINT", () => {
    // Whoever presses Ctrl-C twice does not want to wait.
    if (interrupted) process.exit(130)
    interrupted = true
    worker.drain("SIGINT")
  })
}

export interface AttachOptions {
  readonly log: Log
  /** Ends the process. */
  readonly onEnded: (code: number) => void
}

export const exit = (code: number): void => process.exit(code)

const exitCode = (end: WorkerEnd, log: Log): number => {
  if (end.kind === "drained") return 0
  log(`the plane refused this worker: ${end.reason}`)
  return 1
}

export const attach = (worker: Worker, { log, onEnded }: AttachOptions): void => {
  watchSignals(worker)
  watchParent(log)
  if (process.listenerCount("unhandledRejection") === 0) {
    // One forgotten promise must not end the calls beside it.
    process.on("unhandledRejection", (error) => log("a promise was rejected and nobody listened", error))
  }
  worker.ended.then((end) => onEnded(exitCode(end, log)))
}
