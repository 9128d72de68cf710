/**
 * Laws of the task machine, each also run against the wrong ones of `zoo/taskBugs.ts`.
 *
 * The world: a store that takes, loses or takes without saying so; workers that say anything at any time, also with
 * tokens of before; cancels; crashes after which only what was stored is left. Limits around 100 ms, steps of 0 to 150
 * ms. One auditor watches all laws and knows little: what was stored, told and asked, and when.
 */

import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Task from "../src/core/task/Task.ts"
import { type Command, Event } from "../src/core/task/TaskEvent.ts"
import { isHeld, type Limits, State } from "../src/core/task/TaskState.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"
import * as Bugs from "./zoo/taskBugs.ts"

const limits: fc.Arbitrary<Limits> = fc.record({
  queueMsMax: fc.constantFrom(300, 10_000),
  startMsMax: fc.constant(200),
  runMsMax: fc.constantFrom(null, 150, 1_000),
  heartbeatMsMax: fc.constant(100),
  stopGraceMs: fc.constantFrom(0, 50, 120),
  maxAttempts: fc.integer({ min: 1, max: 3 }),
  retryDelayMs: fc.constantFrom(0, 40),
  retryDelayMsMax: fc.constant(70)
})

type Kind =
  | "find"
  | "beat"
  | "progress"
  | "succeed"
  | "fail"
  | "gone"
  | "cancel"
  | "tick"
  | "stored"
  | "lost"
  | "unknown"
  | "crash"

interface Action {
  readonly kind: Kind
  readonly byMs: number
  /** How many attempts before the latest. */
  readonly age: number
  readonly percent: number
  readonly retryable: boolean
}

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Kind>("stored") },
    { weight: 4, arbitrary: fc.constantFrom<Kind>("find", "tick", "beat") },
    { weight: 2, arbitrary: fc.constantFrom<Kind>("progress", "fail", "gone") },
    { weight: 1, arbitrary: fc.constantFrom<Kind>("succeed", "cancel", "cancel", "lost", "unknown", "crash") }
  ),
  byMs: fc.constantFrom(0, 0, 0, 1, 39, 40, 99, 150),
  age: fc.constantFrom(0, 0, 0, 0, 1, 2, -1),
  percent: fc.constantFrom(0, 10, 10.7, 50, 99, 100, 250, -5, Number.NaN),
  retryable: fc.boolean()
})
const history = fc.array(action, { minLength: 1, maxLength: 40, size: "max" })

const mixOf = () => ({ assigned: 0, retried: 0, stopped: 0, crashed: 0, ends: new Map<string, number>() })

type Law = "T1" | "T2" | "T3" | "T4" | "T5" | "T6" | "T7" | "T8" | "T9"

/** One task, its store and its workers, with the laws watched at each step: all of them, or one alone. */
class World {
  readonly #tasks: Bugs.Tasks
  readonly #limits: Limits
  readonly #only: Law | undefined
  readonly #mix: ReturnType<typeof mixOf>
  machine: Task.Machine
  nowMs = 1_000
  durable: State | null = null
  readonly #writes: Array<State> = []
  /** By token: the worker that it was given to. */
  readonly #assigned = new Map<number, string>()
  readonly #ended = new Set<number>()
  readonly #askedAtMs = new Map<number, number>()
  /** By attempt. */
  readonly #toldPercent = new Map<number, number>()
  #end: string | undefined
  #retryFromMs = 0

  constructor(tasks: Bugs.Tasks, of: Limits, watch: { readonly mix: ReturnType<typeof mixOf>; readonly only?: Law }) {
    this.#tasks = tasks
    this.#limits = of
    this.#mix = watch.mix
    this.#only = watch.only
    const [machine, commands] = tasks.create({ nowMs: this.nowMs, limits: of })
    this.machine = machine
    this.#perform(commands)
  }

