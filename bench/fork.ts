/**
 * The floor under every cold start on a machine: from `spawn` of a bare `node:http` server to its first answer.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { get } from "node:http"
import { fileURLToPath } from "node:url"

const server = fileURLToPath(new URL("./bare-server.mjs", import.meta.url))
const deadlineMs = 30_000

/**
 * Starts a bare server `n` times, one after the other, with the Node that runs this, and answers the milliseconds of
 * each: from just before `spawn` until its first HTTP answer is read whole. Rejects when one does not answer in 30 s.
 */
export const forkToListening = async (n: number): Promise<Array<number>> => {
  const took: Array<number> = []
  for (let index = 0; index < n; index++) took.push(await once())
  return took
}

const once = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const from = performance.now()
    const child = spawn(process.execPath, [server], { stdio: ["ignore", "pipe", "inherit"] })
    let tookMs: number | undefined
    let failure = new Error(`the bare server ended before it answered`)
    const fail = (cause: Error) => {
      failure = cause
      child.kill("SIGKILL")
    }
    const timer = setTimeout(() => fail(new Error(`the bare server did not answer in ${deadlineMs} ms`)), deadlineMs)
    // The next one starts when this one is gone, so that its end does not take from the other's time.
    child.once("exit", () => {
      clearTimeout(timer)
      if (tookMs === undefined) reject(failure)
      else resolve(tookMs)
    })
    child.once("error", (cause) => {
      clearTimeout(timer)
      reject(cause)
    })
    child.stdout.once("data", (chunk: Buffer) => {
      const request = get({ host: "127.0.0.1", port: Number(chunk.toString()), agent: false }, (response) => {
        response.resume()
        response.once("end", () => {
          tookMs = performance.now() - from
          child.kill("SIGKILL")
        })
      })
      request.once("error", fail)
    })
  })
