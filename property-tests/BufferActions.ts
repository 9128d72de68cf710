/**
 * What can happen to a buffer, as fast-check commands. The values collide on purpose: two tenants, two versions, three
 * workers, three keys, deadlines and pauses of the size of the visibility timeout.
 *
 * @module
 */
import * as fc from "fast-check"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Arrived } from "../src/core/buffer/BufferEvent.ts"
import type { World } from "./BufferWorld.ts"

export type Action =
  | {
      readonly kind: "arrive"
      readonly mode: Arrived["mode"]
      readonly durability: Arrived["durability"]
      readonly tenant: number
      readonly version: number
      readonly sizeBytes: number
      readonly maxAttempts: number
      readonly isOpportunistic: boolean
      readonly deadlineInMs: number
      /** 0: none. */
      readonly key: number
      readonly fingerprint: number
      readonly isOld: boolean
    }
  | { readonly kind: "pass"; readonly ms: number; readonly tick: boolean }
  | { readonly kind: "flush"; readonly countMax: number; readonly persist: boolean }
  | { readonly kind: "persist" | "refuse" }
  | { readonly kind: "join"; readonly worker: number; readonly slots: number; readonly holds: "all" | "none" | "bogus" }
  | { readonly kind: "heard" | "drain" | "disconnect" | "lose"; readonly worker: number }
  | {
      readonly kind: "answer"
      readonly what: "start" | "end" | "fail" | "throw"
      /** Counts back from the newest lease. */
      readonly lease: number
      /** Speak under another worker's name. */
      readonly isForeign: boolean
    }
  | { readonly kind: "leave"; readonly request: number; readonly cancel: boolean }
  | { readonly kind: "detach" | "cancel"; readonly request: number }
  | { readonly kind: "remove"; readonly version: number }
  | { readonly kind: "save" }
  | { readonly kind: "restart"; readonly flushedCount: number; readonly fromSnapshot: boolean }
  | { readonly kind: "break"; readonly isWritten: boolean; readonly isUnknown: boolean }

type Kind = Action["kind"]

/** How often each kind is drawn; 0: never. */
export type Weights = Readonly<Partial<Record<Kind, number>>>

export const usual: Weights = {
  arrive: 12,
  pass: 8,
  flush: 6,
  persist: 4,
  refuse: 1,
  join: 6,
  heard: 2,
  drain: 1,
  disconnect: 2,
  lose: 2,
  answer: 14,
  leave: 2,
  detach: 2,
  cancel: 1,
  remove: 1,
  save: 1
}

/** How the arrivals of one kind of run differ from the usual ones. */
export interface Arrivals {
  readonly durability?: ReadonlyArray<Arrived["durability"]>
  readonly mode?: ReadonlyArray<Arrived["mode"]>
  readonly isKeyed?: boolean
  readonly isPatient?: boolean
  /** Instead of a wide choice. */
  readonly deadlineInMs?: ReadonlyArray<number>
}

const small = (max: number) => fc.integer({ min: 0, max })
const chance = (one: number, of: number) => small(of - 1).map((drawn) => drawn < one)