  #law(law: Law, holds: boolean, otherwise: string) {
    if (!holds && (this.#only ?? law) === law) assert.fail(`${law}: ${otherwise}`)
  }

  act({ kind, byMs, age, percent, retryable }: Action) {
    this.nowMs += byMs
    const { nowMs } = this
    const token = this.machine.state.token - age
    switch (kind) {
      case "find":
        return this.send(Event.WorkerFound({ nowMs, worker: `w${this.machine.state.token + 1}` }))
      case "beat":
        return this.send(Event.Heartbeat({ nowMs, token }))
      case "progress":
        return this.send(Event.Progressed({ nowMs, token, percent, message: `at ${percent}` }))
      case "succeed":
        return this.send(Event.Succeeded({ nowMs, token, result: { reference: `r${token}`, sizeBytes: 1 } }))
      case "fail":
        return this.send(Event.Failed({ nowMs, token, retryable, detail: "boom" }))
      case "gone":
        return this.send(Event.WorkerGone({ nowMs, token, detail: "exit code 1" }))
      case "cancel":
        return this.send(Event.CancelRequested({ nowMs, detail: "not needed" }))
      case "tick":
        return this.send(Event.Ticked({ nowMs }))
      case "stored":
      case "unknown":
      case "lost":
        return this.#answer(kind)
      case "crash":
        return this.crash()
    }
  }

  /** Of the oldest write. */
  #answer(kind: "stored" | "unknown" | "lost") {
    const state = this.#writes.shift()
    if (state === undefined) return
    if (kind !== "lost" && (this.durable === null || this.durable.revision <= state.revision)) this.durable = state
    const { nowMs } = this
    const { revision } = state
    this.send(kind === "stored" ? Event.Stored({ nowMs, revision }) : Event.NotStored({ nowMs, revision }))
  }

  crash() {
    if (this.durable === null) return
    this.#mix.crashed += 1
    // What comes back is what a store gives back: data.
    const stored = Schema.decodeUnknownSync(State)(JSON.parse(JSON.stringify(Schema.encodeSync(State)(this.durable))))
    this.#writes.length = 0
    this.nowMs += 1_000_000
    const [machine, commands] = this.#tasks.recover(stored, this.nowMs)
    const { state } = machine
    this.#law("T9", state._tag === stored._tag && state.token === stored.token, "it came back as another")
    if (state._tag === "Ended") this.#law("T9", state.end === (stored._tag === "Ended" ? stored.end : null), "its end")
    const leastMs = state._tag === "Stopping" ? this.#limits.stopGraceMs : 100
    this.#law("T9", Task.wakeAtMs(machine) >= this.nowMs + leastMs, "overdue at birth")
    this.machine = machine
    this.#askedAtMs.clear()
    this.#retryFromMs = 0
    this.#perform(commands)
  }

  send(event: Event) {
    const before = this.machine
    const [after, commands] = this.#tasks.step(before, event)
    this.machine = after
    this.#watchTokens(before.state, event, { after: after.state, commands })
    this.#watchStates(before.state, event, after.state)
    this.#perform(commands)
  }

