/**
 * Laws of the instance machine and of the restart budget, each also run against the wrong ones of
 * `zoo/instanceBugs.ts`. Generators: every event in every state, times around the
 * start deadline (1 s) and the drain (2 s), reports of all six states in any order, as after lost messages.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Instance from "../src/core/instance/Instance.ts"
import * as RestartBudget from "../src/core/instance/RestartBudget.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/instanceBugs.ts"
import { kills } from "./zoo/kills.ts"

const report: fc.Arbitrary<Instance.Reported> = fc.record({
  state: fc.constantFrom("requested", "starting", "starting", "ready", "draining", "stopped", "failed"),
  phase: fc.constantFrom("image", "process"),
  startedAtMs: fc.option(fc.constantFrom(5, 10)),
  readyAtMs: fc.option(fc.constantFrom(20, 30)),
  pid: fc.option(fc.constantFrom(1, 2)),
  detail: fc.constantFrom("", "exit code 1"),
  retryable: fc.boolean()
})

const byMs = fc.constantFrom(0, 1, 300, 999, 1_000, 2_400, 9_999, 10_000, 15_000)
const event: fc.Arbitrary<(nowMs: number) => Instance.Event> = fc.oneof(
  { weight: 4, arbitrary: report.map((each) => (nowMs: number) => Instance.Event.Reported({ nowMs, report: each })) },
  { weight: 3, arbitrary: fc.constant((nowMs: number) => Instance.Event.Ticked({ nowMs })) },
  { weight: 3, arbitrary: fc.constant((nowMs: number) => Instance.Event.WorkerReady({ nowMs })) },
  { weight: 1, arbitrary: fc.constant((nowMs: number) => Instance.Event.WorkerGone({ nowMs })) },
  { weight: 1, arbitrary: fc.constant((nowMs: number) => Instance.Event.WorkerDraining({ nowMs })) },
  { weight: 1, arbitrary: fc.constant((nowMs: number) => Instance.Event.Missing({ nowMs })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(-1, 0, 1_000, 20_000)
      .map((forMs) => (nowMs: number) => Instance.Event.WorkerHolds({ nowMs, untilMs: nowMs + forMs }))
  },
  { weight: 1, arbitrary: fc.constant((nowMs: number) => Instance.Event.AgentSilent({ nowMs, detail: "silent" })) },
  {
    weight: 1,
    arbitrary: fc
      .boolean()
      .map((holdsWork) => (nowMs: number) => Instance.Event.DrainOrdered({ nowMs, holdsWork, reason: "scale-down" }))
  }
)
const history = fc.array(fc.tuple(byMs, event), { maxLength: 25 })

const fresh = () => Instance.requested({ nowMs: 0, startDeadlineMs: 1_000, drainMs: 2_000, graceMs: 100 })

const play = (
  step: Bugs.Step,
  events: ReadonlyArray<readonly [number, (nowMs: number) => Instance.Event]>,
  look: (step: {
    readonly before: Instance.State
    readonly event: Instance.Event
    readonly after: Instance.State
    readonly commands: ReadonlyArray<Instance.Command>
    readonly nowMs: number
  }) => void
) => {
  let state = fresh()
  let nowMs = 0
  for (const [by, make] of events) {
    nowMs += by
    const each = make(nowMs)
    const [after, commands] = step(state, each)
    look({ before: state, event: each, after, commands, nowMs })
    state = after
  }
  return state
}

const count = (commands: ReadonlyArray<Instance.Command>, tag: Instance.Command["_tag"]) =>
  commands.filter(({ _tag }) => _tag === tag).length

const staysEnded = (step: Bugs.Step) =>
  fc.property(history, (events) => {
    play(step, events, ({ before, after }) => {
      if (Instance.isEnded(before)) assert.strictEqual(after._tag, before._tag)
      if (before._tag === "Draining") assert.include(["Draining", "Stopped"], after._tag)
    })
  })

const keepsDeadlines = (step: Bugs.Step) =>
  fc.property(history, (events) => {
    let state = fresh()
    let nowMs = 0
    let orders = 0
    for (const [by, make] of events) {
      nowMs += by
      const wasLive = state._tag === "Requested" || state._tag === "Starting"
      const [ticked, first] = step(state, Instance.Event.Ticked({ nowMs }))
      if (wasLive && ticked._tag === "Failed") {
        orders += count(first, "OrderTerminate")
        assert.strictEqual(orders, 1)
        return
      }
      if (ticked._tag === "Requested" || ticked._tag === "Starting") assert.isAbove(ticked.deadlineAtMs, nowMs)
      state = step(ticked, make(nowMs))[0]
      if (Instance.isEnded(state) || state._tag === "Draining") return
    }
  })

const sparesTheHeld =
  (mix = { reached: 0 }) =>
  (step: Bugs.Step) =>
    fc.property(fc.boolean(), history, (holdsWork, events) => {
      const drained: typeof events = [
        [1, (nowMs) => Instance.Event.WorkerReady({ nowMs })],
        [1, (nowMs) => Instance.Event.DrainOrdered({ nowMs, holdsWork, reason: "scale-down" })]
      ]
      let untilMs = Number.NEGATIVE_INFINITY
      play(step, [...drained, ...events], ({ before, event, commands, nowMs }) => {
        if (before._tag !== "Draining") return
        if (event._tag === "WorkerHolds") untilMs = Math.max(untilMs, event.untilMs)
        if (commands.some(({ _tag }) => _tag === "OrderTerminate") && Number.isFinite(untilMs)) {
          mix.reached++
          assert.isAbove(nowMs, untilMs)
        }
      })
    })

const countsUnasked =
  (mix = { counted: 0 }) =>
  (step: Bugs.Step) =>
    fc.property(history, (events) => {
      let counts = 0
      let wasAsked = false
      let isLost = false
      const last = play(step, events, ({ event: each, after, before, commands }) => {
        counts += count(commands, "CountFailure")
        if (after._tag === "Draining") wasAsked = true
        if (each._tag === "AgentSilent" && before._tag !== "Failed" && after._tag === "Failed") isLost = true
      })
      const isUnasked = Instance.isEnded(last) && !wasAsked && !isLost
      assert.strictEqual(counts, isUnasked ? 1 : 0)
      mix.counted += counts
    })

const ordersAgain = (step: Bugs.Step) =>
  fc.property(history, (events) => {
    let lastMs = Number.NEGATIVE_INFINITY
    play(step, events, ({ before, after, commands, nowMs, event: each }) => {
      if (!Instance.isEnded(before)) {
        if (Instance.isEnded(after)) lastMs = nowMs
        return
      }
      const isThere = each._tag === "Reported" && each.report.state !== "stopped" && each.report.state !== "failed"
      const orders = count(commands, "OrderTerminate")
      assert.strictEqual(orders, isThere && nowMs - lastMs >= Instance.orderAgainMs ? 1 : 0)
      if (orders === 1) lastMs = nowMs
    })
  })

const drainsWhole = (step: Bugs.Step) =>
  fc.property(history, fc.boolean(), (events, holdsWork) => {
    const last = play(step, events, () => {})
    const [, commands] = step(last, Instance.Event.DrainOrdered({ nowMs: 1e9, holdsWork, reason: "scale-down" }))
    for (const command of commands) {
      if (command._tag !== "OrderTerminate") continue
      assert.strictEqual(command.drainMs, last.facts.readyAtMs !== null || holdsWork ? 2_000 : 0)
    }
    if (last._tag === "Draining" || Instance.isEnded(last)) assert.deepStrictEqual(commands, [])
    else assert.strictEqual(commands.length, 1)
  })

/** What is ready may hold work: it is ended when somebody asks for it, or is told that it ended. */
const sparesTheReady = (step: Bugs.Step) =>
  fc.property(history, (events) => {
    play(step, events, ({ before, event: each, after, commands }) => {
      if (before._tag !== "Ready") return
      const isAsked = each._tag === "DrainOrdered" || each._tag === "WorkerDraining"
      if (!isAsked) assert.strictEqual(count(commands, "OrderTerminate"), 0, `ended by ${each._tag}`)
      const isTold = each._tag === "Reported" || each._tag === "Missing"
      if (Instance.isEnded(after)) assert.isTrue(isTold, `ended by ${each._tag}`)
    })
  })

