/**
 * Functions, their names and their counters, kept as small as they can be read from. With a version and its deployment
 * (`SpecRecords`) a function takes about 400 bytes, beside its specs. Laws: see `StoredRecords`.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { type FunctionId, FunctionRecord, type VersionId } from "../Domain.ts"
import { formatId, IdRows, type IdWords, makeWords, parseWholeId } from "./IdRows.ts"
import { RecordText, timeOf } from "./RecordText.ts"
import type { ChunkReader, ChunkWriter } from "./RowChunk.ts"
import { flat, SharedTexts } from "./SharedTexts.ts"
import { type Stored, StoredRecords } from "./StoredRecords.ts"

/** Who owns a name. A function exists as long as a name says so; a record without one is what a cut-off change left. */
export const NameRecord = Schema.Struct({ functionId: Schema.String })
export type NameRecord = typeof NameRecord.Type

export const nameKey = (tenant: string, name: string): string => `${tenant}/${name}`

const decoderOf = <A, E>(schema: Schema.Codec<A, E>) => Schema.decodeUnknownResult(Schema.fromJsonString(schema))

/** Ids on their way between texts and rows; nothing is kept in them from one call to the next. */
const wanted = makeWords()
const other = makeWords()

const reading = new RecordText()

const isSame = (one: IdWords, other: IdWords): boolean =>
  one[0] === other[0] && one[1] === other[1] && one[2] === other[2] && one[3] === other[3]

const iso = (ms: number): string => new Date(ms).toISOString()

// What the schema checks of a name; see `FunctionRecord`.
const usualName = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

// An id that was packed had the usual form, which is one of those that the schema takes.
const functionIdOf = (text: string) => text as FunctionId
const versionIdOf = (text: string) => text as VersionId

/** Tenants of all records. */
export const makeTenants = (): SharedTexts => new SharedTexts()

export class FunctionRecords extends StoredRecords<FunctionRecord> {
  readonly #rows = new IdRows({ ids: 1, floats: 2, ints: 2 })
  /** By row; the same text as in `NameRecords`. */
  readonly #keys: Array<string> = []
  readonly #tenants: SharedTexts
  readonly #names: NameRecords

  constructor(tenants: SharedTexts, names: NameRecords) {
    super(decoderOf(FunctionRecord))
    this.#tenants = tenants
    this.#names = names
    names.shareWith((id) => {
      const row = this.#rows.find(id)
      return row < 0 ? undefined : this.#keys[row]
    })
  }

  /** Those whose name points to another function or to none. */
  withoutName(): ReadonlyArray<FunctionRecord> {
    const found: Array<FunctionRecord> = []
    this.#rows.forEach((row) => {
      this.#rows.readId(row, other)
      if (!this.#names.isOwner(this.#keys[row]!, other)) found.push(this.#read(row, this.#rows.id(row)).value)
    })
    for (const [id, { value }] of this.odd()) {
      if (this.#names.get(nameKey(value.tenant, value.name))?.value.functionId !== id) found.push(value)
    }
    return found
  }

  /** Undefined: it has not the usual form, or is not there. */
  hasName(id: IdWords): boolean | undefined {
    const row = this.#rows.find(id)
    return row < 0 ? undefined : this.#names.isOwner(this.#keys[row]!, id)
  }

  protected isPacked(id: string): boolean {
    return parseWholeId(id, wanted) && this.#rows.find(wanted) >= 0
  }

  protected packedCount(): number {
    return this.#rows.size
  }

  protected packedIds(): Iterable<string> {
    return this.#rows.ids()
  }