  #watchTokens(
    before: State,
    event: Event,
    { after, commands }: { readonly after: State; readonly commands: ReadonlyArray<Command> }
  ) {
    if ("token" in event && (event.token !== before.token || !isHeld(before))) {
      this.#law("T2", after === before, "a stale token changed something")
      this.#law(
        "T2",
        commands.every(({ _tag }) => _tag === "RejectStale"),
        "a stale token had an effect"
      )
    }
    const isAssigned = before._tag === "Queued" && after._tag === "Assigned"
    this.#law("T2", after.token === before.token + (isAssigned ? 1 : 0), "its token")
    this.#law("T2", after.attempt <= this.#limits.maxAttempts, `attempt ${after.attempt}`)
    const { percent } = after
    this.#law("T3", Number.isInteger(percent) && percent >= 0 && percent <= 100, `${percent} %`)
    if (after.attempt === before.attempt) this.#law("T3", percent >= before.percent, "it fell")
  }

  #watchStates(before: State, event: Event, after: State) {
    if (before._tag === "Ended") this.#law("T1", after === before, "it changed after its end")
    if (before._tag === "Stopping") {
      const end = after._tag === "Stopping" || after._tag === "Ended" ? after.end : undefined
      this.#law("T6", end === before.end, "it does not end as what stopped it")
      if (after._tag === "Ended" && event._tag === "Ticked") {
        const askedAtMs = this.#askedAtMs.get(before.token) ?? Number.POSITIVE_INFINITY
        this.#law("T6", this.nowMs >= askedAtMs + this.#limits.stopGraceMs, "it got no grace")
      }
    }
    if (before._tag === "Queued" && after._tag === "Assigned") {
      this.#law("T7", this.nowMs >= this.#retryFromMs, "before its delay")
    }
    if (before._tag !== "Assigned" && before._tag !== "Running") return
    if (event._tag === "CancelRequested") this.#law("T6", after._tag === "Stopping", "the cancel changed nothing")
    if (after._tag === "Stopping") this.#mix.stopped += 1
    const isLost = event._tag === "WorkerGone" || event._tag === "Failed"
    const isOver = (isLost && event.token === before.token) || (event._tag === "Ticked" && after._tag !== before._tag)
    const mayRetry = (event._tag !== "Failed" || event.retryable) && before.attempt < this.#limits.maxAttempts
    if (isOver && after._tag !== "Stopping") {
      this.#law("T7", after._tag === (mayRetry ? "Queued" : "Ended"), `${event._tag} made it ${after._tag}`)
    }
    if (after._tag !== "Queued") return
    this.#law("T7", isOver, `${event._tag} made it be tried again`)
    const { retryDelayMs, retryDelayMsMax } = this.#limits
    this.#retryFromMs = this.nowMs + Math.min(retryDelayMs * 2 ** (before.attempt - 1), retryDelayMsMax)
    this.#mix.retried += 1
  }

  #perform(commands: ReadonlyArray<Command>) {
    for (const command of commands) {
      if (command._tag === "Store") this.#writes.push(command.state)
      else if (command._tag !== "RejectStale") this.#watchOrder(command)
    }
  }

  #watchOrder(command: Exclude<Command, { readonly _tag: "Store" | "RejectStale" }>) {
    const { durable } = this
    const isHeldStill = durable !== null && isHeld(durable) ? durable : undefined
    this.#law("T5", durable !== null, `${command._tag}, and nothing is stored`)
    switch (command._tag) {
      case "TellAccepted":
        return
      case "Assign": {
        const known = this.#assigned.get(command.token)
        if (known === undefined) this.#mix.assigned += 1
        this.#law("T2", (known ?? command.worker) === command.worker, "one token, two workers")
        this.#law("T5", (durable?.token ?? 0) >= command.token, "a token that is not stored")
        this.#assigned.set(command.token, command.worker)
        return
      }
      case "AskStop":
        this.#law("T5", isHeldStill === undefined || isHeldStill._tag === "Stopping", "asked, and stored as working")
        if (!this.#askedAtMs.has(command.token)) this.#askedAtMs.set(command.token, this.nowMs)
        return
      case "EndWorker":
        this.#law("T5", (isHeldStill?.token ?? command.token + 1) > command.token, "ended, and stored as working")
        this.#ended.add(command.token)
        return
      case "TellProgress": {
        const { attempt, percent } = durable ?? { attempt: 0, percent: 0 }
        this.#law("T5", attempt > command.attempt || percent >= command.percent, "progress that is not stored")
        this.#law("T3", command.percent >= (this.#toldPercent.get(command.attempt) ?? 0), "told less than before")
        this.#toldPercent.set(command.attempt, command.percent)
        return
      }
      case "TellEnded": {
        const end = JSON.stringify(command.end)
        this.#law("T5", durable?._tag === "Ended" && JSON.stringify(durable.end) === end, "an end that is not stored")
        this.#law("T1", (this.#end ?? end) === end, "two ends")
        this.#end = end
        return
      }
      default:
        return assert.fail(`unreachable case ${JSON.stringify(command satisfies never)}`)
    }
  }

  /** The store works, workers are found at once, and none says a word. */
  finish() {
    const startedAtMs = this.nowMs
    for (let rounds = 0; this.#end === undefined; rounds++) {
      while (this.#writes.length > 0) this.#answer("stored")
      if (this.#end !== undefined) break
      const { state } = this.machine
      const atMs = state._tag === "Queued" ? state.notBeforeMs : Task.wakeAtMs(this.machine)
      if (rounds >= 60 || atMs === Number.POSITIVE_INFINITY) return this.#law("T4", false, `it stays ${state._tag}`)
      this.nowMs = Math.max(this.nowMs, atMs)
      const { nowMs } = this
      if (state._tag === "Queued") this.send(Event.WorkerFound({ nowMs, worker: `w${state.token + 1}` }))
      if (this.machine.state === state) this.send(Event.Ticked({ nowMs }))
    }
    const { startMsMax, heartbeatMsMax, stopGraceMs, maxAttempts } = this.#limits
    const eachMs = startMsMax + heartbeatMsMax + stopGraceMs + 70 + Task.storeRetryMs
    this.#law("T4", this.nowMs - startedAtMs <= maxAttempts * eachMs, `it took ${this.nowMs - startedAtMs} ms`)
    for (const token of this.#assigned.keys()) this.#law("T8", this.#ended.has(token), `the worker of token ${token}`)
    const [tag = ""] = /[A-Z]\w+/.exec(this.#end) ?? []
    this.#mix.ends.set(tag, (this.#mix.ends.get(tag) ?? 0) + 1)
  }
}

const lawsHold =
  (only?: Law, mix = mixOf()) =>
  (tasks: Bugs.Tasks) =>
    fc.property(limits, history, (of, actions) => {
      const world = new World(tasks, of, only === undefined ? { mix } : { mix, only })
      for (const each of actions) world.act(each)
      world.finish()
    })

describe("task: laws", () => {
  it("T1 to T9 hold, whatever the store, the workers and the callers do, and through crashes", () => {
    const mix = mixOf()
    upholds(lawsHold(undefined, mix)(Bugs.sound), { numRuns: 2_000 })
    for (const count of [mix.assigned, mix.retried, mix.stopped, mix.crashed]) assert.isAbove(count, 200)
    for (const tag of ["Completed", "Failed", "Cancelled", "TimedOut"]) assert.isAbove(mix.ends.get(tag) ?? 0, 30, tag)
  })

  it("T1 kills: a cancel that reaches beyond the end", () => {
    kills(lawsHold("T1"), { cancelsTheEnded: Bugs.cancelsTheEnded })
  })

  it("T2 kills: a result of whoever brings one, and attempts without an end", () => {
    const { acceptsStale, retriesForEver } = Bugs
    kills(lawsHold("T2"), { acceptsStale, retriesForEver })
  })

  it("T3 kills: percent that fall", () => kills(lawsHold("T3"), { progressFalls: Bugs.progressFalls }))

  it("T4 kills: patience with a silent worker", () => {
    kills(lawsHold("T4"), { ignoresSilence: Bugs.ignoresSilence })
  })

  it("T5 kills: taking an order to store for the deed", () => {
    kills(lawsHold("T5"), { tellsBeforeStored: Bugs.tellsBeforeStored })
  })

  it("T6 kills: cancels that do not reach a worker, or give it no time", () => {
    const { cancelsOnlyQueued, noGrace } = Bugs
    kills(lawsHold("T6"), { cancelsOnlyQueued, noGrace })
  })

  it("T7 kills: trying again what is hopeless, or at once", () => {
    const { retriesTheHopeless, noBackoff } = Bugs
    kills(lawsHold("T7"), { retriesTheHopeless, noBackoff })
  })

  it("T8 kills: leaving workers alone", () => kills(lawsHold("T8"), { leavesWorkers: Bugs.leavesWorkers }))

  it("T9 kills: going on with the times of the process before", () => {
    kills(lawsHold("T9"), { staleTimes: Bugs.staleTimes })
  })
})

const plain: Limits = {
  queueMsMax: 1_000,
  startMsMax: 200,
  runMsMax: 500,
  heartbeatMsMax: 100,
  stopGraceMs: 50,
  maxAttempts: 2,
  retryDelayMs: 10,
  retryDelayMsMax: 100
}

/** With a store that answers at once. */
const play = (...events: ReadonlyArray<Event>) => {
  const told: Array<Command> = []
  const settle = (step: readonly [Task.Machine, ReadonlyArray<Command>], nowMs: number): Task.Machine => {
    let [machine] = step
    for (const command of step[1]) {
      if (command._tag !== "Store") told.push(command)
      else machine = settle(Task.step(machine, Event.Stored({ nowMs, revision: command.state.revision })), nowMs)
    }
    return machine
  }
  let machine = settle(Task.create({ nowMs: 0, limits: plain }), 0)
  for (const event of events) machine = settle(Task.step(machine, event), event.nowMs)
  return { machine, told: told.map(({ _tag }) => _tag), last: told[told.length - 1] }
}

describe("task: examples", () => {
  const found = Event.WorkerFound({ nowMs: 10, worker: "w1" })

  it("a task is accepted, given, run and completed, and its worker is ended", () => {
    const { machine, told, last } = play(
      found,
      Event.Progressed({ nowMs: 20, token: 1, percent: 40, message: "epoch 1" }),
      Event.Progressed({ nowMs: 30, token: 1, percent: 40, message: "epoch 2" }),
      Event.Succeeded({ nowMs: 40, token: 1, result: { reference: "blob/1", sizeBytes: 3 } })
    )
    assert.deepStrictEqual(told, ["TellAccepted", "Assign", "TellProgress", "EndWorker", "TellEnded"])
    assert.deepInclude(machine.state, { percent: 40, message: "epoch 2", attempt: 1 })
    assert.deepInclude(last, { end: { _tag: "Completed", result: { reference: "blob/1", sizeBytes: 3 } } })
  })

  it("a result that comes while it is being stopped does not count, and the same result twice is told nothing new", () => {
    const cancel = Event.CancelRequested({ nowMs: 30, detail: "by its owner" })
    const result = (nowMs: number) =>
      Event.Succeeded({ nowMs, token: 1, result: { reference: "blob/1", sizeBytes: 3 } })
    assert.deepInclude(play(found, cancel, result(40)).last, { end: { _tag: "Cancelled", detail: "by its owner" } })
    assert.strictEqual(play(found, result(40), result(50)).told.length, play(found, result(40)).told.length)
  })

  it("a worker that still goes on while it is being stopped is asked again", () => {
    const { told } = play(
      found,
      Event.CancelRequested({ nowMs: 30, detail: "" }),
      Event.Heartbeat({ nowMs: 40, token: 1 })
    )
    assert.deepStrictEqual(told.slice(2), ["AskStop", "AskStop"])
  })

  it("says how often it was tried and what the last failure was", () => {
    const failed = (nowMs: number, token: number) =>
      Event.Failed({ nowMs, token, retryable: true, detail: "out of memory" })
    const { last } = play(found, failed(20, 1), Event.WorkerFound({ nowMs: 30, worker: "w2" }), failed(40, 2))
    assert.deepInclude(last, {
      end: { _tag: "Failed", detail: "out of memory (attempt 2 of 2)", attempts: 2 }
    })
  })

  it("out of time, it says which time", () => {
    const queue = play(Event.Ticked({ nowMs: 1_000 })).last
    assert.deepInclude(queue, { end: { _tag: "TimedOut", of: "queue", detail: "no worker took it within 1000 ms" } })
    const beats = [100, 190, 280, 370, 460, 550].map((nowMs) => Event.Heartbeat({ nowMs, token: 1 }))
    const run = play(found, ...beats, Event.Ticked({ nowMs: 600 }), Event.Ticked({ nowMs: 650 })).last
    assert.deepInclude(run, { end: { _tag: "TimedOut", of: "run", detail: "it ran longer than 500 ms" } })
  })

  it("a message is cut at 1,024", () => {
    const long = "x".repeat(5_000)
    const { machine } = play(found, Event.Progressed({ nowMs: 20, token: 1, percent: 1, message: long }))
    assert.strictEqual(machine.state.message.length, Task.messageLengthMax)
  })
})