/** Ticked when it asks to be, and told nothing more, it does not stay half-way; what drains is ordered to end again. */
const wakesItself = (step: Bugs.Step) =>
  fc.property(history, (events) => {
    let state = play(step, events, () => {})
    for (let round = 0; round < 3; round++) {
      const wakeAtMs = Instance.wakeAtMs(state)
      if (wakeAtMs === null) break
      const [next, commands] = step(state, Instance.Event.Ticked({ nowMs: wakeAtMs }))
      assert.notStrictEqual(next, state, "it was woken for nothing")
      assert.strictEqual(count(commands, "OrderTerminate"), 1)
      state = next
    }
    assert.include(["Ready", "Draining", "Stopped", "Failed"], state._tag)
  })

describe("instance: laws", () => {
  it("I1: nothing leaves stopped or failed, and draining leads only to stopped", () => {
    upholds(staysEnded(Instance.step), { numRuns: 1_000 })
  })

  it("I2: ticked at its deadline, it is ready or over, and it was ordered to end once", () => {
    upholds(keepsDeadlines(Instance.step), { numRuns: 1_000 })
    const [failed, commands] = Instance.step(fresh(), Instance.Event.Ticked({ nowMs: 1_000 }))
    assert.strictEqual(failed._tag, "Failed")
    assert.deepStrictEqual(commands[0], {
      _tag: "OrderTerminate",
      drainMs: 0,
      graceMs: 100,
      reason: "not ready within its start deadline of 1000 ms (phase: requested)"
    })
  })

  it("I3: an end is counted exactly when nobody asked for it and its agent speaks, and once", () => {
    const mix = { counted: 0 }
    upholds(countsUnasked(mix)(Instance.step), { numRuns: 1_000 })
    assert.isAbove(mix.counted, 200, "the law must see unasked ends")
  })

  it("I4: total; unchanged is the same object; its times never run backwards", () => {
    upholds(
      fc.property(history, (events) => {
        play(Instance.step, events, ({ before, after, commands }) => {
          if (after === before) assert.strictEqual(count(commands, "CountFailure"), 0)
          assert.strictEqual(after.facts.requestedAtMs, before.facts.requestedAtMs)
          if (before.facts.readyAtMs !== null) assert.strictEqual(after.facts.readyAtMs, before.facts.readyAtMs)
          if (before.facts.startedAtMs !== null) assert.strictEqual(after.facts.startedAtMs, before.facts.startedAtMs)
        })
      }),
      { numRuns: 1_000 }
    )
  })

  it("I6: an instance that drains is not ordered to end before the last deadline of what its worker holds", () => {
    const mix = { reached: 0 }
    upholds(sparesTheHeld(mix)(Instance.step), { numRuns: 2_000 })
    assert.isAbove(mix.reached, 10)
  })

  it("I5: ended here and still running there is ordered to end again, at most every 10 s", () => {
    upholds(ordersAgain(Instance.step), { numRuns: 2_000 })
  })

  it("L17: what was ever ready, or holds work, is given its whole drain; what never was, none", () => {
    upholds(drainsWhole(Instance.step), { numRuns: 1_000 })
  })

  it("L17, L20: what is ready is ended by nothing but an order to drain, its worker's or its agent's word", () => {
    upholds(sparesTheReady(Instance.step), { numRuns: 1_000 })
  })

  it("L17: ticked only when it asks to be, it is ready in time or over, and what drains is ordered to end again", () => {
    upholds(wakesItself(Instance.step), { numRuns: 1_000 })
  })

  it("I1 kills: rising from the dead", () => kills(staysEnded, { resurrects: Bugs.resurrects }))

  it("I2 kills: waiting for ever", () => {
    kills(keepsDeadlines, { patient: Bugs.patient })
    kills(wakesItself, { patient: Bugs.patient })
  })

  it("I3 kills: counting what was ordered", () => kills(countsUnasked(), { countsOrders: Bugs.countsOrders }))

  it("I5 kills: forgetting what was given up", () => kills(ordersAgain, { leavesOrphans: Bugs.leavesOrphans }))

  it("I6 kills: ending what still holds work in time", () => kills(sparesTheHeld(), { endsTheHeld: Bugs.endsTheHeld }))

  it("L17 kills: ending at once what should drain, and what is ready because its agent is silent", () => {
    kills(drainsWhole, { killsInsteadOfDraining: Bugs.killsInsteadOfDraining })
    kills(sparesTheReady, { silenceKills: Bugs.silenceKills })
  })

  it("the agent's account of a start that missed its deadline is added, and amends the count", () => {
    const [failed] = Instance.step(fresh(), Instance.Event.Ticked({ nowMs: 1_000 }))
    const [told, commands] = Instance.step(
      failed,
      Instance.Event.Reported({
        nowMs: 1_100,
        report: {
          state: "failed",
          phase: "",
          startedAtMs: 1,
          readyAtMs: null,
          pid: 1,
          detail: "cannot open weights.bin",
          retryable: true
        }
      })
    )
    assert.match(told._tag === "Failed" ? told.detail : "", /start deadline of 1000 ms.*: cannot open weights\.bin$/)
    assert.deepStrictEqual(
      commands.map(({ _tag }) => _tag),
      ["AmendFailure"]
    )
    assert.strictEqual(Instance.step(told, Instance.Event.Ticked({ nowMs: 1_200 }))[0], told)
  })

  it("a worker that is gone must come back soon, and its agent's word does not count for it", () => {
    const [ready] = Instance.step(fresh(), Instance.Event.WorkerReady({ nowMs: 10 }))
    const [gone] = Instance.step(ready, Instance.Event.WorkerGone({ nowMs: 20 }))
    assert.strictEqual(gone._tag, "Starting")
    const claim = {
      state: "ready",
      phase: "ready",
      startedAtMs: 1,
      readyAtMs: 10,
      pid: 1,
      detail: "",
      retryable: true
    } as const
    assert.strictEqual(Instance.step(gone, Instance.Event.Reported({ nowMs: 30, report: claim }))[0]._tag, "Starting")
    assert.strictEqual(Instance.step(gone, Instance.Event.WorkerReady({ nowMs: 30 }))[0]._tag, "Ready")
    const [lost, commands] = Instance.step(gone, Instance.Event.Ticked({ nowMs: 1_020 }))
    assert.strictEqual(lost._tag, "Failed")
    assert.deepInclude(commands[1], { _tag: "CountFailure", readyForMs: 1_010 })
  })
})

