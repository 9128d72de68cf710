/**
 * The platform as the benches see it: a process with a port, and functions that are called by name.
 *
 * @module
 */
import { get } from "node:http"
import * as BenchProcess from "./BenchProcess.ts"
import type {
  BackendOptions,
  BenchFunction,
  FabricOptions,
  ObservedStart,
  StartedPlatform
} from "./processes/platform.ts"

export interface PlatformUnderTest {
  readonly port: number
  readonly pid: number
  /** Of the instances that run or are on their way in or out; null for one that has no process yet. */
  readonly instancePids: () => Promise<ReadonlyArray<number | null>>
  readonly starts: () => Promise<ReadonlyArray<ObservedStart>>
  readonly close: () => Promise<void>
}

export interface Options {
  readonly flags?: ReadonlyArray<string>
  readonly backend?: BackendOptions
  /** Absent: the embedded one. */
  readonly fabric?: FabricOptions | undefined
}

/** Three servers make their streams in seconds each, on a machine that is busy. */
const startMs = 90_000

export const start = async (
  functions: ReadonlyArray<BenchFunction>,
  { flags = BenchProcess.nodeFlags, backend = {}, fabric }: Options = {}
): Promise<PlatformUnderTest> => {
  const child = await BenchProcess.start<StartedPlatform>(
    "platform.ts",
    [JSON.stringify(functions), JSON.stringify(backend), ...(fabric === undefined ? [] : [JSON.stringify(fabric)])],
    flags,
    startMs
  )
  return {
    port: child.started.port,
    pid: child.pid,
    // The answers of `processes/platform.ts`.
    instancePids: async () => ((await child.ask({ ask: "instances" })) as { pids: ReadonlyArray<number | null> }).pids,
    starts: async () => ((await child.ask({ ask: "starts" })) as { starts: ReadonlyArray<ObservedStart> }).starts,
    close: child.close
  }
}

/** One call on a connection of its own; milliseconds until its answer is read whole. Rejects unless it is 200. */
export const call = (port: number, path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const from = performance.now()
    const request = get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      response.resume()
      response.once("end", () => {
        if (response.statusCode === 200) resolve(performance.now() - from)
        else reject(new Error(`${path} answered ${response.statusCode}`))
      })
    })
    request.once("error", reject)
  })
