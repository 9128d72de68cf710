/**
 * Laws of the deployment's status. Generators: small counts, 0 to 4 failures.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Deployment from "../src/core/deployment/Deployment.ts"
import * as RestartBudget from "../src/core/instance/RestartBudget.ts"
import { upholds } from "./upholds.ts"

const facts: fc.Arbitrary<Deployment.Facts> = fc.record({
  isDeployed: fc.nat(5).map((n) => n > 0),
  desired: fc.nat(3),
  starting: fc.nat(3),
  ready: fc.nat(3),
  draining: fc.nat(2),
  budget: fc.record({
    failures: fc.nat(4),
    lastFailureAtMs: fc.constant(0),
    nextTryAtMs: fc.constant(0),
    lastDetail: fc.constant("boom"),
    wasReady: fc.boolean()
  }),
  nowhere: fc.option(fc.constant("no cluster can take it"))
})

describe("deployment: laws", () => {
  it("D1, D3: total; ready exactly when all desired is ready and nothing failed, idle exactly when nothing is desired", () => {
    upholds(
      fc.property(facts, (each) => {
        const { status, detail } = Deployment.status(each)
        assert.isAbove(detail.length, 0)
        assert.strictEqual(status === "undeployed", !each.isDeployed)
        if (!each.isDeployed) return
        assert.strictEqual(status === "idle", each.desired === 0)
        if (each.desired === 0) return
        assert.strictEqual(status === "ready", each.ready >= each.desired && each.budget.failures === 0)
        if (status === "failed") assert.isTrue(each.ready === 0 && each.budget.failures >= 3)
      }),
      { numRuns: 1_000 }
    )
  })

  it("D1: it says how many are ready and desired, what fails, and, when that is why, that no cluster takes more", () => {
    upholds(
      fc.property(facts, (each) => {
        const { status, detail } = Deployment.status(each)
        if (!each.isDeployed || each.desired === 0) return
        assert.include(detail, `${each.ready} of ${each.desired} instance`)
        assert.strictEqual(detail.includes("boom"), each.budget.failures > 0)
        const isWaiting = status === "scaling" && each.budget.failures === 0
        if (isWaiting && each.nowhere !== null) assert.include(detail, each.nowhere)
        if (each.draining > 0) assert.include(detail, `${each.draining} draining`)
      }),
      { numRuns: 500 }
    )
  })

  it("D2: in a series of failures at one desired count, a status that was left does not come back", () => {
    const trial = fc.record({
      becomesReady: fc.boolean(),
      readyForMs: fc.constantFrom(0, 100, RestartBudget.healthyPeriodMs - 1)
    })
    upholds(
      fc.property(fc.array(trial, { minLength: 1, maxLength: 8 }), (trials) => {
        let budget = RestartBudget.empty
        let nowMs = 0
        const seen: Array<Deployment.Status> = []
        const look = (starting: number, ready: number) => {
          const { status } = Deployment.status({
            isDeployed: true,
            desired: 1,
            starting,
            ready,
            draining: 0,
            budget,
            nowhere: null
          })
          if (seen[seen.length - 1] !== status) seen.push(status)
        }
        const fail = (requestedAtMs: number, readyForMs: number | null) => {
          budget = RestartBudget.step(
            budget,
            RestartBudget.Event.Failed({ nowMs, requestedAtMs, readyForMs, retryable: true, detail: "boom" })
          )
        }
        fail(0, null)
        look(0, 0)
        for (const { becomesReady, readyForMs } of trials) {
          nowMs = budget.nextTryAtMs
          const requestedAtMs = nowMs
          look(1, 0)
          nowMs += 50
          if (becomesReady) {
            const readyAtMs = nowMs
            budget = RestartBudget.step(budget, RestartBudget.Event.SeenReady({ nowMs, requestedAtMs, readyAtMs }))
            look(0, 1)
            nowMs += readyForMs
          }
          fail(requestedAtMs, becomesReady ? readyForMs : null)
          look(0, 0)
        }
        assert.strictEqual(new Set(seen).size, seen.length, seen.join(" → "))
      }),
      { numRuns: 500 }
    )
  })
})
