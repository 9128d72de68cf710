import { assert, describe, it } from "vitest"
import * as Instance from "./Instance.ts"

const E = Instance.Event
const facts: Instance.Facts = {
  requestedAtMs: 100,
  startedAtMs: null,
  readyAtMs: null,
  pid: null,
  startDeadlineMs: 1_000,
  drainMs: 500,
  graceMs: 50
}
const started = { ...facts, startedAtMs: 110, pid: 7 }
const wasReady = { ...started, readyAtMs: 150 }

const requested: Instance.State = { _tag: "Requested", facts, deadlineAtMs: 1_100 }
const starting: Instance.State = { _tag: "Starting", facts: started, phase: "weights", deadlineAtMs: 1_100 }
const gone: Instance.State = { _tag: "Starting", facts: wasReady, phase: "reconnect", deadlineAtMs: 1_100 }
const ready: Instance.State = { _tag: "Ready", facts: wasReady }
const draining: Instance.State = { _tag: "Draining", facts: wasReady, reason: "surplus", overdueAtMs: 2_000 }
const ended = { facts: wasReady, endedAtMs: 200, detail: "boom", orderedAtMs: 200 }
const stopped: Instance.State = { _tag: "Stopped", ...ended }
const failed: Instance.State = { _tag: "Failed", ...ended, retryable: true }
const live = [requested, starting, gone, ready]
const all = [...live, draining, stopped, failed]

const report = (state: Instance.Reported["state"], more: Partial<Instance.Reported> = {}): Instance.Reported => ({
  state,
  phase: "weights",
  startedAtMs: null,
  readyAtMs: null,
  pid: null,
  detail: "",
  retryable: false,
  ...more
})
const reported = (state: Instance.Reported["state"], more?: Partial<Instance.Reported>, nowMs = 300) =>
  E.Reported({ nowMs, report: report(state, more) })

const leads = (state: Instance.State, event: Instance.Event, next: object, commands: ReadonlyArray<object> = []) => {
  const [after, orders] = Instance.step(state, event)
  assert.deepEqual({ ...after }, next as typeof after)
  assert.deepEqual(
    orders.map((order): object => ({ ...order })),
    commands
  )
}
const changesNothing = (event: Instance.Event, ...states: ReadonlyArray<Instance.State>) => {
  for (const state of states) {
    const [next, commands] = Instance.step(state, event)
    assert.strictEqual(next, state, `${event._tag} in ${state._tag}`)
    assert.deepStrictEqual(commands, [], `${event._tag} in ${state._tag}`)
  }
}
const terminate = (drainMs: number, reason: string) => ({ _tag: "OrderTerminate", drainMs, graceMs: 50, reason })
const count = (readyForMs: number | null, detail: string, retryable = true) => ({
  _tag: "CountFailure",
  readyForMs,
  retryable,
  detail
})
const failure = (of: Instance.Facts, detail: string, retryable = true, nowMs = 300) => ({
  _tag: "Failed",
  facts: of,
  endedAtMs: nowMs,
  detail,
  retryable,
  orderedAtMs: nowMs
})

