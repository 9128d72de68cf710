/**
 * A world for the controller in virtual time: a clock held in the hand, a fabric that delivers in the same turn, and
 * fake agents whose instances start, become ready, fail and end as a test says.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import {
  type AgentReport,
  CreateInstance,
  type DemandReport,
  type InstanceReport,
  subjects,
  type TerminateInstance,
  type WorkerReport
} from "../../src/planes/compute/AgentMessage.ts"
import * as Controller from "../../src/planes/control/Controller.ts"
import type { ControllerTime } from "../../src/planes/control/ControllerTimers.ts"
import { type DeploymentSpec, deploymentDefaults } from "../../src/planes/control/Domain.ts"
import type { Route, RoutingTable } from "../../src/planes/control/RoutingTable.ts"
import type { FabricUnavailable, OutcomeUnknown } from "../../src/planes/fabric/FabricError.ts"
import { bytesOf } from "../../src/planes/fabric/Message.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"
import * as Subject from "../../src/planes/fabric/Subject.ts"
import { WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"

export const V1 = "11111111-1111-4111-8111-111111111111"
export const V2 = "22222222-2222-4222-8222-222222222222"

/** Runs what is due in order of time; two at the same moment in the order they were set. */
export const makeTime = (startMs = 1_700_000_000_000) => {
  let nowMs = startMs
  let next = 0
  const timers = new Map<number, { readonly atMs: number; readonly run: () => void }>()
  const time: ControllerTime = {
    nowMs: () => nowMs,
    after: (delayMs, run) => {
      const id = next++
      timers.set(id, { atMs: nowMs + Math.max(0, delayMs), run })
      return () => timers.delete(id)
    }
  }
  const advance = (byMs: number) => {
    const untilMs = nowMs + byMs
    for (let ran = 0; ; ran++) {
      if (ran > 200_000) throw new Error("timers set one another without end")
      const due = [...timers]
        .filter(([, { atMs }]) => atMs <= untilMs)
        .sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)
      const first = due[0]
      if (first === undefined) break
      timers.delete(first[0])
      nowMs = Math.max(nowMs, first[1].atMs)
      first[1].run()
    }
    nowMs = untilMs
  }
  return { time, advance, pendingTimers: () => timers.size }
}

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))
const decodeCreate = Schema.decodeUnknownSync(Schema.fromJsonString(CreateInstance))

const makePubSub = () => {
  const subscribers = new Set<{
    readonly pattern: RegExp
    readonly onMessage: (payload: Uint8Array, subject: string) => void
  }>()
  const publish: PubSub["Service"]["publish"] = (subject, given) => {
    const payload = bytesOf(given)
    for (const { pattern, onMessage } of [...subscribers]) if (pattern.test(subject)) onMessage(payload, subject)
  }
  const subscribe: PubSub["Service"]["subscribe"] = (subject, onMessage) => {
    const pattern = new RegExp(`^${subject.replaceAll(".", "\\.").replaceAll("*", "[^.]+")}$`)
    const entry = { pattern, onMessage }
    return Effect.acquireRelease(
      Effect.sync(() => {
        subscribers.add(entry)
      }),
      () => Effect.sync(() => subscribers.delete(entry))
    )
  }
  return PubSub.of({ publish, subscribe, hear: subscribe })
}

export interface Sent {
  readonly queue: string
  readonly messageId: string
  readonly payload: string
}

/** Delivers in the same turn, before `publish` succeeds, as the embedded maker does. */
const makeQueue = () => {
  const consumers = new Map<string, (payload: string) => void>()
  const sent: Array<Sent> = []
  const ids = new Set<string>()
  /** The next publishes fail with these; "unknown" ones are delivered all the same. */
  const failures: Array<FabricUnavailable | OutcomeUnknown> = []
  const service = WorkQueue.of({
    publish: (queue, messageId, payload) =>
      Effect.suspend((): Effect.Effect<"published" | "duplicate", FabricUnavailable | OutcomeUnknown> => {
        const failure = failures.shift()
        if (failure?._tag === "FabricUnavailable") return Effect.fail(failure)
        const isNew = !ids.has(messageId)
        ids.add(messageId)
        if (isNew) {
          const text = new TextDecoder().decode(bytesOf(payload))
          sent.push({ queue, messageId, payload: text })
          for (const [pattern, run] of consumers) if (Subject.matches(pattern.split("."), queue.split("."))) run(text)
        }
        if (failure !== undefined) return Effect.fail(failure)
        return Effect.succeed(isNew ? "published" : "duplicate")
      }),
    consume: () => Effect.die("the world delivers by hand"),
    deadLetters: () => Effect.succeed([])
  })
  return {
    service,
    sent,
    failures,
    consume: (queue: string, run: (payload: string) => void) => consumers.set(queue, run)
  }
}

