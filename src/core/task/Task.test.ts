import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import * as Task from "./Task.ts"
import { Event } from "./TaskEvent.ts"
import * as TaskState from "./TaskState.ts"

const limits: TaskState.Limits = {
  queueMsMax: 1_000,
  startMsMax: 200,
  runMsMax: 5_000,
  heartbeatMsMax: 100,
  stopGraceMs: 50,
  maxAttempts: 3,
  retryDelayMs: 10,
  retryDelayMsMax: 30
}
const common = { limits, revision: 5, attempt: 1, token: 4, percent: 30, message: "m", leaving: null }
const leaving = { worker: "w0", token: 3, reason: "lost" }
const queued: TaskState.State = { _tag: "Queued", ...common, notBeforeMs: 100, queueUntilMs: 1_100, detail: "" }
const assigned: TaskState.State = { _tag: "Assigned", ...common, worker: "w", startUntilMs: 300 }
const running: TaskState.State = { _tag: "Running", ...common, worker: "w", heardUntilMs: 200, runUntilMs: 5_100 }
const cancelled: TaskState.End = { _tag: "Cancelled", detail: "enough" }
const stopping: TaskState.State = { _tag: "Stopping", ...common, worker: "w", end: cancelled, enforceAtMs: 150 }
const completed: TaskState.End = { _tag: "Completed", result: { reference: "r", sizeBytes: 3 } }
const ended: TaskState.State = { _tag: "Ended", ...common, end: completed }
const all = [queued, assigned, running, stopping, ended]

const machine = (state: TaskState.State, more: Partial<Task.Machine> = {}): Task.Machine => ({
  state,
  storedRevision: 5,
  outbox: [],
  storeAgainAtMs: null,
  ...more
})
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

/** To a state that is to be stored, and what leaves then. */
const changes = (
  from: TaskState.State,
  event: Event,
  more: object,
  orders: ReadonlyArray<object> = [],
  without: ReadonlyArray<string> = []
) => {
  const [next, commands] = Task.step(machine(from), event)
  const expected: Record<string, unknown> = { ...from, revision: 6, ...more }
  for (const field of without) delete expected[field]
  assert.deepEqual(plain(next.state), plain(expected))
  assert.deepEqual(plain(next.outbox), plain(orders.map((command) => ({ revision: 6, command }))))
  assert.deepEqual(plain(commands), plain([{ _tag: "Store", state: expected }]))
  assert.strictEqual(next.storedRevision, 5)
}
const changesNothing = (event: Event, ...states: ReadonlyArray<TaskState.State>) => {
  for (const state of states) {
    const before = machine(state)
    const [next, commands] = Task.step(before, event)
    assert.strictEqual(next, before, `${event._tag} in ${state._tag}`)
    assert.deepStrictEqual(commands, [], `${event._tag} in ${state._tag}`)
  }
}
const endWorker = (reason: string) => ({ _tag: "EndWorker", worker: "w", token: 4, reason })
const askStop = (reason: string) => ({ _tag: "AskStop", worker: "w", token: 4, reason, graceMs: 50 })
const held = ["worker", "startUntilMs", "heardUntilMs", "runUntilMs", "enforceAtMs"]
const waiting = ["notBeforeMs", "queueUntilMs", "detail"]

/** Back to the queue for a reason. */
const retried = (state: TaskState.State, event: Event, detail: string, notBeforeMs: number) =>
  changes(
    state,
    event,
    {
      _tag: "Queued",
      leaving: { worker: "w", token: 4, reason: detail },
      notBeforeMs,
      queueUntilMs: notBeforeMs + 1_000,
      detail
    },
    [endWorker(detail)],
    held
  )