  protected packText(id: string, text: string, revision: number): boolean {
    if (!parseWholeId(id, wanted)) return false
    reading.begin(text)
    reading.expect('{"id":"')
    reading.id(other)
    const isOwn = isSame(wanted, other)
    reading.expect('","tenant":"')
    const tenant = reading.string()
    reading.expect('","name":"')
    const name = reading.string()
    reading.expect('","createdAt":"')
    const createdAtMs = reading.time()
    reading.expect('","activeVersionId":')
    const hasActive = !reading.has("null}")
    if (hasActive) {
      reading.expect('"')
      reading.id(other)
      reading.expect('"}')
    } else reading.expect("null}")
    if (!reading.isAsWritten() || !reading.isAtEnd() || !isOwn || !usualName.test(name)) return false
    const before = this.#rows.find(wanted)
    if (before >= 0) this.#forget(before)
    this.#pack({ tenant, key: flat(nameKey(tenant, name)), createdAtMs, hasActive, revision })
    return true
  }

  protected packRecord(id: string, record: FunctionRecord, _text: string, revision: number): boolean {
    const { tenant, name, activeVersionId } = record
    const createdAtMs = timeOf(record.createdAt)
    const hasActive = activeVersionId !== null
    if (createdAtMs === undefined || record.id !== id || !parseWholeId(id, wanted)) return false
    if (hasActive && !parseWholeId(activeVersionId, other)) return false
    this.#pack({ tenant, key: flat(nameKey(tenant, name)), createdAtMs, hasActive, revision })
    return true
  }

