/**
 * The checks written by hand beside the schemas that have the last word.
 *
 * Values are messages as they are sent, then spoilt in one place: a field left out, of another kind, unknown, or odd.
 */

import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as AgentMessage from "../../src/planes/compute/AgentMessage.ts"
import * as AgentMessageCheck from "../../src/planes/compute/AgentMessageCheck.ts"

const int = fc.oneof(fc.integer(), fc.constantFrom(0, -1, Number.MAX_SAFE_INTEGER))
const number = fc.oneof(int, fc.double({ noNaN: true, noDefaultInfinity: true }))
const orNull = <A>(value: fc.Arbitrary<A>) => fc.option(value, { nil: null })
const name = fc.oneof(fc.constantFrom("a", "", "__proto__", "toString"), fc.string({ maxLength: 6 }))
const record = <A>(value: fc.Arbitrary<A>) => fc.dictionary(fc.oneof(fc.constantFrom("a", "b"), fc.string()), value)

const create = fc.record(
  {
    instanceId: name,
    tenant: name,
    functionId: name,
    functionName: name,
    versionId: name,
    generation: int,
    command: fc.array(name, { maxLength: 2 }),
    image: name,
    workingDirectory: name,
    environment: record(name),
    concurrency: int,
    gpu: fc.record({ kind: name, count: int }),
    instanceType: name,
    cpuMillis: int,
    memoryBytes: int,
    startDeadlineMs: int,
    graceMs: int,
    decidedAtMs: number,
    epoch: int,
    reason: name
  },
  {
    requiredKeys: [
      "instanceId",
      "tenant",
      "functionId",
      "functionName",
      "versionId",
      "generation",
      "command",
      "environment",
      "concurrency",
      "gpu",
      "instanceType",
      "cpuMillis",
      "memoryBytes",
      "startDeadlineMs",
      "graceMs",
      "decidedAtMs",
      "reason"
    ]
  }
)
const terminate = fc.record(
  { instanceId: name, versionId: name, drainMs: int, graceMs: int, epoch: int, reason: name },
  { requiredKeys: ["instanceId", "versionId", "drainMs", "graceMs", "reason"] }
)
const instance = fc.record({
  instanceId: name,
  functionId: name,
  versionId: name,
  generation: int,
  cluster: name,
  state: fc.constantFrom("requested", "starting", "ready", "draining", "stopped", "failed"),
  phase: name,
  requestedAtMs: number,
  startedAtMs: orNull(number),
  readyAtMs: orNull(number),
  endedAtMs: orNull(number),
  pid: orNull(int),
  detail: name,
  retryable: fc.boolean()
})
const agent = fc.oneof(
  fc.record(
    { _tag: fc.constant("InstanceChanged"), cluster: name, agentEpoch: int, instance },
    { requiredKeys: ["_tag", "cluster", "instance"] }
  ),
  fc.record(
    {
      _tag: fc.constant("Heartbeat"),
      cluster: name,
      agentEpoch: int,
      region: name,
      group: name,
      attributes: fc.array(name, { maxLength: 2 }),
      compliance: fc.array(name, { maxLength: 2 }),
      backend: name,
      isolation: name,
      instanceTypes: fc.array(fc.record({ name, gpuKind: name, gpuCount: int, total: int, free: int }), {
        maxLength: 2
      }),
      instances: fc.array(instance, { maxLength: 2 })
    },
    { requiredKeys: ["_tag", "cluster", "region", "backend", "isolation", "instanceTypes", "instances"] }
  )
)
const worker = fc.oneof(
  fc.record({
    _tag: fc.constant("WorkerReady"),
    instanceId: name,
    versionId: name,
    slots: int,
    phases: fc.record({ processMs: number, initialiseMs: number, connectMs: number })
  }),
  fc.record({ _tag: fc.constantFrom("WorkerDraining", "WorkerGone"), instanceId: name, versionId: name }),
  fc.record({ _tag: fc.constant("WorkerHolds"), instanceId: name, versionId: name, forMs: number })
)
const demand = fc.record({
  shard: name,
  versionId: name,
  pending: int,
  leased: int,
  leasedByInstance: record(int),
  arrivalsTotal: int,
  oldestPendingMs: orNull(number)
})

const odd = fc.constantFrom<unknown>(
  null,
  "",
  "1",
  0,
  1.5,
  -1,
  1e300,
  2 ** 53,
  true,
  [],
  {},
  ["a"],
  [1],
  { a: 1 },
  { a: "b" }
)