const budgetEvent: fc.Arbitrary<(nowMs: number) => RestartBudget.Event> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({ ageMs: fc.constantFrom(0, 10, 5_000, 40_000), readyForMs: fc.option(fc.constantFrom(0, 500, 9_999)) })
      .map(
        ({ ageMs, readyForMs }) =>
          (nowMs: number) =>
            RestartBudget.Event.Failed({
              nowMs,
              requestedAtMs: nowMs - ageMs,
              readyForMs,
              retryable: true,
              detail: "boom"
            })
      )
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ ageMs: fc.constantFrom(0, 5_000, 40_000), readyForMs: fc.constantFrom(0, 5_000, 9_999) })
      .map(
        ({ ageMs, readyForMs }) =>
          (nowMs: number) =>
            RestartBudget.Event.SeenReady({
              nowMs,
              requestedAtMs: nowMs - ageMs - readyForMs,
              readyAtMs: nowMs - readyForMs
            })
      )
  }
)

/** Nothing in these histories is healthy. */
const growsInSeries = (step: Bugs.Count) =>
  fc.property(fc.array(fc.tuple(byMs, budgetEvent), { maxLength: 40 }), (events) => {
    let state = RestartBudget.empty
    let nowMs = 1_000
    let lastWaitMs = 0
    for (const [by, make] of events) {
      nowMs += by
      const next = step(state, make(nowMs))
      assert.isAtLeast(next.failures, state.failures)
      if (next.failures > state.failures) {
        const waitMs = next.nextTryAtMs - nowMs
        assert.isAtLeast(waitMs, lastWaitMs)
        assert.isAtMost(waitMs, RestartBudget.delayMsMax)
        lastWaitMs = waitMs
      }
      state = next
    }
  })

