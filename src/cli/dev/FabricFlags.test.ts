import { afterEach, assert, describe, it } from "vitest"
import type { Input } from "../Command.ts"
import { fabricOf } from "./FabricFlags.ts"

const input = (values: Readonly<Record<string, string>>): Input => ({ values, positionals: [], rest: [] })

const refusal = (values: Readonly<Record<string, string>>): string => {
  try {
    fabricOf(input(values))
    return "it was taken"
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

describe("which fabric", () => {
  afterEach(() => {
    delete process.env["MILLRACE_NATS_URL"]
    delete process.env["MILLRACE_FABRIC"]
  })

  it("is the embedded one when nothing is said", () => {
    assert.isUndefined(fabricOf(input({})))
    assert.isUndefined(fabricOf(input({ fabric: "embedded" })))
  })

  it("is NATS with everything that was given, by flag or by environment", () => {
    process.env["MILLRACE_FABRIC"] = "nats"
    process.env["MILLRACE_NATS_URL"] = "nats://a:4222, nats://b:4222"
    const options = fabricOf(
      input({ "nats-credentials": "/c", "nats-system-url": "nats://s:p@a", "nats-prefix": "m-1" })
    )
    assert.deepStrictEqual(options, {
      servers: ["nats://a:4222", "nats://b:4222"],
      credentials: { _tag: "File", path: "/c" },
      system: { servers: ["nats://s:p@a"], credentials: { _tag: "Anonymous" } },
      monitorUrls: [],
      durability: "power-loss",
      prefix: "m-1"
    })
  })

  it("refuses what makes no sense, and says what would", () => {
    assert.include(refusal({ fabric: "kafka" }), "embedded or nats")
    assert.include(refusal({ fabric: "nats" }), "--nats-url")
    assert.include(refusal({ "nats-url": "nats://a" }), "--fabric nats")
    assert.include(refusal({ fabric: "nats", "nats-url": "nats://a", "nats-prefix": "A.B" }), "a-z")
    assert.include(refusal({ fabric: "nats", "nats-url": "nats://a", "nats-durability": "none" }), "process-crash-only")
  })
})
