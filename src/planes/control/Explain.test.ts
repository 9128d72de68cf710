import { assert, describe, it } from "vitest"
import { requestView } from "../../../tests/control/FakeSources.ts"
import * as Explain from "./Explain.ts"

const decision = { versionId: "v", from: 0, to: 1, policy: "demand", reason: "1 pending and nothing runs", inputs: {} }

describe("an explanation", () => {
  it("tells what happened in order of time, then the phases, then where it stands", () => {
    const request = requestView({
      requestId: "r",
      versionId: "v",
      instanceId: "i",
      attempt: 1,
      position: null,
      state: "responded",
      endedAtMs: 1_500,
      cause: "answered",
      history: [
        { atMs: 1_000, what: "arrived" },
        { atMs: 1_400, what: "leased" }
      ],
      phases: { start: 380, run: 95.4, platform: 3.21 }
    })
    const start = {
      instanceId: "i",
      placement: "west (83 % free, warm) rather than east (20 % free)",
      demandAtMs: 1_001,
      createdAtMs: 1_002,
      startedAtMs: 1_010,
      readyAtMs: 1_390,
      phases: null
    }
    const lines = Explain.lines({ request, waitingFor: undefined, start, decisions: [{ ...decision, atMs: 1_001 }] })
    assert.deepStrictEqual(lines, [
      "+0.0 ms arrived",
      "+1.0 ms scaled from 0 to 1: 1 pending and nothing runs",
      "+2.0 ms instance i was ordered in west (83 % free, warm) rather than east (20 % free)",
      "+10 ms i was started",
      "+390 ms i declared itself ready",
      "+400 ms leased",
      "starting an instance: 380 ms",
      "the function itself: 95 ms",
      "the platform's own work: 3.2 ms",
      "responded: answered",
      "attempt 1 of 3"
    ])
  })

  it("a start that was over before the request came is not told as its own", () => {
    const request = requestView({ requestId: "r", instanceId: "i", arrivedAtMs: 5_000, history: [] })
    const start = { instanceId: "i", demandAtMs: 1, createdAtMs: 2, startedAtMs: 3, readyAtMs: 4, phases: null }
    const lines = Explain.lines({ request, waitingFor: "all slots are busy", start, decisions: [] })
    assert.notInclude(lines.join(), "ordered")
    assert.include(lines, "all slots are busy")
    assert.include(lines, "2 requests of the same version are before it")
  })

  it("only decisions for its version and of its time are its own", () => {
    const request = requestView({ requestId: "r", versionId: "v", arrivedAtMs: 10, endedAtMs: 20 })
    const decisions = [5, 20, 10, 21].map((atMs) => ({ ...decision, atMs }))
    assert.deepStrictEqual(
      Explain.decisionsDuring(request, [...decisions, { ...decision, versionId: "w", atMs: 15 }]).map(
        ({ atMs }) => atMs
      ),
      [10, 20]
    )
  })
})