describe("task", () => {
  it("begins in the queue and is accepted when that is stored", () => {
    const [created, commands] = Task.create({ nowMs: 7, limits })
    const state = {
      _tag: "Queued",
      limits,
      revision: 1,
      attempt: 0,
      token: 0,
      percent: 0,
      message: "",
      leaving: null,
      notBeforeMs: 7,
      queueUntilMs: 1_007,
      detail: ""
    }
    const outbox = [{ revision: 1, command: { _tag: "TellAccepted", limits } }]
    assert.deepEqual(plain(created), { state, storedRevision: 0, outbox, storeAgainAtMs: null })
    assert.deepEqual(plain(commands), [{ _tag: "Store", state }])
  })

  it("is ready for a worker from the end of its delay to the end of its time in the queue", () => {
    const isReady = (nowMs: number) => Task.isReady(machine(queued), nowMs)
    assert.deepStrictEqual([99, 100, 1_099, 1_100].map(isReady), [false, true, true, false])
    for (const state of [assigned, running, stopping, ended]) assert.isFalse(Task.isReady(machine(state), 100))
    const found = (nowMs: number) => Event.WorkerFound({ nowMs, worker: "w" })
    changesNothing(found(99), queued)
    changesNothing(found(100), assigned, running, stopping, ended)
    changes(
      { ...queued, leaving },
      found(100),
      { _tag: "Assigned", attempt: 2, token: 5, percent: 0, message: "", worker: "w", startUntilMs: null },
      [{ _tag: "Assign", worker: "w", token: 5, attempt: 2 }],
      waiting
    )
  })

  it("the first sign of life begins the run, later ones prolong the patience and never shorten it", () => {
    const heartbeat = (nowMs: number) => Event.Heartbeat({ nowMs, token: 4 })
    changes(assigned, heartbeat(110), { _tag: "Running", heardUntilMs: 210, runUntilMs: 5_110 }, [], ["startUntilMs"])
    const patient = { ...assigned, limits: { ...limits, runMsMax: null } }
    changes(patient, heartbeat(110), { _tag: "Running", heardUntilMs: 210, runUntilMs: null }, [], ["startUntilMs"])
    const [later, commands] = Task.step(machine(running), heartbeat(110))
    assert.deepEqual(plain(later.state), plain({ ...running, heardUntilMs: 210 }))
    assert.deepStrictEqual(commands, [])
    changesNothing(heartbeat(100), running)
    changesNothing(heartbeat(50), running)
  })

  it("T3: whole percent that grow are stored and told, the newest alone; a message alone goes with the next", () => {
    const progress = (percent: number, message = "half") => Event.Progressed({ nowMs: 110, token: 4, percent, message })
    const told = (percent: number, message: string) => [{ _tag: "TellProgress", attempt: 1, percent, message }]
    const to = (percent: number, message = "half") => ({ percent, message, heardUntilMs: 210 })
    changes(running, progress(50.9), to(50), told(50, "half"))
    changes(running, progress(900), to(100), told(100, "half"))
    changes(running, progress(31, "x".repeat(2_000)), to(31, "x".repeat(1_024)), told(31, "x".repeat(1_024)))
    const [same, commands] = Task.step(machine(running), progress(30.5))
    assert.deepEqual(plain(same.state), plain({ ...running, message: "half", heardUntilMs: 210 }))
    assert.deepStrictEqual([same.outbox, commands], [[], []])
    for (const percent of [29, Number.NaN]) {
      const [less, none] = Task.step(machine(running), progress(percent))
      assert.deepEqual(plain(less.state), plain({ ...running, heardUntilMs: 210 }))
      assert.deepStrictEqual(none, [])
    }
    const other = { revision: 4, command: { _tag: "EndWorker", ...leaving } as const }
    const old = { revision: 4, command: { _tag: "TellProgress", attempt: 1, percent: 20, message: "" } as const }
    const [next] = Task.step(machine(running, { outbox: [old, other] }), progress(50))
    assert.deepEqual(plain(next.outbox), plain([other, { revision: 6, command: told(50, "half")[0] }]))
    const [begun, stores] = Task.step(machine(assigned), progress(50))
    assert.strictEqual(begun.state.revision, 7, "the sign of life and the progress")
    assert.lengthOf(stores, 1)
  })

  it("a result completes it, whatever it was doing, and ends its worker", () => {
    const succeeded = Event.Succeeded({ nowMs: 110, token: 4, result: { reference: "r", sizeBytes: 3 } })
    const told = { _tag: "TellEnded", end: completed }
    for (const state of [assigned, running]) {
      const reason = "its task is complete"
      changes(
        state,
        succeeded,
        { _tag: "Ended", end: completed, leaving: { worker: "w", token: 4, reason } },
        [endWorker(reason), told],
        held
      )
    }
  })

  it("T7: a failure ends it unless it says that another attempt may help, and says which attempt it was", () => {
    const failed = (retryable: boolean, detail = "boom") => Event.Failed({ nowMs: 110, token: 4, retryable, detail })
    const end = (detail: string, attempts: number) => ({ _tag: "Failed", detail, attempts })
    const ends = (state: TaskState.State, event: Event, as: { readonly detail: string }) =>
      changes(
        state,
        event,
        { _tag: "Ended", end: as, leaving: { worker: "w", token: 4, reason: as.detail } },
        [endWorker(as.detail), { _tag: "TellEnded", end: as }],
        held
      )
    ends(running, failed(false), end("boom", 1))
    ends(running, failed(false, "x".repeat(2_000)), end("x".repeat(1_024), 1))
    ends({ ...running, attempt: 2 }, failed(false), end("boom (attempt 2 of 3)", 2))
    ends({ ...running, attempt: 3 }, failed(true), end("boom (attempt 3 of 3)", 3))
    retried(running, failed(true), "boom", 120)
    retried({ ...assigned, attempt: 2 }, failed(true), "boom", 130)
    retried({ ...running, attempt: 3, limits: { ...limits, maxAttempts: 9 } }, failed(true), "boom", 140)
  })

  it("a worker that is gone, silent or never began is lost, and the reason is told", () => {
    retried(running, Event.WorkerGone({ nowMs: 110, token: 4, detail: "oom" }), "oom", 120)
    retried(running, Event.WorkerGone({ nowMs: 110, token: 4, detail: "x".repeat(2_000) }), "x".repeat(1_024), 120)
    changesNothing(Event.Ticked({ nowMs: 199 }), running)
    retried(running, Event.Ticked({ nowMs: 200 }), "its worker was silent for 100 ms", 210)
    const endless = { ...running, runUntilMs: null }
    retried(endless, Event.Ticked({ nowMs: 99_000 }), "its worker was silent for 100 ms", 99_010)
    changesNothing(Event.Ticked({ nowMs: 299 }), assigned)
    retried(assigned, Event.Ticked({ nowMs: 300 }), "its worker gave no sign of life within 200 ms", 310)
    changesNothing(Event.Ticked({ nowMs: 99_000 }), { ...assigned, startUntilMs: null })
  })

  it("nobody took it in time: it ends, and says what happened before", () => {
    changesNothing(Event.Ticked({ nowMs: 1_099 }), queued)
    for (const [detail, more] of [
      ["", ""],
      ["boom", "; boom"]
    ] as const) {
      const end = { _tag: "TimedOut", of: "queue", detail: `no worker took it within 1000 ms${more}` }
      changes(
        { ...queued, detail, leaving },
        Event.Ticked({ nowMs: 1_100 }),
        { _tag: "Ended", end },
        [{ _tag: "TellEnded", end }],
        waiting
      )
    }
  })

  it("T6: too long a run, or a cancel, asks its worker to stop first", () => {
    const long = { ...running, heardUntilMs: 9_000 }
    const overrun = { _tag: "TimedOut", of: "run", detail: "it ran longer than 5000 ms" }
    changesNothing(Event.Ticked({ nowMs: 5_099 }), long)
    changes(
      long,
      Event.Ticked({ nowMs: 5_100 }),
      { _tag: "Stopping", end: overrun, enforceAtMs: null },
      [askStop("it ran longer than 5000 ms")],
      ["heardUntilMs", "runUntilMs", "startUntilMs"]
    )
    const cancel = Event.CancelRequested({ nowMs: 110, detail: "enough" })
    for (const state of [assigned, running]) {
      changes(
        state,
        cancel,
        { _tag: "Stopping", end: cancelled, enforceAtMs: null },
        [askStop("enough")],
        ["heardUntilMs", "runUntilMs", "startUntilMs"]
      )
    }
    changes(queued, cancel, { _tag: "Ended", end: cancelled }, [{ _tag: "TellEnded", end: cancelled }], waiting)
    changesNothing(cancel, stopping, ended)
    const cut = Event.CancelRequested({ nowMs: 110, detail: "x".repeat(2_000) })
    const [next] = Task.step(machine(queued), cut)
    assert.deepEqual(plain(next.state), plain({ ...next.state, end: { ...cancelled, detail: "x".repeat(1_024) } }))
  })

  it("T6: it ends as what stopped it, when its worker says anything final or its grace is over", () => {
    const over = (event: Event) =>
      changes(
        stopping,
        event,
        { _tag: "Ended", end: cancelled, leaving: { worker: "w", token: 4, reason: "enough" } },
        [endWorker("enough"), { _tag: "TellEnded", end: cancelled }],
        held
      )
    over(Event.Succeeded({ nowMs: 110, token: 4, result: { reference: "late", sizeBytes: 1 } }))
    over(Event.Failed({ nowMs: 110, token: 4, retryable: true, detail: "x" }))
    over(Event.WorkerGone({ nowMs: 110, token: 4, detail: "x" }))
    over(Event.Ticked({ nowMs: 150 }))
    changesNothing(Event.Ticked({ nowMs: 149 }), stopping)
    changesNothing(Event.Ticked({ nowMs: 9_999 }), { ...stopping, enforceAtMs: null })
    const goesOn = [
      Event.Heartbeat({ nowMs: 110, token: 4 }),
      Event.Progressed({ nowMs: 110, token: 4, percent: 90, message: "" })
    ]
    for (const event of goesOn) {
      assert.deepEqual(plain(Task.step(machine(stopping), event)), plain([machine(stopping), [askStop("enough")]]))
      changesNothing(event, { ...stopping, enforceAtMs: null })
    }
  })

  it("T2: a stale token changes nothing and is told so, but for who is gone or says again what won", () => {
    const result = { reference: "r", sizeBytes: 3 }
    const rejects = (state: TaskState.State, event: Event) => {
      const before = machine(state)
      const [next, commands] = Task.step(before, event)
      assert.strictEqual(next, before)
      const token = "token" in event ? event.token : null
      assert.deepEqual(plain(commands), [{ _tag: "RejectStale", token }])
    }
    for (const state of all) {
      rejects(state, Event.Heartbeat({ nowMs: 110, token: 3 }))
      rejects(state, Event.Succeeded({ nowMs: 110, token: 3, result }))
      changesNothing(Event.WorkerGone({ nowMs: 110, token: 3, detail: "x" }), state)
    }
    changesNothing(Event.Succeeded({ nowMs: 110, token: 4, result }), ended)
    rejects(ended, Event.Heartbeat({ nowMs: 110, token: 4 }))
    rejects(queued, Event.Succeeded({ nowMs: 110, token: 4, result }))
    rejects({ ...ended, end: cancelled }, Event.Succeeded({ nowMs: 110, token: 4, result }))
  })

  it("T5: what it orders leaves when its revision is stored, and its time counts from then", () => {
    const orders = [4, 5, 6].map((revision) => ({
      revision,
      command: { _tag: "RejectStale", token: revision } as const
    }))
    const before = machine(
      { ...assigned, startUntilMs: null },
      { storedRevision: 3, outbox: orders, storeAgainAtMs: 9 }
    )
    const stored = (revision: number) => Task.step(before, Event.Stored({ nowMs: 500, revision }))
    for (const revision of [3, 2, 6]) assert.deepStrictEqual(stored(revision), [before, []])
    changesNothing(Event.Stored({ nowMs: 500, revision: 5 }), assigned)
    const [half, some] = stored(4)
    assert.deepStrictEqual(half, { ...before, storedRevision: 4, outbox: orders.slice(1) })
    assert.deepEqual(plain(some), plain([orders[0]!.command]))
    const [whole, more] = stored(5)
    assert.deepEqual(
      plain(whole),
      plain({ ...machine(assigned), state: { ...assigned, startUntilMs: 700 }, outbox: [orders[2]] })
    )
    assert.deepEqual(plain(more), plain([orders[0]!.command, orders[1]!.command]))
    const [stops] = Task.step(
      machine({ ...stopping, enforceAtMs: null }, { storedRevision: 4 }),
      Event.Stored({ nowMs: 500, revision: 5 })
    )
    assert.deepEqual(plain(stops.state), plain({ ...stopping, enforceAtMs: 550 }))
    for (const state of [queued, running, ended]) {
      const [same] = Task.step(machine(state, { storedRevision: 4 }), Event.Stored({ nowMs: 500, revision: 5 }))
      assert.strictEqual(same.state, state)
    }
  })

  it("T5: a store that failed is ordered again a second later, once, and with what is newest", () => {
    const unstored = machine(running, { storedRevision: 4 })
    const notStored = (revision: number, nowMs = 500) => Event.NotStored({ nowMs, revision })
    assert.deepStrictEqual(Task.step(unstored, notStored(4)), [unstored, []])
    const [failed, none] = Task.step(unstored, notStored(5))
    assert.deepStrictEqual([failed, none], [{ ...unstored, storeAgainAtMs: 1_500 }, []])
    assert.deepStrictEqual(Task.step(failed, notStored(5, 900)), [failed, []])
    const quiet = { ...failed, state: { ...running, heardUntilMs: 9_000 } }
    assert.deepStrictEqual(Task.step(quiet, Event.Ticked({ nowMs: 1_499 })), [quiet, []])
    const [again, store] = Task.step(quiet, Event.Ticked({ nowMs: 1_500 }))
    assert.isNull(again.storeAgainAtMs)
    assert.deepEqual(plain(store), plain([{ _tag: "Store", state: quiet.state }]))
    const [lost, once] = Task.step(failed, Event.Ticked({ nowMs: 1_500 }))
    assert.deepEqual([lost.state._tag, lost.storeAgainAtMs], ["Queued", null])
    assert.deepEqual(plain(once), plain([{ _tag: "Store", state: lost.state }]), "the change is stored, once")
  })

  it("asks to be woken for the first of its times", () => {
    const wake = (state: TaskState.State, more: Partial<Task.Machine> = {}) => Task.wakeAtMs(machine(state, more))
    const never = Number.POSITIVE_INFINITY
    assert.deepStrictEqual(
      all.map((state) => wake(state)),
      [1_100, 300, 200, 150, never]
    )
    assert.strictEqual(wake({ ...running, heardUntilMs: 9_000 }), 5_100)
    assert.strictEqual(wake({ ...running, runUntilMs: null }), 200)
    assert.strictEqual(wake({ ...assigned, startUntilMs: null }), never)
    assert.strictEqual(wake({ ...stopping, enforceAtMs: null }), never)
    assert.strictEqual(wake(queued, { storeAgainAtMs: 50 }), 50)
    assert.strictEqual(wake(ended, { storeAgainAtMs: 50 }), 50)
    changesNothing(Event.Ticked({ nowMs: never }), ended)
  })

  it("T9: after a crash its times begin anew, and orders whose fate nobody knows are given again", () => {
    const recovered = (state: TaskState.State, more: object, commands: ReadonlyArray<object> = []) => {
      const [next, orders] = Task.recover(state, 10_000)
      assert.deepEqual(plain(next), plain(machine({ ...state, ...more })))
      assert.deepEqual(plain(orders), plain(commands))
    }
    recovered(queued, { notBeforeMs: 10_010, queueUntilMs: 11_010 })
    recovered({ ...queued, attempt: 0 }, { notBeforeMs: 10_000, queueUntilMs: 11_000 })
    recovered({ ...queued, attempt: 0, leaving }, { notBeforeMs: 10_000, queueUntilMs: 11_000 }, [
      { _tag: "EndWorker", ...leaving }
    ])
    recovered(assigned, { startUntilMs: 10_200 }, [{ _tag: "Assign", worker: "w", token: 4, attempt: 1 }])
    recovered(running, { heardUntilMs: 10_100, runUntilMs: 15_000 })
    recovered({ ...running, limits: { ...limits, runMsMax: null } }, { heardUntilMs: 10_100, runUntilMs: null })
    recovered(stopping, { enforceAtMs: 10_050 }, [askStop("enough")])
    recovered(ended, {}, [{ _tag: "TellEnded", end: completed }])
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    const strange = { _tag: "Strange", limits, nowMs: 1, token: 4 } as never
    assert.throws(() => Task.wakeAtMs(machine(strange)), /^unreachable case .*"_tag":"Strange"/)
    assert.throws(() => Task.step(machine(running), strange), /^unreachable case .*"_tag":"Strange"/)
  })
})