/** One place of a message, however deep, becomes something odd, goes, or gets a neighbour that nobody knows. */
const spoil = (value: unknown, path: number, what: unknown, how: "put" | "drop" | "add"): unknown => {
  if (typeof value !== "object" || value === null) return what
  const keys = Object.keys(value)
  const key = keys[path % Math.max(1, keys.length)]
  if (key === undefined || how === "add") return Array.isArray(value) ? [...value, what] : { ...value, unknown: what }
  const rest = Math.floor(path / keys.length)
  // Only read: what an object has under a key of its own.
  const inner = (value as Record<string, unknown>)[key]
  if (typeof inner === "object" && inner !== null && rest % 2 === 1) {
    return Object.assign(Array.isArray(value) ? [...value] : { ...value }, {
      [key]: spoil(inner, rest >> 1, what, how)
    })
  }
  if (how === "drop" && !Array.isArray(value))
    return Object.fromEntries(Object.entries(value).filter(([one]) => one !== key))
  return Object.assign(Array.isArray(value) ? [...value] : { ...value }, { [key]: what })
}

const spoilt = (message: fc.Arbitrary<unknown>) =>
  fc.oneof(
    message,
    fc
      .tuple(message, fc.nat({ max: 10_000 }), odd, fc.constantFrom("put" as const, "drop" as const, "add" as const))
      .map(([value, path, what, how]) => spoil(value, path, what, how)),
    odd
  )

const laws = <A, I>(
  what: string,
  message: fc.Arbitrary<unknown>,
  schema: Schema.Codec<A, I>,
  check: { readonly is: (value: unknown) => boolean; readonly read: AgentMessageCheck.Read<A> }
) =>
  describe(what, () => {
    const decode = Schema.decodeUnknownResult(schema)
    const overWire = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

    it("D1: what the check takes, the schema takes as the same value but for fields that nobody knows", () => {
      fc.assert(
        fc.property(spoilt(message), (value) => {
          const given = overWire(value)
          if (!check.is(given)) return
          const decoded = decode(given)
          expect(Result.isSuccess(decoded)).toBe(true)
          if (Result.isSuccess(decoded)) expect(given).toMatchObject(overWire(decoded.success) as object)
        }),
        { numRuns: 400 }
      )
    })

    it("D2: what the schema writes, the check takes", () => {
      fc.assert(
        fc.property(message, (value) => {
          const decoded = decode(overWire(value))
          expect(Result.isSuccess(decoded)).toBe(true)
          if (Result.isSuccess(decoded)) expect(check.is(overWire(decoded.success))).toBe(true)
        }),
        { numRuns: 200 }
      )
    })

    it("D1: read from bytes, a message is accepted exactly when the schema accepts it", () => {
      let refused = 0
      fc.assert(
        fc.property(spoilt(message), (value) => {
          const isAccepted = Result.isSuccess(decode(overWire(value)))
          if (!isAccepted) refused++
          expect(Result.isSuccess(check.read(Buffer.from(JSON.stringify(value))))).toBe(isAccepted)
        }),
        { numRuns: 400 }
      )
      // A law whose messages are all good would say nothing.
      expect(refused).toBeGreaterThan(40)
    })

    it("bytes that are no JSON are refused with the reason", () => {
      const result = check.read(Buffer.from("{"))
      expect(Result.isFailure(result) && result.failure).toContain("it is no JSON")
    })
  })

laws("an order to create", create, AgentMessage.CreateInstance, {
  is: AgentMessageCheck.isCreateInstance,
  read: AgentMessageCheck.create
})
laws("an order to end", terminate, AgentMessage.TerminateInstance, {
  is: AgentMessageCheck.isTerminateInstance,
  read: AgentMessageCheck.terminate
})
laws("a report of an agent", agent, AgentMessage.AgentReport, {
  is: AgentMessageCheck.isAgentReport,
  read: AgentMessageCheck.agentReport
})
laws("a report of a worker", worker, AgentMessage.WorkerReport, {
  is: AgentMessageCheck.isWorkerReport,
  read: AgentMessageCheck.workerReport
})
laws("a report of demand", demand, AgentMessage.DemandReport, {
  is: AgentMessageCheck.isDemandReport,
  read: AgentMessageCheck.demandReport
})