/** Started together, they fail one after the other within the time that a trial takes. */
const oneTrial = (step: Bugs.Count) =>
  fc.property(fc.array(fc.nat(900), { minLength: 1, maxLength: 10 }), (laterMs) => {
    let state = RestartBudget.empty
    const all = [...laterMs].sort((left, right) => left - right).map((each) => 1_000 + each)
    for (const nowMs of all) {
      state = step(
        state,
        RestartBudget.Event.Failed({ nowMs, requestedAtMs: 900, readyForMs: null, retryable: true, detail: "boom" })
      )
    }
    assert.strictEqual(state.failures, 1)
    assert.strictEqual(state.nextTryAtMs, all[0]! + RestartBudget.firstDelayMs)
  })

describe("restart budget: laws", () => {
  it("B1, B3: within a series the wait never falls nor exceeds 30 s, and nothing unhealthy ends the series", () => {
    upholds(growsInSeries(RestartBudget.step), { numRuns: 300 })
    assert.deepStrictEqual(
      [0, 1, 2, 3, 8, 9, 1_000].map(RestartBudget.delayMs),
      [0, 200, 400, 800, 25_600, 30_000, 30_000]
    )
  })

  it("B2: instances that were started together and fail together are one trial", () => {
    upholds(oneTrial(RestartBudget.step))
  })

  it("B2, B3 kill: each instance as a trial of its own, and readiness taken for health", () => {
    kills(oneTrial, { countsEach: Bugs.countsEach })
    kills(growsInSeries, { readyIsHealthy: Bugs.readyIsHealthy })
  })

  it("B3: a healthy instance of a later start ends the series, one of before it does not", () => {
    const failed = RestartBudget.step(
      RestartBudget.empty,
      RestartBudget.Event.Failed({ nowMs: 1_000, requestedAtMs: 900, readyForMs: null, retryable: true, detail: "x" })
    )
    const seen = (requestedAtMs: number) =>
      RestartBudget.step(failed, RestartBudget.Event.SeenReady({ nowMs: 60_000, requestedAtMs, readyAtMs: 2_000 }))
    assert.strictEqual(seen(500).failures, 1)
    assert.strictEqual(seen(1_200).failures, 0)
  })

  it("what cannot help to be tried again waits longest at once", () => {
    const state = RestartBudget.step(
      RestartBudget.empty,
      RestartBudget.Event.Failed({
        nowMs: 0,
        requestedAtMs: 0,
        readyForMs: null,
        retryable: false,
        detail: "no such file"
      })
    )
    assert.strictEqual(state.nextTryAtMs, RestartBudget.delayMsMax)
  })
})
