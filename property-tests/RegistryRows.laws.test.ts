/**
 * What the registry keeps its records in. Laws I1, I2: `IdRows`. S1, S2: `SharedTexts`. S3 to S5: `StoredRecords`. C1:
 * `RowChunk`.
 *
 * @module
 */
import { deserialize, serialize } from "node:v8"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { DeploymentRecord, deploymentDefaults, FunctionRecord, VersionRecord } from "../src/planes/control/Domain.ts"
import { formatId, IdRows, makeWords, parseWholeId as parseId } from "../src/planes/control/registry/IdRows.ts"
import { timeOf } from "../src/planes/control/registry/RecordText.ts"
import {
  FunctionRecords,
  makeTenants,
  NameRecord,
  NameRecords
} from "../src/planes/control/registry/RegistryRecords.ts"
import { ChunkReader, ChunkWriter, type RowChunk } from "../src/planes/control/registry/RowChunk.ts"
import { SharedTexts, SharedValues } from "../src/planes/control/registry/SharedTexts.ts"
import { DeploymentRecords, VersionRecords } from "../src/planes/control/registry/SpecRecords.ts"
import type { StoredRecords } from "../src/planes/control/registry/StoredRecords.ts"
import { upholds } from "./upholds.ts"

/** Few, so that they meet; with equal beginnings and equal ends, so that they meet in the hash too. */
const id = fc
  .tuple(fc.constantFrom("00000000", "ffffffff"), fc.constantFrom("4000-8000", "7fff-bfff"), fc.nat({ max: 40 }))
  .map(([first, middle, last]) => `${first}-0000-${middle}-${last.toString(16).padStart(12, "0")}`)

describe("rows by id", () => {
  it("I1: are the same as a map from ids to lists of values", () => {
    const change = fc.record({
      id,
      isPut: fc.boolean(),
      at: fc.double(),
      count: fc.maxSafeInteger(),
      of: id,
      part: fc.integer()
    })
    upholds(
      fc.property(fc.array(change, { maxLength: 400 }), (changes) => {
        const rows = new IdRows({ ids: 1, floats: 2, ints: 1 })
        const model = new Map<string, { at: number; count: number; of: string; part: number }>()
        const words = makeWords()
        const of = makeWords()
        for (const one of changes) {
          assert.isTrue(parseId(one.id, words))
          if (one.isPut) {
            const row = rows.take(words)
            assert.isTrue(parseId(one.of, of))
            rows.setIdField(row, 0, of)
            rows.setFloat(row, 0, one.at)
            rows.setFloat(row, 1, one.count)
            rows.setInt(row, 0, one.part)
            model.set(one.id, { at: one.at, count: one.count, of: one.of, part: one.part })
          } else {
            const row = rows.find(words)
            assert.strictEqual(row >= 0, model.delete(one.id))
            if (row >= 0) rows.remove(row)
          }
        }
        const found = new Map<string, unknown>()
        rows.forEach((row) => {
          const value = { at: rows.float(row, 0), count: rows.float(row, 1), of: rows.idField(row, 0) }
          found.set(rows.id(row), { ...value, part: rows.int(row, 0) })
          rows.readId(row, words)
          assert.strictEqual(rows.find(words), row)
        })
        assert.strictEqual(rows.size, model.size)
        assert.deepStrictEqual(new Map([...found].sort()), new Map<string, unknown>([...model].sort()))
      })
    )
  })

  it("I1: a row that is taken anew has nothing of the one before", () => {
    const rows = new IdRows({ ids: 1, floats: 1, ints: 1 })
    const words = makeWords()
    assert.isTrue(parseId("01234567-89ab-4def-8123-456789abcdef", words))
    const row = rows.take(words)
    rows.setIdField(row, 0, words)
    rows.setFloat(row, 0, 1)
    rows.setInt(row, 0, 1)
    rows.remove(row)
    const again = rows.take(words)
    assert.deepStrictEqual(
      [rows.float(again, 0), rows.int(again, 0), rows.idField(again, 0)],
      [0, 0, "00000000-0000-0000-0000-000000000000"]
    )
  })

  it("I2: a text is an id or is told to be none, and an id comes back as it was", () => {
    const words = makeWords()
    const text = fc.oneof(
      fc.uuid(),
      fc.uuid().map((uuid) => uuid.toUpperCase()),
      fc
        .tuple(fc.uuid(), fc.nat({ max: 35 }), fc.constantFrom("-", "g", "F", "\u0130", " "))
        .map(([uuid, at, odd]) => uuid.slice(0, at) + odd + uuid.slice(at + 1)),
      fc.string()
    )
    upholds(
      fc.property(text, (one) => {
        const isOne = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(one)
        assert.strictEqual(parseId(one, words), isOne)
        if (isOne) assert.strictEqual(formatId(words), one)
      })
    )
  })
})