export type StartPlan =
  | { readonly kind: "ready"; readonly afterMs: number; readonly crashAfterMs?: number }
  | { readonly kind: "fail"; readonly afterMs: number; readonly detail: string; readonly retryable?: boolean }
  | { readonly kind: "hang" }

export interface FakeInstance {
  readonly order: CreateInstance
  report: InstanceReport
}

export interface FakeAgent {
  readonly name: string
  readonly created: Array<CreateInstance>
  readonly terminated: Array<TerminateInstance>
  readonly running: Map<string, FakeInstance>
  plan: StartPlan
  silent: boolean
  readonly heartbeat: () => void
  /** The process exits unasked. */
  readonly crash: (instanceId: string, detail: string) => void
  /** Loses all it runs without a word, as a machine that was switched off and on again. */
  readonly reset: () => void
}

export interface World {
  readonly controller: Controller.Controller
  readonly advance: (byMs: number) => void
  readonly nowMs: () => number
  readonly sent: Array<Sent>
  readonly failures: Array<FabricUnavailable | OutcomeUnknown>
  readonly drains: Array<string>
  readonly agent: (name: string, options?: { readonly slots?: number; readonly plan?: StartPlan }) => FakeAgent
  readonly deploy: (versionId: string, spec: Partial<DeploymentSpec>, generation?: number) => void
  readonly undeploy: (versionId: string) => void
  readonly demand: (
    versionId: string,
    figures: {
      readonly pending?: number
      readonly leased?: Readonly<Record<string, number>>
      readonly arrivals?: number
      readonly shard?: string
    }
  ) => void
  readonly worker: (report: WorkerReport) => void
  readonly publish: (subject: string, text: string) => void
  /** Instances of the version in this state, as the controller sees them. */
  readonly ids: (versionId: string, state: InstanceReport["state"]) => ReadonlyArray<string>
  readonly close: () => Promise<void>
}

