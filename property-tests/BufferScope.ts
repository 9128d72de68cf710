/**
 * A small world of the buffer, of which every order of events can be tried: two requests, two workers with one slot each,
 * one expiry of leases, one crash.
 *
 * The first request is asynchronous with a key, the second synchronous, both of one version and two attempts. Writes
 * begin and end as events of their own, workers join, start to answer, answer and fail, also with tokens of leases that
 * are over. The expiry takes a visibility timeout and then the longest redelivery delay; the crash leaves of the batch
 * under way nothing or all, and workers come back after it with what they hold.
 *
 * @module
 */
import { createHash } from "node:crypto"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Arrived } from "../src/core/buffer/BufferEvent.ts"
import { type Lease, type Machine, World } from "./BufferWorld.ts"
import type { Scope } from "./Enumeration.ts"

const startMs = 1_000
const workers = ["worker-0", "worker-1"] as const
const version = "version"

const arrivals = {
  "arrive async": { requestId: "one", tenant: "tenant-0", mode: "async", idempotencyKey: "key", fingerprint: "print" },
  "arrive sync": { requestId: "two", tenant: "tenant-1", mode: "sync" }
} as const

interface Happening {
  readonly name: string
  readonly times: number
  readonly happen: (world: World) => void
}

const arrive = (world: World, arrival: (typeof arrivals)[keyof typeof arrivals]): void => {
  const { nowMs } = world
  const sequence = world.nextSequence++
  const of = { version, durability: "accepted", deadlineMs: startMs + 1e6, sizeBytes: 1, maxAttempts: 2 } as const
  const arrived: Arrived = { _tag: "Arrived", nowMs, sequence, ...of, ...arrival }
  world.arrived.add(arrival.requestId)
  world.send(arrived)
}

const join = (world: World, workerId: string): void => {
  const { nowMs, state } = world
  const mine = world.leases.filter((lease) => lease.workerId === workerId)
  const holds = mine.filter(({ sequence, token }) => Buffer.isLive(state, sequence, workerId, token))
  world.send({ _tag: "WorkerJoined", nowMs, workerId, instanceId: workerId, version, slots: 1, holds })
}

const expire = (world: World): void => {
  const { visibilityTimeoutMs, redeliveryDelayMaxMs } = world.options
  for (const ms of [visibilityTimeoutMs, redeliveryDelayMaxMs]) {
    world.nowMs += ms
    world.send({ _tag: "Ticked", nowMs: world.nowMs })
  }
}

const happenings = (world: World): ReadonlyArray<Happening> => {
  const all: Array<Happening> = []
  const add: Add = (isPossible, name, happen, times = 1) => {
    if (isPossible) all.push({ name, times, happen })
  }
  for (const [name, arrival] of Object.entries(arrivals)) {
    add(!world.arrived.has(arrival.requestId), name, (next) => arrive(next, arrival))
  }
  add(world.queue.length > 0 && world.flushing.length === 0, "begin to write", (next) => next.flushStart(99))
  add(world.flushing.length > 0, "end to write", (next) => next.persist())
  if (world.leases.length === 0 && !workers.some((workerId) => world.isConnected(workerId))) {
    // Which of two that nothing is known of comes first is a matter of names.
    add(true, `${workers[0]} joins`, (next) => join(next, workers[0]), workers.length)
  } else {
    for (const workerId of workers) {
      add(!world.isConnected(workerId), `${workerId} joins`, (next) => join(next, workerId))
    }
  }
  for (const lease of world.leases) addAnswers(world, lease, add)
  add(world.nowMs === startMs, "expire", expire)
  add(world.epoch === 1, "crash", (next) => next.restart(0, false))
  add(world.epoch === 1 && world.flushing.length > 0, "crash with all written", (next) => next.restart(99, false))
  return all
}

type Add = (isPossible: boolean, name: string, happen: (world: World) => void, times?: number) => void

const addAnswers = (world: World, { sequence, workerId, token }: Lease, add: Add): void => {
  const found = Buffer.lookup(world.state, sequence)
  const isLive = Buffer.isLive(world.state, sequence, workerId, token)
  const of = (next: World) => ({ nowMs: next.nowMs, sequence, workerId, token })
  const what = `${workerId} ${token % 2 ** 32} of ${sequence}`
  add(isLive && found?.state === "leased", `start ${what}`, (next) =>
    next.send({ _tag: "ResponseStarted", ...of(next) })
  )
  // A lease that is over is spoken for as well; that a second time would show nothing new.
  add(true, `end ${what}`, (next) => next.send({ _tag: "ResponseEnded", ...of(next), resultBytes: 1 }))
  add(isLive, `fail ${what}`, (next) => {
    next.send({ _tag: "AttemptFailed", ...of(next), retryable: true, message: "it stumbled" })
  })
}

/** `look`: at each new state, beyond what is checked at each step. */
export const bufferScope = (machine: Machine, look: (world: World) => void = () => undefined): Scope<World> => {
  return {
    start: () => new World(machine, { startMs }),
    moves: (world) =>
      happenings(world).map(({ name, times, happen }) => ({
        name,
        times,
        next: (before) => {
          const after = before.fork()
          happen(after)
          look(after)
          return after
        }
      })),
    // A digest is as good as the text, and shorter.
    key: (world) => {
      const text = JSON.stringify([world.facts(), world.auditor.facts()])
      return createHash("sha1").update(text).digest("base64")
    }
  }
}
