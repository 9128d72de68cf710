/**
 * Workers of the SDK in this process, for simulated instances: they connect by the same protocol and to the same door as a
 * function in a process of its own. Their command is `millrace-simulated` and what they do:
 * `echo` · `delay MS` · `tokens COUNT MS` (server-sent events, one each `MS` milliseconds).
 *
 * @module
 */
import type { Runner } from "../../backends/simulated/SimulatedBackend.ts"
import { connectWebSocket } from "../../worker-sdk/connection/WebSocketTransport.ts"
import type { Connect, WorkerConnection } from "../../worker-sdk/connection/WorkerTransport.ts"
import * as Environment from "../../worker-sdk/Environment.ts"
import { makeInvoke } from "../../worker-sdk/Invocation.ts"
import { Worker } from "../../worker-sdk/Worker.ts"
import { systemClock, type WorkerClock } from "../../worker-sdk/WorkerClock.ts"

export const program = "millrace-simulated"

type Handle = (request: Request, context: { readonly signal: AbortSignal }) => Promise<Response>

const sleep = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener("abort", () => {
      clearTimeout(timer)
      resolve()
    })
  })

const echo: Handle = async (request) =>
  new Response(await request.arrayBuffer(), {
    headers: { "content-type": request.headers.get("content-type") ?? "application/octet-stream" }
  })

const delay =
  (ms: number): Handle =>
  async (_request, { signal }) => {
    await sleep(ms, signal)
    return new Response(`waited ${ms} ms\n`)
  }

const tokens =
  (count: number, everyMs: number): Handle =>
  async (_request, { signal }) => {
    const encoder = new TextEncoder()
    let index = 0
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (index >= count || signal.aborted) return controller.close()
        await sleep(everyMs, signal)
        controller.enqueue(encoder.encode(`data: token ${++index}\n\n`))
      }
    })
    return new Response(body, { headers: { "content-type": "text/event-stream" } })
  }

const countOf = (word: string | undefined, otherwise: number): number | undefined => {
  if (word === undefined) return otherwise
  return /^\d{1,7}$/.test(word) ? Number(word) : undefined
}

/** What these words ask for; a string: what is wrong with them. */
export const handlerOf = (words: ReadonlyArray<string>): Handle | string => {
  const [name, first, second, more] = words
  const help = `write ${program} echo, ${program} delay MS, or ${program} tokens COUNT MS`
  const one = countOf(first, name === "tokens" ? 20 : 100)
  const two = countOf(second, 50)
  if (one === undefined || two === undefined || more !== undefined)
    return `${words.join(" ")} is not understood: ${help}`
  if (name === "echo") return echo
  if (name === "delay") return delay(one)
  if (name === "tokens") return tokens(one, two)
  return `${JSON.stringify(name ?? "")} is nothing that a simulated worker does: ${help}`
}

let workers = 0

/** For commands that begin with `program`. */
export const run: Runner = (spec, life) => {
  const print = (text: string) => life.output("stderr", Buffer.from(`${text}\n`))
  const environment = Environment.read(spec.environment)
  const handler = handlerOf(spec.command.slice(1))
  life.started()
  if (typeof handler === "string" || "_tag" in environment) {
    print(typeof handler === "string" ? handler : "it was not told where to connect")
    life.ended({ kind: "code", code: 1 })
    return { signal: () => undefined }
  }
  let isKilled = false
  let connection: WorkerConnection | undefined
  // One that is killed says nothing more and connects no more, as a process that is gone.
  const clock: WorkerClock = {
    ...systemClock,
    after: (ms, act) => systemClock.after(ms, () => void (isKilled || act()))
  }
  const connect: Connect = (options) => {
    connection = connectWebSocket(options)
    return connection
  }
  const beganAtMs = systemClock.nowMs()
  const worker = new Worker({
    url: environment.url,
    connect,
    request: {
      instanceId: environment.instanceId,
      functionId: environment.functionId,
      versionId: environment.versionId,
      token: environment.token,
      workerId: `${environment.instanceId}.simulated.${++workers}`,
      sdk: "millrace-simulated/0.1.0"
    },
    slots: environment.slots,
    invoke: makeInvoke(handler, clock),
    phases: () => ({
      processMs: Math.max(0, beganAtMs - (environment.spawnedAtMs ?? beganAtMs)),
      initialiseMs: 0,
      connectMs: Math.max(0, systemClock.nowMs() - beganAtMs)
    }),
    clock,
    chance: Math.random,
    log: (text, error) => print(error === undefined ? text : `${text}: ${String(error)}`)
  })
  worker.ended.then(({ kind }) => life.ended({ kind: "code", code: kind === "drained" ? 0 : 1 }))
  worker.start()
  return {
    signal: (signal) => {
      if (signal === "SIGTERM") return worker.drain(signal)
      isKilled = true
      connection?.destroy("killed")
      life.ended({ kind: "signal", signal })
    }
  }
}