export const makeWorld = async (
  options: Partial<Omit<Controller.ControllerOptions, "routes" | "time">> = {}
): Promise<World> => {
  const { time, advance } = makeTime()
  const pubSub = makePubSub()
  const queue = makeQueue()
  const routes = new Map<string, Route>()
  const listeners = new Set<(versionId: string) => void>()
  const table: RoutingTable = {
    byName: (name) => [...routes.values()].find((route) => route.functionName === name),
    byFunctionId: (id) => [...routes.values()].find((route) => route.functionId === id),
    byVersionId: (id) => routes.get(id),
    deployedVersionIds: (isWanted = () => true) =>
      [...routes.values()]
        .filter(({ deployment }) => deployment !== undefined && isWanted(deployment.spec))
        .map(({ versionId }) => versionId),
    onChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
  const scope = Effect.runSync(Scope.make())
  let suffix = 0
  const controller = await Effect.runPromise(
    Controller.make({ newSuffix: () => String(++suffix), ...options, routes: table, time }).pipe(
      Scope.provide(scope),
      Effect.provideContext(Context.make(WorkQueue, queue.service).pipe(Context.add(PubSub, pubSub))),
      // Its warnings are asserted by what follows from them.
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )
  const drains: Array<string> = []
  await Effect.runPromise(
    pubSub
      .subscribe(subjects.drain, (payload) => drains.push(JSON.parse(new TextDecoder().decode(payload)).instanceId))
      .pipe(Scope.provide(scope))
  )
  const arrivals = new Map<string, number>()

  const publish = (subject: string, value: unknown) => pubSub.publish(subject, encode(value))

  const setRoute = (versionId: string, deployment: Route["deployment"]) => {
    routes.set(versionId, {
      tenant: "acme",
      functionId: `f-${versionId}`,
      functionName: `name-${versionId.slice(0, 1)}`,
      versionId,
      version: {
        command: ["node", "main.js"],
        environment: { A: "1" },
        durability: "accepted",
        inferencePath: "/"
      },
      deployment
    })
    for (const listener of listeners) listener(versionId)
  }

  const world: World = {
    controller,
    advance,
    nowMs: time.nowMs,
    sent: queue.sent,
    failures: queue.failures,
    drains,
    agent: (name, agentOptions = {}) => makeAgent({ name, slots: 10, ...agentOptions, time, publish, queue }),
    deploy: (versionId, spec, generation = 1) =>
      setRoute(versionId, { spec: { ...deploymentDefaults, ...spec }, generation }),
    undeploy: (versionId) => setRoute(versionId, undefined),
    demand: (versionId, { pending = 0, leased = {}, arrivals: more = 0, shard = "shard-0" }) => {
      const total = (arrivals.get(versionId) ?? 0) + more
      arrivals.set(versionId, total)
      const report: DemandReport = {
        shard,
        versionId,
        pending,
        leased: Object.values(leased).reduce((sum, each) => sum + each, 0),
        leasedByInstance: leased,
        arrivalsTotal: total,
        oldestPendingMs: pending > 0 ? 0 : null
      }
      publish(subjects.demand, report)
    },
    worker: (report) => publish(subjects.worker, report),
    publish: (subject, text) => pubSub.publish(subject, new TextEncoder().encode(text)),
    ids: (versionId, state) =>
      controller
        .instances({ versionId })
        .filter((instance) => instance.state === state)
        .map(({ instanceId }) => instanceId),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
  return world
}

const makeAgent = (options: {
  readonly name: string
  readonly slots: number
  readonly plan?: StartPlan
  readonly time: ControllerTime
  readonly publish: (subject: string, value: unknown) => void
  readonly queue: ReturnType<typeof makeQueue>
}): FakeAgent => {
  const { name, slots, time, publish, queue } = options
  const running = new Map<string, FakeInstance>()

  const tell = (report: AgentReport) => {
    if (!agent.silent) publish(subjects.report(name), report)
  }
  const changed = (instance: FakeInstance, to: Partial<InstanceReport>) => {
    instance.report = { ...instance.report, ...to }
    tell({ _tag: "InstanceChanged", cluster: name, instance: instance.report })
  }
  const end = (instance: FakeInstance, to: Partial<InstanceReport>) => {
    if (!running.delete(instance.order.instanceId)) return
    changed(instance, { endedAtMs: time.nowMs(), ...to })
  }
  const ready = (instance: FakeInstance) => {
    const { instanceId, versionId, concurrency } = instance.order
    instance.report = { ...instance.report, state: "ready", readyAtMs: time.nowMs() }
    const phases = { processMs: 20, initialiseMs: 30, connectMs: 5 }
    publish(subjects.worker, { _tag: "WorkerReady", instanceId, versionId, slots: concurrency, phases })
  }

  const agent: FakeAgent = {
    name,
    created: [],
    terminated: [],
    running,
    plan: options.plan ?? { kind: "ready", afterMs: 50 },
    silent: false,
    heartbeat: () =>
      tell({
        _tag: "Heartbeat",
        cluster: name,
        region: "here",
        backend: "fake",
        isolation: "none",
        instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: slots, free: slots - running.size }],
        instances: [...running.values()].map(({ report }) => report)
      }),
    crash: (instanceId, detail) => {
      const instance = running.get(instanceId)
      if (instance === undefined) throw new Error(`${instanceId} does not run`)
      publish(subjects.worker, { _tag: "WorkerGone", instanceId, versionId: instance.order.versionId })
      end(instance, { state: "failed", detail })
    },
    reset: () => running.clear()
  }

  queue.consume(subjects.creates(name), (payload) => {
    const order = decodeCreate(payload)
    agent.created.push(order)
    const instance: FakeInstance = {
      order,
      report: {
        instanceId: order.instanceId,
        functionId: order.functionId,
        versionId: order.versionId,
        generation: order.generation,
        cluster: name,
        state: "starting",
        phase: "process",
        requestedAtMs: order.decidedAtMs,
        startedAtMs: time.nowMs(),
        readyAtMs: null,
        endedAtMs: null,
        pid: 4_000 + agent.created.length,
        detail: "",
        retryable: true
      }
    }
    running.set(order.instanceId, instance)
    changed(instance, {})
    const { plan } = agent
    if (plan.kind === "hang") return
    const isThere = () => running.get(order.instanceId) === instance
    if (plan.kind === "fail" && plan.afterMs === 0) {
      end(instance, { state: "failed", detail: plan.detail, retryable: plan.retryable ?? true })
      return
    }
    time.after(plan.afterMs, () => {
      if (!isThere()) return
      if (plan.kind === "fail") {
        end(instance, { state: "failed", detail: plan.detail, retryable: plan.retryable ?? true })
        return
      }
      ready(instance)
      if (plan.crashAfterMs === undefined) return
      time.after(plan.crashAfterMs, () => {
        if (isThere()) agent.crash(order.instanceId, "exit code 1")
      })
    })
  })

  queue.consume(subjects.terminate(name), (payload) => {
    const order: TerminateInstance = JSON.parse(payload)
    agent.terminated.push(order)
    const instance = running.get(order.instanceId)
    if (instance === undefined) return
    time.after(10, () => end(instance, { state: "stopped", detail: order.reason }))
  })

  const beat = () => {
    agent.heartbeat()
    time.after(2_000, beat)
  }
  beat()
  return agent
}