const actionOf = (arrivals: Arrivals): Record<Kind, fc.Arbitrary<Action>> => ({
  arrive: fc.record({
    kind: fc.constant("arrive"),
    mode: fc.constantFrom(...(arrivals.mode ?? (["sync", "async"] as const))),
    durability: fc.constantFrom(
      ...(arrivals.durability ?? (["accepted", "accepted", "accepted", "always", "memory"] as const))
    ),
    tenant: small(1),
    version: small(1),
    sizeBytes: fc.integer({ min: 1, max: 5 }),
    maxAttempts: fc.integer({ min: 1, max: 3 }),
    isOpportunistic: chance(1, 3),
    deadlineInMs: arrivals.isPatient
      ? fc.constant(1_000_000)
      : fc.constantFrom(...(arrivals.deadlineInMs ?? [0, 3, 15, 40, 200, 1_000_000, 1_000_000])),
    key: fc.oneof(
      { weight: arrivals.isKeyed === true ? 1 : 5, arbitrary: fc.constant(0) },
      { weight: 3, arbitrary: fc.integer({ min: 1, max: 2 }) }
    ),
    fingerprint: chance(1, 4).map(Number),
    isOld: chance(1, 20)
  }),
  pass: fc.record({ kind: fc.constant("pass"), ms: fc.constantFrom(0, 1, 3, 7, 15, 20, 61), tick: chance(3, 4) }),
  flush: fc.record({ kind: fc.constant("flush"), countMax: fc.constantFrom(1, 2, 99), persist: fc.boolean() }),
  persist: fc.constant({ kind: "persist" }),
  refuse: fc.constant({ kind: "refuse" }),
  join: fc.record({
    kind: fc.constant("join"),
    worker: small(2),
    slots: fc.integer({ min: 1, max: 3 }),
    holds: fc.constantFrom("all", "none", "bogus")
  }),
  heard: fc.record({ kind: fc.constant("heard"), worker: small(2) }),
  drain: fc.record({ kind: fc.constant("drain"), worker: small(2) }),
  disconnect: fc.record({ kind: fc.constant("disconnect"), worker: small(2) }),
  lose: fc.record({ kind: fc.constant("lose"), worker: small(2) }),
  answer: fc.record({
    kind: fc.constant("answer"),
    what: fc.constantFrom("start", "start", "end", "end", "fail", "throw"),
    lease: fc.constantFrom(0, 0, 0, 1, 1, 2, 3, 5),
    isForeign: chance(1, 12)
  }),
  leave: fc.record({ kind: fc.constant("leave"), request: small(4), cancel: fc.boolean() }),
  detach: fc.record({ kind: fc.constant("detach"), request: small(4) }),
  cancel: fc.record({ kind: fc.constant("cancel"), request: small(4) }),
  remove: fc.record({ kind: fc.constant("remove"), version: small(1) }),
  save: fc.constant({ kind: "save" }),
  restart: fc.record({ kind: fc.constant("restart"), flushedCount: small(4), fromSnapshot: fc.boolean() }),
  break: fc.record({ kind: fc.constant("break"), isWritten: fc.boolean(), isUnknown: fc.boolean() })
})

/** The model is the auditor inside the world; a command only makes something happen. */
export type Model = Record<string, never>

class Act implements fc.Command<Model, World> {
  readonly action: Action
  constructor(action: Action) {
    this.action = action
  }
  check = () => true
  run = (_: Model, world: World): void => perform(world, this.action)
  toString = () => JSON.stringify(this.action)
}

const weighted = (weights: Weights, arrivals: Arrivals): fc.Arbitrary<Action> => {
  const all = actionOf(arrivals)
  return fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({
      weight: weight ?? 0,
      // The keys of `weights` are kinds by its type.
      arbitrary: all[kind as Kind]
    }))
  )
}

export const actions = (weights: Weights, arrivals: Arrivals, maxCommands: number) =>
  fc.commands([weighted(weights, arrivals).map((action) => new Act(action))], { maxCommands, size: "max" })

/** To be performed in more than one world. */
export const actionLists = (weights: Weights, arrivals: Arrivals, maxLength: number) =>
  fc.array(weighted(weights, arrivals), { maxLength, size: "max" })

