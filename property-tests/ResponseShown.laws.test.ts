/**
 * L9 where a reader follows an answer that is collected: once it was shown, nothing that happens to the attempt is
 * followed by another, and without that it is.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Buffer_ from "../src/core/buffer/Buffer.ts"
import type { Command, Event } from "../src/core/buffer/BufferEvent.ts"
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import { upholds } from "./upholds.ts"

type Loss = "worker-lost" | "lease-expired" | "attempt-failed" | "rejoined-without-it"
const loss = fc.constantFrom<Loss>("worker-lost", "lease-expired", "attempt-failed", "rejoined-without-it")

const eventOf = (how: Loss, token: number): Event => {
  const nowMs = 40_000
  const worker = { nowMs, workerId: "w", instanceId: "i", version: "v", slots: 1, holds: [] }
  switch (how) {
    case "worker-lost":
      return { _tag: "WorkerLost", nowMs, workerId: "w" }
    case "lease-expired":
      return { _tag: "Ticked", nowMs }
    case "attempt-failed":
      return { _tag: "AttemptFailed", nowMs, sequence: 1, workerId: "w", token, retryable: true, message: "" }
    case "rejoined-without-it":
      return { _tag: "WorkerJoined", ...worker }
  }
}

describe("a collected answer that a reader follows", () => {
  it("L9: is the last attempt's once it was shown, and only then", () => {
    upholds(
      fc.property(loss, fc.boolean(), fc.boolean(), (how, isShown, isStale) => {
        let state = Buffer_.empty(defaults)
        const all: Array<Command> = []
        const send = (event: Event) => {
          const [next, commands] = Buffer_.step(state, event)
          state = next
          all.push(...commands)
        }
        const deadlineMs = 10_000_000
        const arrived = {
          nowMs: 1,
          sequence: 1,
          requestId: "r",
          tenant: "t",
          version: "v",
          sizeBytes: 1,
          maxAttempts: 5
        }
        send({ _tag: "Arrived", ...arrived, mode: "async", durability: "accepted", deadlineMs })
        send({ _tag: "Persisted", nowMs: 2, records: [{ kind: "arrived", sequence: 1 }] })
        send({ _tag: "WorkerJoined", nowMs: 3, workerId: "w", instanceId: "i", version: "v", slots: 1, holds: [] })
        const token = all.find((command) => command._tag === "Assign")?.token ?? Number.NaN
        send({ _tag: "ResponseStarted", nowMs: 4, sequence: 1, workerId: "w", token })
        if (isShown) send({ _tag: "ResponseShown", nowMs: 5, sequence: 1, token: isStale ? token - 1 : token })
        send(eventOf(how, token))
        send({ _tag: "WorkerJoined", nowMs: 80_000, workerId: "x", instanceId: "j", version: "v", slots: 1, holds: [] })
        send({ _tag: "Ticked", nowMs: 100_000 })
        const assigns = all.filter((command) => command._tag === "Assign").length
        const isLast = isShown && !isStale
        assert.strictEqual(assigns, isLast ? 1 : 2)
        assert.strictEqual(Buffer_.lookup(state, 1)?.terminal, isLast ? "failed" : undefined)
      })
    )
  })
})
