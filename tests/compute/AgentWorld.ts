/**
 * A world for an agent that may die at any moment: instances that outlive it, orders that come again until they are
 * acked, and a control plane as small as can be. Each life of the agent sees the world through a port that can be cut.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { ComputeBackend, type InstanceObservation, type InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { BackendUnavailable } from "../../src/backends/LaunchError.ts"
import * as Agent from "../../src/planes/compute/Agent.ts"
import type { CreateInstance, InstanceReport, TerminateInstance } from "../../src/planes/compute/AgentMessage.ts"
import { bytesOf } from "../../src/planes/fabric/Message.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"
import * as Subject from "../../src/planes/fabric/Subject.ts"
import { type Delivery, WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"

/** What happens at one call, event or list of the backend, counted from 1. */
export type Fault =
  | { readonly kind: "none" }
  /** The agent dies: before the backend heard of the call, or after it was carried out. */
  | { readonly kind: "crash-before" | "crash-after"; readonly at: number }
  /** The call is carried out and its answer lost. */
  | { readonly kind: "answer-lost"; readonly at: number }
  | { readonly kind: "event-dropped"; readonly at: number }
  /** The list is that of two changes ago. */
  | { readonly kind: "list-stale"; readonly at: number }
  /** From this one on every list is empty: no agent can be right about that. */
  | { readonly kind: "lists-empty"; readonly at: number }

export const heartbeatMs = 1_000
export const foreignIds = ["foreign-1", "foreign-2"]

interface Queued {
  readonly queue: string
  readonly messageId: string
  readonly payload: Uint8Array
  count: number
}

export interface Counts {
  calls: number
  events: number
  lists: number
  /** Starts of an id that ran, and instances of one slot that ran at the same time. */
  doubles: number
  foreignDeletes: number
  lives: number
}

const isIn = (queue: string, pattern: string) => Subject.matches(pattern.split("."), queue.split("."))

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

