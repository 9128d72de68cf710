/**
 * Gateways over one fabric, functions that are registered in it, and workers in this process that serve them.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { deploymentDefaults } from "../../src/planes/control/Domain.ts"
import { defaultTenant, Registry } from "../../src/planes/control/Registry.ts"
import type { Fabric } from "../../src/planes/fabric/EmbeddedFabric.ts"
import * as WorkerToken from "../../src/planes/invocation/WorkerToken.ts"
import { connectWebSocket } from "../../src/worker-sdk/connection/WebSocketTransport.ts"
import type { Context as CallContext, Handler } from "../../src/worker-sdk/Handler.ts"
import { makeInvoke } from "../../src/worker-sdk/Invocation.ts"
import { Worker } from "../../src/worker-sdk/Worker.ts"
import { systemClock } from "../../src/worker-sdk/WorkerClock.ts"
import { type GatewayLife, type GatewayOptions, openFabric, secret, startGateway } from "./GatewayLife.ts"

export interface TestFunction {
  readonly name: string
  readonly functionId: string
  readonly versionId: string
}

/** How often each request was begun, by what its caller named it. */
export class Runs {
  readonly counts = new Map<string, number>()
  readonly attempts = new Map<string, number>()

  begun(name: string, attempt: number): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
    this.attempts.set(name, Math.max(attempt, this.attempts.get(name) ?? 0))
  }

  get repeated(): ReadonlyArray<string> {
    return [...this.counts].filter(([, count]) => count > 1).map(([name]) => name)
  }
}

/** `?ms=` sleeps, `?chunks=` streams that many events that far apart; the answer names the call and the attempt. */
const handler =
  (runs: Runs) =>
  async (request: Request, { attempt, signal }: CallContext): Promise<Response> => {
    const { searchParams, pathname } = new URL(request.url)
    const name = `${pathname}:${request.headers.get("x-name") ?? ""}`
    runs.begun(name, attempt)
    const ms = Number(searchParams.get("ms") ?? 0)
    const chunks = Number(searchParams.get("chunks") ?? 0)
    const body = await request.text()
    if (chunks > 0) return stream(chunks, ms, signal)
    if (ms > 0) await sleep(ms)
    return new Response(`${pathname} ${body.length > 1_000 ? body.length : body} ${attempt}`, {
      headers: { "x-answered": name }
    })
  }

const stream = (chunks: number, everyMs: number, signal: AbortSignal): Response => {
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      for (let index = 1; index <= chunks && !signal.aborted; index++) {
        controller.enqueue(encoder.encode(`data: ${index}\n\n`))
        await sleep(everyMs)
      }
      controller.close()
    }
  })
  return new Response(body, { headers: { "content-type": "text/event-stream" } })
}

export interface World {
  readonly runs: Runs
  readonly context: Context.Context<Fabric | Registry>
  readonly gateways: Array<GatewayLife>
  readonly addGateway: (options?: Partial<GatewayOptions>) => Promise<GatewayLife>
  readonly deploy: (name: string) => Promise<TestFunction>
  /** `urls`: of the worker ports that it may ask. */
  readonly work: (fn: TestFunction, urls: string, slots?: number, own?: Handler) => Worker
  readonly log: Array<string>
  readonly close: () => Promise<void>
}

/** Long ones, so that a busy computer changes nothing; tests of their end choose others. */
export const calm: Partial<GatewayOptions> = {
  ownership: { ttlMs: 30_000, renewMs: 2_000, marginMs: 3_000 },
  members: { announceMs: 500, deadAfterMs: 20_000 },
  holdMs: 30_000
}

export const makeWorld = async <E>(layer: Layer.Layer<Fabric, E>, shardCount: number): Promise<World> => {
  const fabric = await openFabric(layer)
  const registry = Context.get(fabric.context, Registry)
  const runs = new Runs()
  const gateways: Array<GatewayLife> = []
  const workers: Array<Worker> = []
  const log: Array<string> = []
  return {
    runs,
    context: fabric.context,
    gateways,
    log,
    addGateway: async (options = {}) => {
      const number = gateways.length
      const gateway = await startGateway(fabric.context, {
        shardCount,
        onMoved: (shard, what) => log.push(`${performance.now().toFixed(0)} gateway ${number}: ${shard} ${what}`),
        onDefect: (error) => log.push(`gateway ${number}: defect ${String(error)}`),
        ...calm,
        ...options
      })
      gateways.push(gateway)
      return gateway
    },
    deploy: async (name) => {
      const tenant = defaultTenant
      const record = await Effect.runPromise(registry.createFunction({ tenant, name }))
      const spec = {
        command: ["true"],
        workingDirectory: "/",
        environment: {},
        durability: "accepted" as const,
        inferencePath: "/"
      }
      const version = await Effect.runPromise(registry.createVersion({ tenant, functionId: record.id, spec }))
      await Effect.runPromise(
        registry.deploy({
          tenant,
          versionId: version.id,
          spec: { ...deploymentDefaults, bodyBytesMax: 8 * 1024 * 1024 }
        })
      )
      return { name, functionId: record.id, versionId: version.id }
    },
    work: (fn, urls, slots = 8, own = handler(runs)) => {
      const instanceId = randomUUID()
      const { functionId, versionId } = fn
      const token = WorkerToken.issue(secret, {
        instanceId,
        functionId,
        versionId,
        expiresAtMs: Date.now() + 3_600_000
      })
      const worker = new Worker({
        url: urls,
        connect: connectWebSocket,
        request: { instanceId, functionId, versionId, token, workerId: randomUUID(), sdk: "test" },
        slots,
        invoke: makeInvoke(own, systemClock),
        phases: () => ({ processMs: 1, initialiseMs: 1, connectMs: 1 }),
        clock: systemClock,
        chance: () => 0,
        log: (text) => log.push(`worker of ${fn.name}: ${text}`)
      })
      worker.start()
      workers.push(worker)
      return worker
    },
    close: async () => {
      for (const worker of workers) worker.drain("the test is over")
      await Promise.all(gateways.map((gateway) => gateway.close()))
      await fabric.close()
    }
  }
}

/** Names of functions whose versions fall to each shard of one gateway and not of the others are found by looking. */
export const ownerOf = (world: World, fn: TestFunction): GatewayLife | undefined =>
  world.gateways.find(({ shards }) => shards.at(shards.indexOf(fn.versionId)) !== undefined)
