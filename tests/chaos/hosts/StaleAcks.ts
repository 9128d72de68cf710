/**
 * A worker that takes a thousand requests and stands still. The gateway that gave them to it dies, others answer them, and
 * then it comes back and answers each of them under the lease that it had: all of that must be refused, and change nothing.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as RequestId from "../../../src/planes/invocation/RequestId.ts"
import * as RawWorker from "../../platform/support/RawWorker.ts"
import { eventually } from "../../support/TestPlatform.ts"
import { carryOut, claimUntilEnded, digestOf, type World } from "../Caller.ts"
import { monotonicMs } from "../Clock.ts"
import type { Order } from "../recorder.ts"
import * as Installation from "./Installation.ts"

export interface Outcome {
  readonly sent: number
  /** As the control plane counts what the gateways say. */
  readonly refused: number
}

const acksWanted = 1_000
/** Calls at a time. */
const width = 32
const beatMs = 500
const limitMs = 90_000
const recorder = join(import.meta.dirname, "../recorder.ts")

export const run = async ({
  installation,
  world,
  promised,
  struckGateways
}: {
  readonly installation: Installation.Installation
  readonly world: World
  readonly promised: Array<string>
  readonly struckGateways: Set<Installation.Member>
}): Promise<Outcome> => {
  const { workerSecret: secret, controls, shardOwner, staleRefused } = installation
  const name = "still"
  const served = await installation.deploy(name, {
    command: ["node", recorder],
    environment: { RECORDER_PLANE: "epoch" },
    deployment: { maxInstances: 2, concurrency: 16, graceMs: 500, maxAttempts: 100 }
  })
  const call = async (index: number): Promise<void> => {
    const item = `still-${index}`
    const order = { item, ms: 0, bytes: 10, pieces: 0, padding: "" }
    const plan = { item, path: name, isAsync: true, key: undefined, order, leaveAfterMs: undefined }
    const requestId = await carryOut(world, { ...plan, deadlineMs: undefined, claimsAtOnce: false })
    if (requestId !== undefined) promised.push(requestId)
  }
  await call(0)
  const shard = RequestId.shardOf(promised.at(-1) ?? "", Installation.shardCount)
  const owner = () => shardOwner(shard)
  const connect = (gateway: Installation.Plane) =>
    RawWorker.connectAt({ workerUrl: gateway.workerUrl(), secret }, served, { instanceId: "still" })

  const first = await eventually("somebody serves the shard", owner)
  const worker = await connect(first)
  worker.ready(acksWanted)
  const beat = setInterval(() => worker.say({ _tag: "Heartbeat" }), beatMs)
  const held = () => worker.heard.filter((message): message is RawWorker.Assign => message._tag === "Assign")
  let next = 1
  // Instances of its own take what they can meanwhile.
  const caller = async () => {
    while (held().length < acksWanted && next < 20 * acksWanted) await call(next++)
  }
  await Promise.all(Array.from({ length: width }, caller))
  const leases = await eventually("it holds what was called", () =>
    held().length >= acksWanted ? held().slice(0, acksWanted) : undefined
  )
  clearInterval(beat)
  for (const { requestId, token, tenant, attempt, body } of leases) {
    const text = Buffer.from(body).toString("utf8")
    // Written by `call`.
    const { item } = JSON.parse(text) as Order
    const plane = `epoch ${Math.floor(token / 2 ** 32)}`
    const run = randomUUID()
    world.recording.see({
      _tag: "Attempted",
      run,
      item,
      body: digestOf(text),
      requestId,
      tenant,
      attempt,
      token,
      plane
    })
  }

  struckGateways.add(first)
  world.recording.see({ _tag: "Crashed" })
  await first.kill()
  const left = [...leases]
  const claimer = async () => {
    for (let lease = left.pop(); lease !== undefined; lease = left.pop()) {
      const result = await claimUntilEnded(world, lease.requestId, limitMs)
      if (result?.kind !== "answer") throw new Error(`${lease.requestId} was not answered: ${JSON.stringify(result)}`)
    }
  }
  await Promise.all(Array.from({ length: 2 * width }, claimer))

  const control = await eventually("somebody is asked", async () => {
    for (const one of controls) if ((await staleRefused(one)) !== null) return one
    return undefined
  })
  const before = (await staleRefused(control)) ?? 0
  const successor = await eventually("another serves the shard", () => (owner() === first ? undefined : owner()))
  const back = await connect(successor)
  back.ready()
  for (const lease of leases) back.answer(lease, { body: "too late" })
  let refused = 0
  for (const endMs = monotonicMs() + limitMs; refused < leases.length && monotonicMs() < endMs; await sleep(50)) {
    refused = ((await staleRefused(control)) ?? before) - before
  }
  // Not before all of them were seen to be refused; else the number tells.
  if (refused >= leases.length) {
    for (const { requestId, token } of leases) {
      world.recording.see({ _tag: "Settled", requestId, token, taken: false })
    }
  }
  back.vanish()
  worker.vanish()
  await first.start()
  struckGateways.delete(first)
  return { sent: leases.length, refused }
}