describe("the stored state of a task", () => {
  it("is one where its limits are some, and none where they are not", () => {
    const isLimits = Schema.is(TaskState.Limits)
    const edges = { ...limits, runMsMax: null, stopGraceMs: 0, maxAttempts: 1, retryDelayMs: 0, retryDelayMsMax: 0 }
    assert.isTrue(isLimits(edges))
    assert.isTrue(isLimits({ ...limits, queueMsMax: 0.5, maxAttempts: 100 }))
    const wrong = [
      { queueMsMax: 0 },
      { startMsMax: 0 },
      { runMsMax: 0 },
      { heartbeatMsMax: 0 },
      { stopGraceMs: -1 },
      { maxAttempts: 0 },
      { maxAttempts: 101 },
      { maxAttempts: 1.5 },
      { retryDelayMs: -1 },
      { retryDelayMsMax: -1 }
    ]
    for (const more of wrong) assert.isFalse(isLimits({ ...limits, ...more }), JSON.stringify(more))
  })

  it("survives the store in each of its shapes, and another shape is none", () => {
    const json = Schema.fromJsonString(TaskState.State)
    const again = (state: TaskState.State) => Schema.decodeUnknownSync(json)(Schema.encodeSync(json)(state))
    const ends: ReadonlyArray<TaskState.End> = [
      completed,
      cancelled,
      { _tag: "Failed", detail: "boom", attempts: 2 },
      { _tag: "TimedOut", of: "queue", detail: "late" },
      { _tag: "TimedOut", of: "run", detail: "long" }
    ]
    for (const end of ends) assert.deepEqual({ ...again({ ...ended, end }) }, { ...ended, end })
    for (const state of all) assert.deepEqual({ ...again({ ...state, leaving }) }, { ...state, leaving })
    const isState = Schema.is(TaskState.State)
    assert.isFalse(isState({ ...ended, end: { _tag: "TimedOut", of: "start", detail: "" } }))
    assert.isFalse(isState({ ...ended, end: { _tag: "Completed", result: {} } }))
    assert.isFalse(isState({ ...ended, leaving: {} }))
    for (const field of ["revision", "attempt", "token", "percent"]) {
      assert.isFalse(isState({ ...queued, [field]: 0.5 }), field)
    }
    assert.deepStrictEqual(all.map(TaskState.isHeld), [false, true, true, true, false])
  })
})