export const perform = (world: World, action: Action): void => {
  const { nowMs } = world
  switch (action.kind) {
    case "arrive": {
      const { mode, durability, tenant, version, sizeBytes, maxAttempts, deadlineInMs, key, fingerprint } = action
      const { isOpportunistic } = action
      const sequence = action.isOld && world.nextSequence > 1 ? world.state.lastSequence : world.nextSequence++
      if (sequence < 0) return
      world.send({
        _tag: "Arrived",
        nowMs,
        sequence,
        requestId: `request-${sequence}`,
        tenant: `tenant-${tenant}`,
        version: `version-${version}`,
        mode,
        durability,
        deadlineMs: nowMs + deadlineInMs,
        sizeBytes,
        maxAttempts,
        ...(isOpportunistic ? { serviceClass: "opportunistic" as const } : {}),
        ...(key === 0 ? {} : { idempotencyKey: `key-${key}`, fingerprint: `print-${fingerprint}` })
      })
      return
    }
    case "pass": {
      world.nowMs += action.ms
      if (action.tick) world.send({ _tag: "Ticked", nowMs: world.nowMs })
      return
    }
    case "flush": {
      world.flushStart(action.countMax)
      if (action.persist) world.persist()
      return
    }
    case "persist":
      return world.persist()
    case "refuse":
      return world.refuseWrite()
    case "join":
      return join(world, action)
    case "heard":
      world.send({ _tag: "WorkerHeard", nowMs, workerId: `worker-${action.worker}` })
      return
    case "drain":
      world.send({ _tag: "WorkerDraining", nowMs, workerId: `worker-${action.worker}` })
      return
    case "disconnect":
      world.send({ _tag: "WorkerDisconnected", nowMs, workerId: `worker-${action.worker}` })
      return
    case "lose":
      world.send({ _tag: "WorkerLost", nowMs, workerId: `worker-${action.worker}` })
      return
    case "answer":
      return answer(world, action)
    case "leave": {
      const sequence = recent(world, action.request)
      world.send({ _tag: "CallerLeft", nowMs, sequence, cancel: action.cancel })
      return
    }
    case "detach":
      world.send({ _tag: "Detached", nowMs, sequence: recent(world, action.request) })
      return
    case "cancel":
      world.send({ _tag: "CancelRequested", nowMs, sequence: recent(world, action.request) })
      return
    case "remove":
      world.send({ _tag: "VersionRemoved", nowMs, version: `version-${action.version}` })
      return
    case "save":
      return world.save()
    case "restart":
      return world.restart(action.flushedCount, action.fromSnapshot)
    case "break":
      return world.breakStore(action.isWritten, action.isUnknown)
  }
}

const recent = (world: World, back: number): number => Math.max(1, world.nextSequence - 1 - back)

/** Worker 0 and 1 serve a version each, worker 2 both in turn. */
const join = (world: World, action: Extract<Action, { readonly kind: "join" }>): void => {
  const workerId = `worker-${action.worker}`
  const version = `version-${action.worker === 2 ? action.slots % 2 : action.worker}`
  const mine = world.leases.filter((lease) => lease.workerId === workerId).slice(-4)
  const held = mine.filter(({ sequence, token }) => Buffer.isLive(world.state, sequence, workerId, token))
  const holds = action.holds === "all" ? held : action.holds === "none" ? [] : mine
  const { slots } = action
  const { nowMs } = world
  world.send({ _tag: "WorkerJoined", nowMs, workerId, instanceId: `instance-of-${workerId}`, version, slots, holds })
}

/** Workers for both versions before anything happens: without them most short runs only wait. */
export const warm = (world: World): void => {
  for (const worker of [0, 1]) join(world, { kind: "join", worker, slots: 2, holds: "none" })
}

const answer = (world: World, action: Extract<Action, { readonly kind: "answer" }>): void => {
  const lease = world.leases.at(-1 - action.lease)
  if (lease === undefined) return
  const { sequence, token } = lease
  const workerId = action.isForeign ? "worker-9" : lease.workerId
  const of = { nowMs: world.nowMs, sequence, workerId, token }
  switch (action.what) {
    case "start":
      world.send({ _tag: "ResponseStarted", ...of })
      return
    case "end":
      world.send({ _tag: "ResponseEnded", ...of, resultBytes: 3 })
      return
    case "fail":
      world.send({ _tag: "AttemptFailed", ...of, retryable: true, message: "it stumbled" })
      return
    case "throw":
      world.send({ _tag: "AttemptFailed", ...of, retryable: false, message: "it threw" })
      return
  }
}
