/**
 * A log as an array, and the commands that compare it with a real one.
 *
 * Batches are small and positions collide on purpose: about a third of the appends are at a wrong position, a fifth of
 * the commands truncate, and one in ten reopens.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert } from "vitest"
import { Log } from "../../src/planes/fabric/Log.ts"
import type { OpenFabric } from "./FabricMaker.ts"

interface ShardModel {
  records: Array<Buffer>
  /** No record at or after this position may be missing. */
  truncatedTo: number
  snapshot: { readonly position: number; readonly bytes: Buffer } | undefined
}

export type Model = ReadonlyArray<ShardModel>

export interface Real {
  fabric: OpenFabric
  readonly reopen: () => Promise<OpenFabric>
  /** Keeps the shards of one run apart from those of the others. */
  readonly run: number
}

const shardCount = 2

export const empty = (): Model =>
  Array.from({ length: shardCount }, () => ({ records: [], truncatedTo: 0, snapshot: undefined }))

const nameOf = (real: Real, shard: number) => `model-${real.run}-${shard}`

const checkReadable = async (model: ShardModel, real: Real, name: string, from: number, limit: number) => {
  const { first, end } = await real.fabric.run(Log.use((log) => log.bounds(name)))
  assert.strictEqual(end, model.records.length)
  assert.isAtMost(first, model.truncatedTo, "records went that nobody truncated")
  const position = Math.max(from, first)
  const records = await real.fabric.run(Log.use((log) => log.read(name, position, limit)))
  const expected = model.records.slice(position, position + limit)
  assert.isAtMost(records.length, expected.length)
  if (expected.length > 0) assert.isAbove(records.length, 0, "an empty answer means the end, and this is not the end")
  for (const [index, record] of records.entries()) {
    assert.strictEqual(record.position, position + index)
    assert.isTrue(expected[index]!.equals(record.bytes), `the bytes at ${position + index} differ`)
  }
}

class Append implements fc.AsyncCommand<Model, Real> {
  readonly shard: number
  readonly records: ReadonlyArray<Buffer>
  readonly offset: number
  constructor(shard: number, records: ReadonlyArray<Buffer>, offset: number) {
    this.shard = shard
    this.records = records
    this.offset = offset
  }
  check = () => true
  async run(model: Model, real: Real) {
    const shard = model[this.shard]!
    const position = Math.max(0, shard.records.length + this.offset)
    const result = await real.fabric.run(
      Log.use((log) => Effect.result(log.append(nameOf(real, this.shard), position, this.records)))
    )
    if (position === shard.records.length) {
      shard.records.push(...this.records)
      assert.deepStrictEqual(result._tag === "Success" ? result.success : result.failure, shard.records.length)
    } else {
      assert.strictEqual(result._tag === "Failure" ? result.failure._tag : "Success", "PositionConflict")
    }
  }
  toString = () =>
    `append(${this.shard}, ${this.records.length} records, end ${this.offset >= 0 ? "+" : ""}${this.offset})`
}

class Read implements fc.AsyncCommand<Model, Real> {
  readonly shard: number
  readonly share: number
  readonly limit: number
  constructor(shard: number, share: number, limit: number) {
    this.shard = shard
    this.share = share
    this.limit = limit
  }
  check = () => true
  async run(model: Model, real: Real) {
    const shard = model[this.shard]!
    const from = Math.floor(shard.records.length * this.share)
    await checkReadable(shard, real, nameOf(real, this.shard), from, this.limit)
  }
  toString = () => `read(${this.shard}, from ${this.share}, ${this.limit})`
}

class Truncate implements fc.AsyncCommand<Model, Real> {
  readonly shard: number
  readonly share: number
  constructor(shard: number, share: number) {
    this.shard = shard
    this.share = share
  }
  check = () => true
  async run(model: Model, real: Real) {
    const shard = model[this.shard]!
    const position = Math.floor(shard.records.length * this.share)
    await real.fabric.run(Log.use((log) => log.truncate(nameOf(real, this.shard), position)))
    shard.truncatedTo = Math.max(shard.truncatedTo, position)
    await checkReadable(shard, real, nameOf(real, this.shard), 0, 1000)
  }
  toString = () => `truncate(${this.shard}, ${this.share})`
}

class Snapshot implements fc.AsyncCommand<Model, Real> {
  readonly shard: number
  readonly bytes: Buffer
  constructor(shard: number, bytes: Buffer) {
    this.shard = shard
    this.bytes = bytes
  }
  check = () => true
  async run(model: Model, real: Real) {
    const shard = model[this.shard]!
    const snapshot = { position: shard.records.length, bytes: this.bytes }
    await real.fabric.run(Log.use((log) => log.saveSnapshot(nameOf(real, this.shard), snapshot)))
    shard.snapshot = snapshot
  }
  toString = () => `snapshot(${this.shard}, ${this.bytes.byteLength} bytes)`
}

class Reopen implements fc.AsyncCommand<Model, Real> {
  check = () => true
  async run(model: Model, real: Real) {
    await real.fabric.close()
    real.fabric = await real.reopen()
    for (const [index, shard] of model.entries()) {
      const name = nameOf(real, index)
      await checkReadable(shard, real, name, 0, 1000)
      const snapshot = await real.fabric.run(Log.use((log) => log.loadSnapshot(name)))
      assert.strictEqual(snapshot?.position, shard.snapshot?.position)
      if (snapshot !== undefined) assert.isTrue(shard.snapshot?.bytes.equals(snapshot.bytes))
    }
  }
  toString = () => "reopen"
}

const shards = fc.nat({ max: shardCount - 1 })
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
const shares = fc.constantFrom(0, 0.3, 0.5, 0.9, 1)
const offsets = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1, 5) })

const appends = fc
  .tuple(shards, fc.array(bytes, { minLength: 1, maxLength: 8 }), offsets)
  .map((tuple): fc.AsyncCommand<Model, Real> => new Append(...tuple))
const reads = fc.tuple(shards, shares, fc.integer({ min: 1, max: 10 })).map((tuple) => new Read(...tuple))
const truncates = fc.tuple(shards, shares).map((tuple) => new Truncate(...tuple))
const snapshots = fc.tuple(shards, bytes).map((tuple) => new Snapshot(...tuple))

/** One of each kind is as likely as any other, so the share of a kind is how often it stands here. */
export const commands = fc.commands(
  [appends, appends, appends, reads, reads, truncates, truncates, snapshots, snapshots, fc.constant(new Reopen())],
  { maxCommands: 40 }
)