describe("times", () => {
  it("S3: a time that is read is the one that `toISOString` writes like that, and no other text is read", () => {
    const some = fc.oneof(
      fc.date({
        min: new Date("0000-01-01T00:00:00Z"),
        max: new Date("9999-12-31T23:59:59.999Z"),
        noInvalidDate: true
      }),
      // The ends of months and of years, where days are counted wrongly.
      fc
        .tuple(
          fc.constantFrom(0, 4, 100, 400, 1900, 1969, 1970, 2000, 2023, 2024),
          fc.nat({ max: 12 }),
          fc.nat({ max: 2 })
        )
        .map(([year, month, day]) => {
          const date = new Date(0)
          date.setUTCFullYear(year, month, day)
          return date
        })
    )
    const text = fc.oneof(
      { weight: 3, arbitrary: some.map((date) => date.toISOString()) },
      {
        weight: 2,
        arbitrary: fc
          .tuple(some, fc.nat({ max: 23 }), fc.constantFrom(..."0123456789:-TZ. "))
          .map(([date, at, odd]) => date.toISOString().slice(0, at) + odd + date.toISOString().slice(at + 1))
      },
      { weight: 1, arbitrary: fc.string() }
    )
    upholds(
      fc.property(text, (one) => {
        const ms = Date.parse(one)
        const isOne = one.length === 24 && Number.isFinite(ms) && new Date(ms).toISOString() === one
        assert.strictEqual(timeOf(one), isOne ? ms : undefined)
      }),
      { numRuns: 3_000 }
    )
  })
})

describe("texts that many have", () => {
  it("S1, S2: equal ones have one number, which stands for the same as long as somebody has it", () => {
    const change = fc.record({ text: fc.constantFrom("", "a", "b", "\ud800", "ä", "{}"), isTaken: fc.boolean() })
    upholds(
      fc.property(fc.array(change, { maxLength: 100 }), (changes) => {
        const shared = new SharedTexts()
        const model = new Map<string, { number: number; owners: number }>()
        for (const { text, isTaken } of changes) {
          const known = model.get(text)
          if (isTaken) {
            const number = shared.take(text)
            if (known === undefined) {
              assert.isFalse([...model.values()].some((one) => one.number === number))
              model.set(text, { number, owners: 1 })
            } else {
              assert.strictEqual(number, known.number)
              known.owners += 1
            }
          } else if (known !== undefined) {
            known.owners -= 1
            assert.strictEqual(shared.release(known.number), known.owners === 0)
            if (known.owners === 0) model.delete(text)
          }
          for (const [text, { number }] of model) assert.strictEqual(shared.text(number), text)
          assert.strictEqual(shared.size, model.size)
          assert.strictEqual(shared.find("a"), model.get("a")?.number)
        }
      })
    )
  })

  it("S2: a number that stands for another text does not answer the value of the one before", () => {
    const values = new SharedValues((text) => ({ text }))
    const first = values.take("one")
    assert.strictEqual(values.value(first).text, "one")
    assert.strictEqual(values.value(first), values.value(first))
    assert.isTrue(values.release(first))
    assert.strictEqual(values.value(values.take("two")).text, "two")
  })
})

