import { assert, describe, it } from "vitest"
import * as RestartBudget from "../instance/RestartBudget.ts"
import * as Deployment from "./Deployment.ts"

const told = (more: Partial<Deployment.Facts> = {}, budget: Partial<RestartBudget.State> = {}) => {
  const { status, detail } = Deployment.status({
    isDeployed: true,
    desired: 2,
    starting: 1,
    ready: 1,
    draining: 0,
    nowhere: null,
    ...more,
    budget: { ...RestartBudget.empty, lastDetail: "boom", ...budget }
  })
  return `${status}: ${detail}`
}

describe("the status of a deployment", () => {
  it("counts what is ready, starting and draining", () => {
    assert.strictEqual(told(), "scaling: 1 of 2 instances ready, 1 starting")
    assert.strictEqual(told({ draining: 3 }), "scaling: 1 of 2 instances ready, 1 starting, 3 draining")
    assert.strictEqual(told({ ready: 2, starting: 0 }), "ready: 2 of 2 instances ready, 0 starting")
    assert.strictEqual(told({ ready: 3, desired: 1 }), "ready: 3 of 1 instance ready, 1 starting")
    assert.strictEqual(told({ nowhere: "no room" }), "scaling: 1 of 2 instances ready, 1 starting; no room")
    assert.strictEqual(told({ isDeployed: false, draining: 1 }), "undeployed: not deployed, 1 draining")
    assert.strictEqual(told({ isDeployed: false }), "undeployed: not deployed")
    assert.strictEqual(told({ desired: 0 }), "idle: at zero: nothing is asked of it")
    assert.strictEqual(told({ desired: 0, draining: 2 }), "idle: at zero: nothing is asked of it, 2 draining")
  })

  it("is failed from three failed trials on, and degraded once one of the series was ready", () => {
    const none = { ready: 0, starting: 1 }
    const counts = "0 of 2 instances ready, 1 starting"
    assert.strictEqual(told(none, { failures: 1 }), `scaling: ${counts}; 1 start failed, last: boom`)
    assert.strictEqual(told(none, { failures: 2 }), `scaling: ${counts}; 2 starts failed, last: boom`)
    assert.strictEqual(told(none, { failures: 3 }), `failed: ${counts}; 3 starts failed, last: boom`)
    assert.strictEqual(told(none, { failures: 3, wasReady: true }), `degraded: ${counts}; 3 starts failed, last: boom`)
    assert.match(told({ ready: 2 }, { failures: 1 }), /^degraded: /)
  })
})
