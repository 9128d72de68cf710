/**
 * A platform in a process of its own, with one proxy between it and its callers and one between it and its workers.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makeAgent, type World } from "../../chaos/Caller.ts"
import * as PlatformLife from "../../chaos/PlatformLife.ts"
import type { Random } from "../../chaos/Random.ts"
import { Recording } from "../../chaos/Recording.ts"
import * as TcpFaults from "./TcpFaults.ts"

export type Transport = "ws" | "grpc"

export interface ProxiedWorld {
  /** Calls go through the proxy. */
  readonly world: World
  /** Calls go straight to the gateway. */
  readonly direct: World
  readonly life: PlatformLife.PlatformLife
  readonly callers: TcpFaults.TcpFaults
  readonly workers: TcpFaults.TcpFaults
  readonly gatewayUrl: string
  readonly close: () => Promise<void>
}

export interface Options {
  readonly random: Random
  readonly transport: Transport
  readonly functionFile?: string
  readonly heartbeatMs?: number
  readonly visibilityTimeoutMs?: number
}

const recorderFile = join(import.meta.dirname, "../../chaos/recorder.ts")
const portOf = (url: string) => Number(new URL(url).port)

export const open = async (options: Options): Promise<ProxiedWorld> => {
  const { random, transport, functionFile = recorderFile, heartbeatMs = 300, visibilityTimeoutMs = 1_500 } = options
  const directory = mkdtempSync(join(tmpdir(), "millrace-network-"))
  const callers = await TcpFaults.start({ next: random.next })
  const workers = await TcpFaults.start({ next: random.next })
  const life = await PlatformLife.start({
    stateDirectory: join(directory, "state"),
    home: directory,
    durability: "accepted",
    idleWindowMs: 60_000,
    compileCache: PlatformLife.compileCache,
    buffer: { visibilityTimeoutMs },
    heartbeatMs,
    functionFile: join(import.meta.dirname, "viaProxy.ts"),
    environment: { VIA_URL: `${transport}://127.0.0.1:${workers.port}`, VIA_FUNCTION: functionFile }
  })
  callers.aim(portOf(life.gatewayUrl))
  workers.aim(portOf(life.workerUrl))
  const recording = new Recording(directory)
  const gatewayUrl = `http://127.0.0.1:${callers.port}`
  const agent = makeAgent()
  const directAgent = makeAgent()
  return {
    life,
    callers,
    workers,
    gatewayUrl,
    world: { recording, gatewayUrl: async () => gatewayUrl, agent },
    direct: { recording, gatewayUrl: async () => life.gatewayUrl, agent: directAgent },
    close: async () => {
      agent.destroy()
      directAgent.destroy()
      await life.kill()
      await Promise.all([callers.close(), workers.close()])
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