  /** The id is in `wanted`, the active version in `other`. */
  #pack(record: {
    readonly tenant: string
    readonly key: string
    readonly createdAtMs: number
    readonly hasActive: boolean
    readonly revision: number
  }): void {
    const row = this.#rows.take(wanted)
    if (record.hasActive) this.#rows.setIdField(row, 0, other)
    this.#rows.setInt(row, 0, this.#tenants.take(record.tenant))
    this.#rows.setInt(row, 1, record.hasActive ? 1 : 0)
    this.#rows.setFloat(row, 0, record.createdAtMs)
    this.#rows.setFloat(row, 1, record.revision)
    this.#keys[row] = record.key
  }

  protected unpack(id: string): Stored<FunctionRecord> | undefined {
    const row = parseWholeId(id, wanted) ? this.#rows.find(wanted) : -1
    return row < 0 ? undefined : this.#read(row, id)
  }

  #read(row: number, id: string): Stored<FunctionRecord> {
    const tenant = this.#tenants.text(this.#rows.int(row, 0))
    const value: FunctionRecord = {
      id: functionIdOf(id),
      tenant,
      name: this.#keys[row]!.slice(tenant.length + 1),
      createdAt: iso(this.#rows.float(row, 0)),
      activeVersionId: this.#rows.int(row, 1) === 0 ? null : versionIdOf(this.#rows.idField(row, 0))
    }
    return { value, revision: this.#rows.float(row, 1) }
  }

  protected unpackAndForget(id: string): void {
    const row = parseWholeId(id, wanted) ? this.#rows.find(wanted) : -1
    if (row >= 0) this.#forget(row)
  }

  protected writePacked(into: ChunkWriter, from: number, rowsMax: number): number {
    const rows = this.#rows
    let row = rows.nextRow(from)
    for (; row >= 0 && into.count < rowsMax; row = rows.nextRow(row + 1)) {
      rows.readId(row, wanted)
      rows.readIdField(row, 0, other)
      into.id(wanted)
      into.id(other)
      into.shared(this.#tenants.text(rows.int(row, 0)))
      into.number(rows.int(row, 1))
      into.number(rows.float(row, 0))
      into.number(rows.float(row, 1))
      into.text(this.#keys[row]!)
      into.next()
    }
    return row
  }

  protected packNext(from: ChunkReader): undefined {
    from.id(wanted)
    from.id(other)
    const tenant = from.shared()
    const hasActive = from.number() === 1
    const createdAtMs = from.number()
    const revision = from.number()
    const before = this.#rows.find(wanted)
    if (before >= 0) this.#forget(before)
    this.#pack({ tenant, key: from.text(), createdAtMs, hasActive, revision })
  }

  #forget(row: number): void {
    this.#tenants.release(this.#rows.int(row, 0))
    this.#keys[row] = ""
    this.#rows.remove(row)
  }
}

/** By `nameKey`. */
export class NameRecords extends StoredRecords<NameRecord> {
  readonly #rows = new Map<string, number>()
  readonly #keys: Array<string> = []
  readonly #free: Array<number> = []
  #keyOf: (id: IdWords) => string | undefined = () => undefined
  #owners = new Uint32Array(64)
  #revisions = new Float64Array(16)

  constructor() {
    super(decoderOf(NameRecord))
  }

  /** `keyOf` tells under which key a function wants to be known, so that equal texts are kept once. */
  shareWith(keyOf: (id: IdWords) => string | undefined): void {
    this.#keyOf = keyOf
  }

  /** The text that is kept for this key. */
  keptKey(key: string): string | undefined {
    const row = this.#rows.get(key)
    return row === undefined ? undefined : this.#keys[row]
  }

  isOwner(key: string, id: IdWords): boolean {
    const row = this.#rows.get(key)
    if (row === undefined) return this.get(key)?.value.functionId === formatId(id)
    const owners = this.#owners
    const at = 4 * row
    return owners[at] === id[0] && owners[at + 1] === id[1] && owners[at + 2] === id[2] && owners[at + 3] === id[3]
  }

  protected isPacked(key: string): boolean {
    return this.#rows.has(key)
  }

  protected packedCount(): number {
    return this.#rows.size
  }

  protected packedIds(): Iterable<string> {
    return this.#rows.keys()
  }

  protected packText(key: string, text: string, revision: number): boolean {
    reading.begin(text)
    reading.expect('{"functionId":"')
    reading.id(wanted)
    reading.expect('"}')
    if (!reading.isAsWritten() || !reading.isAtEnd()) return false
    this.#pack(key, revision)
    return true
  }

  protected packRecord(key: string, { functionId }: NameRecord, _text: string, revision: number): boolean {
    if (!parseWholeId(functionId, wanted)) return false
    this.#pack(key, revision)
    return true
  }

  /** The owner is in `wanted`. */
  #pack(key: string, revision: number): void {
    let row = this.#rows.get(key)
    if (row === undefined) {
      row = this.#free.pop() ?? this.#keys.length
      if (row >= this.#revisions.length) this.#grow()
      const shared = this.#keyOf(wanted)
      const own = shared === key ? shared : flat(key)
      this.#keys[row] = own
      this.#rows.set(own, row)
    }
    this.#owners.set(wanted, 4 * row)
    this.#revisions[row] = revision
  }

  protected writePacked(into: ChunkWriter, from: number, rowsMax: number): number {
    let row = from
    for (; row < this.#keys.length && into.count < rowsMax; row++) {
      const key = this.#keys[row]!
      if (this.#rows.get(key) !== row) continue
      into.id(this.#owners.subarray(4 * row, 4 * row + 4))
      into.number(this.#revisions[row]!)
      into.text(key)
      into.next()
    }
    return row < this.#keys.length ? row : -1
  }

  protected packNext(from: ChunkReader): undefined {
    from.id(wanted)
    const revision = from.number()
    this.#pack(from.text(), revision)
  }

  protected unpack(key: string): Stored<NameRecord> | undefined {
    const row = this.#rows.get(key)
    if (row === undefined) return undefined
    return { value: { functionId: formatId(this.#owners, 4 * row) }, revision: this.#revisions[row]! }
  }

  protected unpackAndForget(key: string): void {
    const row = this.#rows.get(key)
    if (row === undefined) return
    this.#rows.delete(key)
    this.#keys[row] = ""
    this.#free.push(row)
  }

  #grow(): void {
    const owners = new Uint32Array(2 * this.#owners.length)
    owners.set(this.#owners)
    this.#owners = owners
    const revisions = new Float64Array(2 * this.#revisions.length)
    revisions.set(this.#revisions)
    this.#revisions = revisions
  }
}
