import { assert, describe, it } from "vitest"
import * as Fleet from "../../core/instance/Fleet.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as RestartBudget from "../../core/instance/RestartBudget.ts"
import * as ControllerVersionFacts from "./ControllerVersionFacts.ts"

const fresh = Instance.requested({ nowMs: 0, startDeadlineMs: 1_000, drainMs: 500, graceMs: 100 })

const reported = (state: Instance.Reported["state"], change: Partial<Instance.Reported> = {}): Instance.Event => ({
  _tag: "Reported",
  nowMs: 10,
  report: { state, phase: "", startedAtMs: null, readyAtMs: null, pid: null, detail: "", retryable: true, ...change }
})

const after = (...events: ReadonlyArray<Instance.Event>): Instance.State =>
  events.reduce((state, event) => Instance.step(state, event)[0], fresh)

const ready: Instance.Event = { _tag: "WorkerReady", nowMs: 20 }
const gone: Instance.Event = { _tag: "WorkerGone", nowMs: 30 }
const drain: Instance.Event = { _tag: "DrainOrdered", nowMs: 40, holdsWork: true, reason: "a test" }

const states: Readonly<Record<string, Instance.State>> = {
  requested: fresh,
  starting: after(reported("starting", { phase: "image" })),
  "starting, later": after(
    reported("starting", { phase: "image" }),
    reported("starting", { phase: "process", pid: 7 })
  ),
  ready: after(ready),
  "ready, with a pid": after(reported("starting", { pid: 7 }), ready),
  reconnecting: after(ready, gone),
  draining: after(ready, drain),
  stopped: after(ready, drain, reported("stopped")),
  failed: after(reported("failed"))
}

const memberOf = (state: Instance.State): ReadonlyArray<Fleet.Member> => {
  if (Instance.isEnded(state)) return []
  const of = { Requested: "requested", Starting: "starting", Ready: "ready", Draining: "draining" } as const
  const { requestedAtMs } = state.facts
  return [{ id: "a", generation: 1, state: of[state._tag], leased: 0, requestedAtMs, leaving: false }]
}

describe("whether an instance counts for something else", () => {
  it("where it does not, the fleet is planned alike and nothing is due at another time", () => {
    let alike = 0
    for (const before of Object.values(states)) {
      for (const later of Object.values(states)) {
        if (ControllerVersionFacts.isOther(before, later)) continue
        alike++
        for (const desired of [0, 1, 2]) {
          const plans = [before, later].map((state) =>
            Fleet.plan({ desired, generation: 1, members: memberOf(state), nowMs: 50, budget: RestartBudget.empty })
          )
          assert.deepStrictEqual(plans[0], plans[1])
        }
        assert.strictEqual(Instance.wakeAtMs(before), Instance.wakeAtMs(later))
      }
    }
    // Each with itself, and the pairs of the next law both ways.
    assert.isAtLeast(alike, Object.keys(states).length + 6)
  })

  it("a report of a phase or of a process id is no reason to decide again, a change of what serves is", () => {
    const { requested, starting, ready, reconnecting, draining, stopped } = states as Record<string, Instance.State>
    const isOther = (before: Instance.State | undefined, later: Instance.State | undefined) => {
      if (before === undefined || later === undefined) throw new Error("a state of the table is missing")
      return ControllerVersionFacts.isOther(before, later)
    }
    assert.isFalse(isOther(requested, starting))
    assert.isFalse(isOther(starting, states["starting, later"]))
    assert.isFalse(isOther(ready, states["ready, with a pid"]))
    assert.isTrue(isOther(starting, ready))
    assert.isTrue(isOther(ready, reconnecting))
    assert.isTrue(isOther(ready, draining))
    assert.isTrue(isOther(draining, stopped))
    // The start deadline is not that of the reconnection.
    assert.isTrue(isOther(starting, reconnecting))
  })
})