export const make = (fault: Fault) => {
  const counts: Counts = { calls: 0, events: 0, lists: 0, doubles: 0, foreignDeletes: 0, lives: 0 }
  const running = new Map<string, InstanceSpec>()
  const history: Array<ReadonlyArray<string>> = []
  const specs = new Map<string, InstanceSpec>()
  const queued: Array<Queued> = []
  /** By slot: the id that is wanted there. */
  const wanted = new Map<string, string>()
  const missed = new Map<string, number>()
  let isDead = true
  let scope: Scope.Closeable | undefined
  let watchers: ReadonlyArray<(observation: InstanceObservation) => void> = []
  let consumers = new Map<string, (delivery: Delivery) => void>()
  let subscribers: ReadonlyArray<readonly [string, (payload: Uint8Array, subject: string) => void]> = []
  let told = new Set<string>()
  let ordered = 0
  let nowMs = 0

  // --- the cluster ---------------------------------------------------------------------------------------------------

  const slotOf = (instanceId: string) => instanceId.split(".")[0] ?? ""
  const changed = () => {
    history.push([...running.keys()])
    const slots = [...running.keys()].map(slotOf)
    if (new Set(slots).size !== slots.length) counts.doubles++
  }

  const tell = (observation: InstanceObservation) => {
    const at = ++counts.events
    if (fault.kind === "event-dropped" && fault.at === at) return
    for (const watcher of watchers) watcher(observation)
  }

  const launch = (spec: InstanceSpec) => {
    if (running.has(spec.instanceId)) return
    running.set(spec.instanceId, spec)
    specs.set(spec.instanceId, spec)
    changed()
    tell({ _tag: "Started", instanceId: spec.instanceId, atMs: 0 })
  }

  const endInstance = (instanceId: string, requested: boolean) => {
    if (foreignIds.includes(instanceId)) counts.foreignDeletes++
    if (!running.delete(instanceId)) return
    changed()
    const exit = { kind: "code", code: 1 } as const
    tell({ _tag: "Exited", instanceId, atMs: 0, exit, phase: "running", lastOutput: "", requested })
  }

  const listed = (ids: Iterable<string>) =>
    [...ids].flatMap((instanceId) => {
      const spec = specs.get(instanceId)
      return spec === undefined
        ? []
        : [{ instanceId, versionId: spec.versionId, startedAtMs: 0, labels: spec.labels ?? {} }]
    })

  /** One life's view of the backend. */
  const portOf = (life: { isCut: boolean }): ComputeBackend["Service"] => {
    const call = <A>(operation: string, act: () => A): Effect.Effect<A, BackendUnavailable> =>
      Effect.suspend((): Effect.Effect<A, BackendUnavailable> => {
        if (life.isCut) return Effect.never
        const at = ++counts.calls
        const isHit = "at" in fault && fault.at === at
        if (isHit && (fault.kind === "crash-before" || fault.kind === "crash-after")) {
          // The agent is dead before what the call does can be told to it.
          life.isCut = true
          isDead = true
          watchers = []
          if (fault.kind === "crash-after") act()
          return Effect.never
        }
        const answer = act()
        if (isHit && fault.kind === "answer-lost") {
          return Effect.fail(new BackendUnavailable({ backend: "world", operation, detail: "no answer came" }))
        }
        return Effect.succeed(answer)
      })
    const own = <A>(add: (listener: A) => void, listener: A) =>
      Effect.sync(() => {
        if (!life.isCut) add(listener)
      })
    return ComputeBackend.of({
      abilities: {
        name: "world",
        isolation: "container",
        image: true,
        command: true,
        gpuKinds: [],
        preWarm: false,
        tasks: true,
        limits: [],
        survivesRestart: true
      },
      capacity: call("capacity", () => ({
        instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: 100, free: 100 - running.size }]
      })),
      launch: (spec) => call("launch", () => launch(spec)),
      terminate: (instanceId) => call("terminate", () => endInstance(instanceId, true)),
      list: call("list", () => {
        const at = ++counts.lists
        if (fault.kind === "lists-empty" && at >= fault.at) return []
        const isStale = fault.kind === "list-stale" && fault.at === at
        return listed(isStale ? (history.at(-3) ?? []) : running.keys())
      }),
      watch: (onObservation) => own((one: typeof onObservation) => (watchers = [...watchers, one]), onObservation),
      logs: () => Effect.succeed([]),
      followLogs: () => Effect.void
    })
  }

  // --- the fabric ----------------------------------------------------------------------------------------------------

  const deliver = (message: Queued, life: { isCut: boolean }) => {
    const consumer = [...consumers].find(([pattern]) => isIn(message.queue, pattern))?.[1]
    if (consumer === undefined || life.isCut) return
    message.count++
    const remove = () => {
      if (!life.isCut) queued.splice(queued.indexOf(message) >>> 0, queued.includes(message) ? 1 : 0)
    }
    consumer({
      queue: message.queue,
      messageId: message.messageId,
      payload: message.payload,
      content: message.payload,
      deliveryCount: message.count,
      ack: remove,
      nak: () => undefined,
      extend: () => undefined,
      terminate: remove
    })
  }

  let current = { isCut: true }

  const publishOrder = (queue: string, messageId: string, order: CreateInstance | TerminateInstance) => {
    const message: Queued = { queue, messageId, payload: encode(order), count: 0 }
    queued.push(message)
    deliver(message, current)
  }

  const onReport = (payload: Uint8Array) => {
    // Written by the agent, of the shape of `AgentReport`.
    const report = JSON.parse(new TextDecoder().decode(payload)) as
      | { readonly _tag: "InstanceChanged"; readonly instance: InstanceReport }
      | { readonly _tag: "Heartbeat"; readonly instances: ReadonlyArray<InstanceReport> }
    if (report._tag === "InstanceChanged") {
      const { instanceId, state } = report.instance
      const isEnd = state === "failed" || state === "stopped"
      if (isEnd && wanted.get(slotOf(instanceId)) === instanceId) create(slotOf(instanceId))
      return
    }
    const seen = new Set(report.instances.map(({ instanceId }) => instanceId))
    for (const [slot, instanceId] of wanted) {
      const count = seen.has(instanceId) ? 0 : (missed.get(instanceId) ?? 0) + 1
      missed.set(instanceId, count)
      if (count >= 2) create(slot)
    }
    for (const instanceId of seen) if (wanted.get(slotOf(instanceId)) !== instanceId) terminate(instanceId, 0)
  }

  const fabricOf = (life: { isCut: boolean }) => {
    const subscribe: PubSub["Service"]["subscribe"] = (subject, onMessage) =>
      Effect.sync(() => {
        if (!life.isCut) subscribers = [...subscribers, [subject, onMessage]]
      })
    return Layer.mergeAll(
      Layer.succeed(
        WorkQueue,
        WorkQueue.of({
          publish: () => Effect.die("orders come from the world"),
          consume: (queue, _options, onDelivery) =>
            Effect.sync(() => {
              if (life.isCut) return
              consumers.set(queue, onDelivery)
              for (const message of [...queued]) if (isIn(message.queue, queue)) deliver(message, life)
            }),
          deadLetters: () => Effect.succeed([])
        })
      ),
      Layer.succeed(
        PubSub,
        PubSub.of({
          publish: (subject, payload) => {
            if (!life.isCut && subject === "cluster.here.report") onReport(bytesOf(payload))
          },
          subscribe,
          hear: subscribe
        })
      )
    )
  }

  // --- the control plane ---------------------------------------------------------------------------------------------

  const create = (slot: string) => {
    const instanceId = `${slot}.${++ordered}`
    wanted.set(slot, instanceId)
    publishOrder("Create.NVCA.Function.here.none.local", `create ${instanceId}`, {
      instanceId,
      tenant: "t",
      functionId: "f",
      functionName: "f",
      versionId: "v",
      generation: 1,
      command: ["node"],
      environment: {},
      concurrency: 1,
      gpu: { kind: "none", count: 0 },
      instanceType: "local",
      cpuMillis: 1,
      memoryBytes: 1,
      startDeadlineMs: 600_000,
      graceMs: 1_000,
      decidedAtMs: nowMs,
      reason: "a scenario"
    })
  }

  const terminate = (instanceId: string, drainMs: number) =>
    publishOrder("Terminate.NVCA.here", `terminate ${instanceId} ${++ordered}`, {
      instanceId,
      versionId: "v",
      drainMs,
      graceMs: 1_000,
      reason: "a scenario"
    })

  // --- lives ---------------------------------------------------------------------------------------------------------

  /** Ends what is left of a dead agent, without any effect on the world, and starts the next one. */
  const live = Effect.gen(function* () {
    if (!isDead) return
    current.isCut = true
    if (scope !== undefined) {
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust(1_000)
      yield* Fiber.join(closing)
    }
    const life = { isCut: false }
    current = life
    isDead = false
    watchers = []
    consumers = new Map()
    subscribers = []
    told = new Set()
    counts.lives++
    scope = yield* Scope.make()
    const starting = Agent.make({
      cluster: "here",
      site: { region: "home" },
      heartbeatMs,
      workerUrl: "ws://127.0.0.1:1",
      workerToken: () => "token",
      shutdownMs: 10
    }).pipe(
      Effect.provideService(ComputeBackend, portOf(life)),
      Effect.provide(fabricOf(life)),
      Effect.provide(Logger.layer([])),
      Scope.provide(scope)
    )
    // One that dies while it starts never comes back from it.
    const fiber = yield* Effect.forkChild(Effect.exit(starting), { startImmediately: true })
    yield* TestClock.adjust(1)
    if (isDead) yield* Fiber.interrupt(fiber)
  })

  /** One heartbeat of the agent, and workers that connect. */
  const round = Effect.gen(function* () {
    nowMs = yield* Clock.currentTimeMillis
    for (let tries = 0; isDead && tries < 10; tries++) yield* live
    for (const instanceId of running.keys()) {
      if (told.has(instanceId)) continue
      told.add(instanceId)
      const report = { _tag: "WorkerReady", instanceId, versionId: "v", slots: 1 }
      const payload = encode({ ...report, phases: { processMs: 1, initialiseMs: 1, connectMs: 1 } })
      for (const [subject, listener] of subscribers) if (subject === "instance.worker") listener(payload, subject)
    }
    yield* TestClock.adjust(heartbeatMs)
  })

  const isConverged = () =>
    !isDead && queued.length === 0 && [...running.keys()].toSorted().join() === [...wanted.values()].toSorted().join()

  return {
    counts,
    round,
    isConverged,
    create,
    /** The slot is wanted no more. */
    drop: (slot: string, drainMs: number) => {
      const instanceId = wanted.get(slot)
      wanted.delete(slot)
      if (instanceId !== undefined) terminate(instanceId, drainMs)
    },
    /** An instance dies by itself. */
    die: (slot: string) => endInstance(wanted.get(slot) ?? "", false),
    /** Runs under our name, and no agent launched it. */
    stray: (instanceId: string) => {
      const spec = specs.values().next().value
      if (spec === undefined) return
      const { labels: _, ...bare } = spec
      specs.set(instanceId, { ...bare, instanceId })
      running.set(instanceId, { ...bare, instanceId })
    },
    seen: () => ({ running: [...running.keys()], wanted: [...wanted.values()], queued: queued.length, isDead, counts }),
    close: Effect.suspend(() => {
      current.isCut = true
      const last = scope
      return last === undefined
        ? Effect.void
        : Effect.forkChild(Scope.close(last, Exit.void), { startImmediately: true }).pipe(
            Effect.tap(TestClock.adjust(1_000)),
            Effect.flatMap(Fiber.join)
          )
    })
  }
}
