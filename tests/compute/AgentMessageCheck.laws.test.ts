/**
 * The checks written by hand beside the schemas that have the last word.
 *
 * Values are messages as their schema describes them, then spoilt in one place: a field left out, of another kind, unknown, or odd.
 */

import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as AgentMessage from "../../src/planes/compute/AgentMessage.ts"
import * as AgentMessageCheck from "../../src/planes/compute/AgentMessageCheck.ts"
import type { Read } from "../../src/planes/fabric/Message.ts"

const int = fc.oneof(fc.integer(), fc.constantFrom(0, -1, Number.MAX_SAFE_INTEGER))
const number = fc.oneof(int, fc.double({ noNaN: true, noDefaultInfinity: true }))
const name = fc.oneof(fc.constantFrom("a", "", "__proto__", "toString"), fc.string({ maxLength: 6 }))
const record = <A>(value: fc.Arbitrary<A>) => fc.dictionary(fc.oneof(fc.constantFrom("a", "b"), fc.string()), value)

/** An order with one of these is always read by its schema. */
const leftToSchema: ReadonlySet<string> = new Set(["chart", "health"])

/** Messages as a schema describes them, so that a new field is in the laws as soon as it is there. */
const described = (ast: SchemaAST.AST): fc.Arbitrary<unknown> => {
  switch (ast._tag) {
    case "String":
      return name
    case "Number":
      // The only check of a number in these schemas is that it is whole.
      return ast.checks === undefined ? number : int
    case "Boolean":
      return fc.boolean()
    case "Null":
      return fc.constant(null)
    case "Literal":
      return fc.constant(ast.literal)
    case "Union":
      return fc.oneof(...ast.types.map(described))
    case "Arrays":
      return fc.array(fc.oneof(...ast.rest.map(described)), { maxLength: 2 })
    case "Objects": {
      const [index] = ast.indexSignatures
      if (index !== undefined) return record(described(index.type))
      const all = ast.propertySignatures.map(({ name, type }) => ({ name: String(name), type }))
      const fields = all.filter(({ name }) => !leftToSchema.has(name))
      const requiredKeys = fields.filter(({ type }) => type.context?.isOptional !== true).map(({ name }) => name)
      return fc.record(Object.fromEntries(fields.map(({ name, type }) => [name, described(type)])), { requiredKeys })
    }
    default:
      throw new Error(`it is not known how a ${ast._tag} is drawn`)
  }
}

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
  schema: Schema.Codec<A, I>,
  check: { readonly is: (value: unknown) => boolean; readonly read: Read<A> }
) =>
  describe(what, () => {
    const message = described(schema.ast)
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

laws("an order to create", AgentMessage.CreateInstance, {
  is: AgentMessageCheck.isCreateInstance,
  read: AgentMessageCheck.create
})
laws("an order to end", AgentMessage.TerminateInstance, {
  is: AgentMessageCheck.isTerminateInstance,
  read: AgentMessageCheck.terminate
})
laws("a report of an agent", AgentMessage.AgentReport, {
  is: AgentMessageCheck.isAgentReport,
  read: AgentMessageCheck.agentReport
})
laws("a report of a worker", AgentMessage.WorkerReport, {
  is: AgentMessageCheck.isWorkerReport,
  read: AgentMessageCheck.workerReport
})
laws("a report of demand", AgentMessage.DemandReport, {
  is: AgentMessageCheck.isDemandReport,
  read: AgentMessageCheck.demandReport
})