describe("stored records", () => {
  const ids = ["0", "1", "2"].map((last) => `00000000-0000-4000-8000-00000000000${last}`)
  const someId = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...ids) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "FFFFFFFF-0000-4000-8000-000000000000",
        "no id",
        "00000000-0000-0000-0000-000000000000"
      )
    }
  )
  const tenant = fc.constantFrom("default", "", "a/b", 'with ,"spec":{ in it', "\ud800")
  const createdAt = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom("2026-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z") },
    { weight: 1, arbitrary: fc.constantFrom("2026-01-01T00:00:00Z", "yesterday", "", "2026-02-30T00:00:00.000Z") }
  )
  const count = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 5 }) },
    { weight: 1, arbitrary: fc.constantFrom(-0, 0, 1.5, Number.MAX_SAFE_INTEGER, 1e300, "1") }
  )
  const versionSpec = fc.record(
    {
      command: fc.constantFrom(["a"], [], ["b", "c"]),
      image: fc.constantFrom("x", ""),
      environment: fc.constantFrom({}, { A: "1" }, { "1": "no name" }),
      durability: fc.constantFrom("accepted", "never"),
      inferencePath: fc.constant("/")
    },
    { requiredKeys: ["command", "environment", "durability", "inferencePath"] }
  )
  const older = ({ redeliveryDelayMs: _, ...rest }: typeof deploymentDefaults) => rest
  const deploymentSpec = fc.constantFrom<object>(
    deploymentDefaults,
    { ...deploymentDefaults, minInstances: 3 },
    { ...deploymentDefaults, minInstances: 9 },
    { ...deploymentDefaults, policy: { name: "keda" } },
    older(deploymentDefaults),
    { ...deploymentDefaults, more: 1 }
  )

  /** As it is written; now and then as somebody else would write it, or as a disk would spoil it. */
  const written = <A extends object>(record: fc.Arbitrary<A>): fc.Arbitrary<string> =>
    fc.oneof(
      { weight: 8, arbitrary: record.map((value) => JSON.stringify(value)) },
      { weight: 1, arbitrary: record.map((value) => JSON.stringify(value, null, 1)) },
      {
        weight: 1,
        arbitrary: record.map((value) => JSON.stringify(Object.fromEntries(Object.entries(value).reverse())))
      },
      { weight: 1, arbitrary: record.map((value) => JSON.stringify({ ...value, more: { spec: {} } })) },
      {
        weight: 1,
        arbitrary: fc.tuple(record, fc.nat({ max: 700 })).map(([value, at]) => {
          const text = JSON.stringify(value)
          return text.slice(0, at % text.length) + text.slice((at % text.length) + 1)
        })
      },
      { weight: 1, arbitrary: fc.constantFrom("", "null", "[]", "{}", '{"spec":{}}', '{"a":1,"spec":{}}') }
    )

  const holds = <A extends object>(
    name: string,
    schema: Schema.Codec<A, unknown>,
    record: fc.Arbitrary<object>,
    make: () => StoredRecords<A>
  ) =>
    it(`S3, S4, S5: ${name} are read as the schema decodes what was put last, and what it refuses is told and is not there`, () => {
      const encode = Schema.encodeSync(Schema.fromJsonString(schema))
      const decode = Schema.decodeUnknownResult(Schema.fromJsonString(schema))
      const change = fc.record({ id: someId, text: fc.option(written(record), { freq: 6 }) })
      let readable = 0
      let refused = 0
      upholds(
        fc.property(fc.array(change, { maxLength: 30 }), fc.integer({ min: 1, max: 3 }), (changes, rowsMax) => {
          const records = make()
          const model = new Map<string, { readonly value: A; readonly revision: number }>()
          for (const [revision, { id, text }] of changes.entries()) {
            model.delete(id)
            if (text === null) records.remove(id)
            else {
              const wanted = decode(text)
              const reason = records.put(id, text, revision)
              if (Result.isSuccess(wanted)) {
                model.set(id, { value: wanted.success, revision })
                readable += 1
                assert.isUndefined(reason)
              } else {
                refused += 1
                assert.strictEqual(reason, wanted.failure.message)
              }
            }
            for (const id of [...ids, "no id"]) assert.deepStrictEqual(records.get(id), model.get(id))
            assert.strictEqual(records.size, model.size)
            assert.sameMembers([...records.ids()], [...model.keys()])
          }
          const copy = make()
          let copied = 0
          for (const chunk of records.chunks(rowsMax, encode)) {
            if (chunk.form === "usual") assert.isAtMost(chunk.count, rowsMax)
            copied += chunk.count
            // As a file has it, and in place of what is there already.
            const fromFile = deserialize(serialize(chunk))
            for (const _ of [1, 2]) assert.deepStrictEqual(copy.putChunk(fromFile), [])
          }
          assert.strictEqual(copied, model.size)
          assert.strictEqual(copy.size, model.size)
          for (const [id, value] of model) assert.deepStrictEqual(copy.get(id), value)
        })
      )
      assert.isAbove(Math.min(readable, refused), 50)
    })

  const function_ = fc.record({
    id: someId,
    tenant,
    name: fc.constantFrom("f", "g", "No", "a-b"),
    createdAt,
    activeVersionId: fc.option(someId)
  })
  const version = fc.record({ id: someId, functionId: someId, tenant, number: count, createdAt, spec: versionSpec })
  const deployment = fc.record({
    versionId: someId,
    functionId: someId,
    tenant,
    generation: count,
    createdAt,
    spec: deploymentSpec
  })
  holds("functions", FunctionRecord, function_, () => new FunctionRecords(makeTenants(), new NameRecords()))
  holds("names", NameRecord, fc.record({ functionId: fc.oneof(someId, fc.constant(1)) }), () => new NameRecords())
  holds("versions", VersionRecord, version, () => new VersionRecords(makeTenants()))
  holds("deployments", DeploymentRecord, deployment, () => new DeploymentRecords(makeTenants()))

  it("S4: a spec in a chunk that the schema refuses is told, and the others are there", () => {
    const [first = "", second = "", third = ""] = ids
    const versions = new VersionRecords(makeTenants())
    const spec = { command: ["a"], environment: {}, durability: "accepted", inferencePath: "/" }
    for (const [id, command] of [
      [first, ["a"]],
      [second, ["b"]],
      [third, ["a"]]
    ] as const) {
      const record = { id, functionId: first, tenant: "t", number: 1, createdAt: "2026-01-01T00:00:00.000Z" }
      assert.isUndefined(versions.put(id, JSON.stringify({ ...record, spec: { ...spec, command } }), 1))
    }
    const [chunk] = [...versions.chunks(9, () => "")]
    assert.isDefined(chunk)
    const shared = chunk!.shared.map((text) => text.replace('["b"]', '"b"'))
    const copy = new VersionRecords(makeTenants())
    const unreadable = copy.putChunk({ ...chunk!, shared })
    assert.deepStrictEqual(
      unreadable.map(({ id }) => id),
      [second]
    )
    assert.include(unreadable[0]?.reason, "command")
    assert.sameMembers([...copy.ids()], [first, third])
    assert.deepStrictEqual(copy.get(third), versions.get(third))
    assert.sameMembers([...copy.of(first)], [first, third])
  })

  it("C1: columns come back in the order of the writing", () => {
    const cell = fc.oneof(
      fc.record({ kind: fc.constant("id" as const), value: id }),
      fc.record({ kind: fc.constant("number" as const), value: fc.double() }),
      fc.record({
        kind: fc.constantFrom("text" as const, "shared" as const),
        value: fc.constantFrom("", "a", "é", "日")
      })
    )
    upholds(
      fc.property(fc.array(cell, { maxLength: 60 }), (cells) => {
        const words = makeWords()
        const writer = new ChunkWriter()
        for (const one of cells) {
          if (one.kind === "number") writer.number(one.value)
          else if (one.kind === "id") writer.id(parseId(one.value, words) ? words : words)
          else writer[one.kind](one.value)
          writer.next()
        }
        const chunk: RowChunk = deserialize(serialize(writer.chunk()))
        assert.strictEqual(new Set(chunk.shared).size, chunk.shared.length)
        const reader = new ChunkReader(chunk)
        assert.strictEqual(reader.count, cells.length)
        for (const { kind, value } of cells) {
          if (kind === "id") {
            reader.id(words)
            assert.strictEqual(formatId(words), value)
          } else assert.isTrue(Object.is(reader[kind](), value))
        }
      })
    )
  })

  it("S3: the versions of a function come in order of their numbers, in whatever order and form they were put", () => {
    const change = fc.record({
      id: fc.constantFrom(...ids, "FFFFFFFF-0000-4000-8000-00000000000a"),
      functionId: fc.constantFrom(...ids.slice(1)),
      number: fc.uniqueArray(fc.nat({ max: 9 }), { minLength: 1, maxLength: 1 }).map(([number]) => number ?? 0),
      isThere: fc.boolean()
    })
    upholds(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const records = new VersionRecords(makeTenants())
        const model = new Map<string, { readonly functionId: string; readonly number: number }>()
        for (const [index, { id, functionId, number, isThere }] of changes.entries()) {
          model.delete(id)
          if (isThere) {
            const spec = { command: ["a"], environment: {}, durability: "accepted", inferencePath: "/" }
            const record = { id, functionId, tenant: "t", number, createdAt: "2026-01-01T00:00:00.000Z", spec }
            assert.isUndefined(records.put(id, JSON.stringify(record), index))
            model.set(id, { functionId, number })
          } else records.remove(id)
          for (const owner of ids) {
            const wanted = [...model].filter(([, one]) => one.functionId === owner)
            const found = records.of(owner)
            assert.sameMembers(
              [...found],
              wanted.map(([id]) => id)
            )
            const numbers = found.map((id) => model.get(id)?.number ?? -1)
            assert.deepStrictEqual(
              numbers,
              numbers.toSorted((one, other) => one - other)
            )
          }
        }
      })
    )
  })

  it("S3: whose function is gone, and what is deployed how, is told of every record", () => {
    const tenants = makeTenants()
    const names = new NameRecords()
    const functions = new FunctionRecords(tenants, names)
    const [first = "", second = "", third = ""] = ids
    const at = "2026-01-01T00:00:00.000Z"
    const put = (id: string, name: string) =>
      functions.put(id, JSON.stringify({ id, tenant: "t", name, createdAt: at, activeVersionId: null }), 1)
    for (const [id, name] of [
      [first, "f"],
      [second, "f"],
      [third, "g"]
    ] as const)
      assert.isUndefined(put(id, name))
    names.put("t/f", JSON.stringify({ functionId: first }), 1)
    assert.deepStrictEqual(
      functions.withoutName().map(({ id }) => id),
      [second, third]
    )
    const deployments = new DeploymentRecords(tenants)
    for (const [id, minInstances] of [
      [first, 0],
      [second, 1],
      [third, 1]
    ] as const) {
      const spec = { ...deploymentDefaults, minInstances }
      const record = { versionId: id, functionId: first, tenant: "t", generation: 1, createdAt: at, spec }
      assert.isUndefined(deployments.put(id, JSON.stringify(record), 1))
    }
    let asked = 0
    const wanted = deployments.versionIds("t", ({ minInstances }) => {
      asked += 1
      return minInstances > 0
    })
    assert.deepStrictEqual(wanted, [second, third])
    assert.strictEqual(asked, 2)
    assert.deepStrictEqual(
      deployments.versionIds("another", () => true),
      []
    )
  })
})