describe("instance", () => {
  it("is requested with its limits, and due at its start deadline", () => {
    const options = { nowMs: 100, startDeadlineMs: 1_000, drainMs: 500, graceMs: 50 }
    assert.deepEqual({ ...Instance.requested(options) }, requested)
    assert.deepStrictEqual(all.map(Instance.wakeAtMs), [1_100, 1_100, 1_100, null, 2_000, null, null])
    assert.deepStrictEqual(all.map(Instance.isEnded), [false, false, false, false, false, true, true])
  })

  it("its worker makes it ready, once, and the first time counts", () => {
    leads(requested, E.WorkerReady({ nowMs: 300 }), { _tag: "Ready", facts: { ...facts, readyAtMs: 300 } })
    leads(starting, E.WorkerReady({ nowMs: 300 }), { _tag: "Ready", facts: { ...started, readyAtMs: 300 } })
    leads(gone, E.WorkerReady({ nowMs: 300 }), { _tag: "Ready", facts: wasReady })
    changesNothing(E.WorkerReady({ nowMs: 300 }), ready, draining, stopped, failed)
  })

  it("a ready one drains as its worker does, and only that", () => {
    leads(
      ready,
      E.WorkerDraining({ nowMs: 300 }),
      { _tag: "Draining", facts: wasReady, reason: "its worker drains", overdueAtMs: 300 + 500 + 50 + 10_000 },
      [terminate(500, "its worker drains")]
    )
    changesNothing(E.WorkerDraining({ nowMs: 300 }), requested, starting, gone, draining, stopped, failed)
  })

  it("a worker that is gone has 15 s to come back, or as long as a start may take", () => {
    const back = (deadlineAtMs: number, startDeadlineMs: number) => ({
      _tag: "Starting",
      facts: { ...wasReady, startDeadlineMs },
      phase: "reconnect",
      deadlineAtMs
    })
    leads(ready, E.WorkerGone({ nowMs: 300 }), back(1_300, 1_000))
    const patient: Instance.State = { _tag: "Ready", facts: { ...wasReady, startDeadlineMs: 60_000 } }
    leads(patient, E.WorkerGone({ nowMs: 300 }), back(15_300, 60_000))
    changesNothing(E.WorkerGone({ nowMs: 300 }), requested, starting, gone, draining, stopped, failed)
  })

  it("an order to drain gives its whole drain to whoever was ready or holds work, and none to another", () => {
    const order = (holdsWork: boolean) => E.DrainOrdered({ nowMs: 300, holdsWork, reason: "surplus" })
    const drains = (of: Instance.Facts, drainMs: number) => ({
      _tag: "Draining",
      facts: of,
      reason: "surplus",
      overdueAtMs: 300 + drainMs + 50 + 10_000
    })
    leads(starting, order(false), drains(started, 0), [terminate(0, "surplus")])
    leads(starting, order(true), drains(started, 500), [terminate(500, "surplus")])
    leads(gone, order(false), drains(wasReady, 500), [terminate(500, "surplus")])
    leads(ready, order(false), drains(wasReady, 500), [terminate(500, "surplus")])
    changesNothing(order(true), draining, stopped, failed)
  })

  it("missing at its agent, it failed and is counted, unless the order may still be under way", () => {
    const event = E.Missing({ nowMs: 300 })
    const detail = "its agent does not know of it any more"
    changesNothing(event, requested, stopped, failed)
    leads(starting, event, failure(started, detail), [count(null, detail)])
    leads(ready, event, failure(wasReady, detail), [count(150, detail)])
    leads(draining, event, { ...stopped, endedAtMs: 300, detail: "surplus", orderedAtMs: 300 })
  })

  it("with a silent agent it is given up and not counted, but for one whose worker serves or that drains", () => {
    const event = E.AgentSilent({ nowMs: 300, detail: "silent for 30 s" })
    changesNothing(event, ready, draining, stopped, failed)
    changesNothing(E.AgentSilent({ nowMs: 9_000, detail: "silent for 30 s" }), draining)
    for (const state of [requested, starting, gone]) {
      leads(state, event, failure(state.facts, "silent for 30 s"), [terminate(0, "silent for 30 s")])
    }
  })

  it("I2: not ready at its deadline it fails, says in which phase, and is ordered to end", () => {
    const tick = (nowMs: number) => E.Ticked({ nowMs })
    changesNothing(tick(1_099), requested, starting, gone)
    changesNothing(tick(1_000_000), ready, stopped, failed)
    for (const [state, phase] of [
      [requested, "requested"],
      [starting, "weights"]
    ] as const) {
      const detail = `not ready within its start deadline of 1000 ms (phase: ${phase})`
      leads(state, tick(1_100), failure(state.facts, detail, true, 1_100), [terminate(0, detail), count(null, detail)])
    }
    const lost = "its worker was gone and did not come back in time"
    leads(gone, tick(1_100), failure(wasReady, lost, true, 1_100), [terminate(0, lost), count(950, lost)])
  })

  it("I3: that it ended unasked is counted once, with what its agent says of it", () => {
    leads(starting, reported("failed", { detail: "exit 1" }), failure(started, "exit 1", false), [
      count(null, "exit 1", false)
    ])
    leads(starting, reported("failed", { retryable: true }), failure(started, "it failed unasked"), [
      count(null, "it failed unasked")
    ])
    leads(ready, reported("stopped"), failure(wasReady, "it stopped unasked"), [count(150, "it stopped unasked")])
    leads(ready, reported("stopped", {}, 100), failure(wasReady, "it stopped unasked", true, 100), [
      count(0, "it stopped unasked")
    ])
    const told = { ...facts, startedAtMs: 120, pid: 9 }
    leads(requested, reported("failed", { detail: "x", startedAtMs: 120, pid: 9 }), failure(told, "x", false), [
      count(null, "x", false)
    ])
  })

  it("its agent's draining is known and not ordered", () => {
    leads(ready, reported("draining", { detail: "its cluster is emptied" }), {
      _tag: "Draining",
      facts: wasReady,
      reason: "its cluster is emptied",
      overdueAtMs: 300 + 500 + 50 + 10_000
    })
  })

  it("its agent may call it ready before its worker does, but not again", () => {
    const at = (readyAtMs: number | null) => reported("ready", { readyAtMs, startedAtMs: 120, pid: 9 })
    leads(requested, at(200), { _tag: "Ready", facts: { ...facts, startedAtMs: 120, pid: 9, readyAtMs: 200 } })
    leads(starting, at(null), { _tag: "Ready", facts: { ...started, readyAtMs: 300 } })
    changesNothing(at(200), ready, gone)
    const silent: Instance.State = { _tag: "Ready", facts: { ...wasReady, pid: null } }
    leads(silent, at(200), { _tag: "Ready", facts: { ...wasReady, pid: 9 } })
  })

  it("tells in which phase it starts, for as long as it was never ready", () => {
    const phase = (name: string) => reported("starting", { phase: name, startedAtMs: 120, pid: 9 })
    const toldOf = { ...facts, startedAtMs: 120, pid: 9 }
    leads(requested, phase("image"), { _tag: "Starting", facts: toldOf, phase: "image", deadlineAtMs: 1_100 })
    leads(starting, phase("process"), { ...starting, phase: "process" })
    changesNothing(phase("weights"), starting)
    const early: Instance.State = { ...starting, facts }
    leads(early, phase("weights"), { ...starting, facts: toldOf })
    const known: Instance.State = { ...starting, facts: { ...facts, pid: 9 } }
    leads(known, phase("weights"), { ...starting, facts: toldOf })
    changesNothing(phase("image"), gone, ready)
    leads({ _tag: "Ready", facts: { ...wasReady, pid: null } }, phase("image"), {
      _tag: "Ready",
      facts: { ...wasReady, pid: 9 }
    })
    changesNothing(reported("requested", { pid: 99 }), ...live)
  })

  it("draining leads to stopped, for its reason or what its agent adds", () => {
    const over = (detail: string) => ({ ...stopped, endedAtMs: 300, detail, orderedAtMs: 300 })
    leads(draining, reported("stopped"), over("surplus"))
    leads(draining, reported("failed", { detail: "killed" }), over("killed"))
    changesNothing(reported("ready"), draining)
    const early: Instance.State = { ...draining, facts: { ...wasReady, pid: null } }
    leads(early, reported("draining", { pid: 9 }), { ...draining, facts: { ...wasReady, pid: 9 } })
    leads(early, reported("stopped", { pid: 9 }), { ...over("surplus"), facts: { ...wasReady, pid: 9 } })
  })

  it("I6: a drain that is overdue is ordered to end, again and again, and what its worker holds puts that off", () => {
    changesNothing(E.Ticked({ nowMs: 1_999 }), draining)
    leads(draining, E.Ticked({ nowMs: 2_000 }), { ...draining, overdueAtMs: 12_050 }, [
      terminate(0, "surplus; its drain is overdue")
    ])
    const holds = (untilMs: number) => E.WorkerHolds({ nowMs: 300, untilMs })
    leads(draining, holds(1_951), { ...draining, overdueAtMs: 12_001 })
    changesNothing(E.WorkerHolds({ nowMs: 300, untilMs: 2_000 - 10_050 }), draining)
    leads(draining, holds(2_001 - 10_050), { ...draining, overdueAtMs: 2_001 })
    changesNothing(holds(9_000), ...live, stopped, failed)
  })

  it("I5: ended here and there not, it is ordered to end again after 10 s", () => {
    const there = ["requested", "starting", "ready", "draining"] as const
    for (const state of [stopped, failed]) {
      for (const word of there) {
        changesNothing(reported(word, {}, 10_199), state)
        leads(state, reported(word, {}, 10_200), { ...state, orderedAtMs: 10_200 }, [
          terminate(0, "given up before, and still running: boom")
        ])
      }
    }
  })

  it("the last words of its agent are added to a failure, once and cut, and to nothing else", () => {
    const words = (detail: string) => reported("failed", { detail })
    leads(failed, words("exit 1"), { ...failed, detail: "boom: exit 1" }, [
      { _tag: "AmendFailure", detail: "boom: exit 1" }
    ])
    leads(failed, reported("stopped", { detail: "exit 1" }), { ...failed, detail: "boom: exit 1" }, [
      { _tag: "AmendFailure", detail: "boom: exit 1" }
    ])
    changesNothing(words(""), failed, stopped)
    changesNothing(words("oom"), failed)
    changesNothing(words("exit 1"), stopped)
    const long = `boom: ${"x".repeat(5_000)}`.slice(0, 4_096)
    leads(failed, words("x".repeat(5_000)), { ...failed, detail: long }, [{ _tag: "AmendFailure", detail: long }])
    changesNothing(words("exit 1"), { ...failed, detail: long })
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    const strange = { _tag: "Strange" } as never
    assert.throws(() => Instance.step(draining, strange), 'unreachable case {"_tag":"Strange"}')
    assert.throws(() => Instance.step(ready, strange), 'unreachable case {"_tag":"Strange"}')
    assert.throws(() => Instance.step(ready, reported("lost" as never)), 'unreachable case "lost"')
  })
})
