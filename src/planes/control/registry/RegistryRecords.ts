/**
 * Functions, their names and their counters, kept as small as they can be read from. With a version and its deployment
 * (`SpecRecords`) a function takes about 400 bytes, beside its specs. Laws: see `StoredRecords`.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { type FunctionId, FunctionRecord, type VersionId } from "../Domain.ts"
import { formatId, IdRows, type IdWords, makeWords, parseId } from "./IdRows.ts"
import { flat, SharedTexts } from "./SharedTexts.ts"
import { isUsualId, parseMembers, type Stored, StoredRecords, timeOf } from "./StoredRecords.ts"

/** Who owns a name. A function exists as long as a name says so; a record without one is what a cut-off change left. */
export const NameRecord = Schema.Struct({ functionId: Schema.String })
export type NameRecord = typeof NameRecord.Type
export const CounterRecord = Schema.Struct({ last: Schema.Int })
export type CounterRecord = typeof CounterRecord.Type

export const nameKey = (tenant: string, name: string): string => `${tenant}/${name}`

const decoderOf = <A, E>(schema: Schema.Codec<A, E>) => Schema.decodeUnknownResult(Schema.fromJsonString(schema))

/** Ids on their way between texts and rows; nothing is kept in them from one call to the next. */
const wanted = makeWords()
const other = makeWords()

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

  protected packedCount(): number {
    return this.#rows.size
  }

  protected packText(id: string, text: string, revision: number): boolean {
    const members = parseMembers(text)
    if (members === undefined || !isUsualId(id)) return false
    const { tenant, name, createdAt, activeVersionId } = members
    if (typeof tenant !== "string" || typeof name !== "string" || !usualName.test(name)) return false
    if (typeof createdAt !== "string" || members["id"] !== id) return false
    if (activeVersionId !== null && !isUsualId(activeVersionId)) return false
    const active = activeVersionId === null ? null : versionIdOf(activeVersionId)
    return this.#pack(id, { id: functionIdOf(id), tenant, name, createdAt, activeVersionId: active }, revision)
  }

  protected packRecord(id: string, record: FunctionRecord, _text: string, revision: number): boolean {
    return this.#pack(id, record, revision)
  }

  #pack(id: string, record: FunctionRecord, revision: number): boolean {
    const { tenant, name, activeVersionId } = record
    const createdAtMs = timeOf(record.createdAt)
    if (createdAtMs === undefined || record.id !== id || !parseId(id, wanted)) return false
    if (activeVersionId !== null && !parseId(activeVersionId, other)) return false
    const row = this.#rows.take(wanted)
    if (activeVersionId !== null) this.#rows.setIdField(row, 0, other)
    this.#rows.setInt(row, 0, this.#tenants.take(tenant))
    this.#rows.setInt(row, 1, activeVersionId === null ? 0 : 1)
    this.#rows.setFloat(row, 0, createdAtMs)
    this.#rows.setFloat(row, 1, revision)
    const key = nameKey(tenant, name)
    this.#keys[row] = this.#names.sameText(key) ?? flat(key)
    return true
  }

  protected unpack(id: string): Stored<FunctionRecord> | undefined {
    const row = parseId(id, wanted) ? this.#rows.find(wanted) : -1
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
    const row = parseId(id, wanted) ? this.#rows.find(wanted) : -1
    if (row < 0) return
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
  #owners = new Uint32Array(64)
  #revisions = new Float64Array(16)

  constructor() {
    super(decoderOf(NameRecord))
  }

  /** The text that stands for this key here, so that it is kept once. */
  sameText(key: string): string | undefined {
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

  protected packedCount(): number {
    return this.#rows.size
  }

  protected packText(key: string, text: string, revision: number): boolean {
    const functionId = parseMembers(text)?.["functionId"]
    return isUsualId(functionId) && this.#pack(key, functionId, revision)
  }

  protected packRecord(key: string, { functionId }: NameRecord, _text: string, revision: number): boolean {
    return this.#pack(key, functionId, revision)
  }

  #pack(key: string, functionId: string, revision: number): boolean {
    if (!parseId(functionId, wanted)) return false
    const row = this.#free.pop() ?? this.#keys.length
    if (row >= this.#revisions.length) this.#grow()
    this.#keys[row] = key
    this.#rows.set(key, row)
    this.#owners.set(wanted, 4 * row)
    this.#revisions[row] = revision
    return true
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

export class CounterRecords extends StoredRecords<CounterRecord> {
  readonly #rows = new IdRows({ ids: 0, floats: 2, ints: 0 })

  constructor() {
    super(decoderOf(CounterRecord))
  }

  protected packedCount(): number {
    return this.#rows.size
  }

  protected packText(id: string, text: string, revision: number): boolean {
    const last = parseMembers(text)?.["last"]
    return typeof last === "number" && Number.isSafeInteger(last) && this.#pack(id, last, revision)
  }

  protected packRecord(id: string, { last }: CounterRecord, _text: string, revision: number): boolean {
    return this.#pack(id, last, revision)
  }

  #pack(id: string, last: number, revision: number): boolean {
    if (!parseId(id, wanted)) return false
    const row = this.#rows.take(wanted)
    this.#rows.setFloat(row, 0, last)
    this.#rows.setFloat(row, 1, revision)
    return true
  }

  protected unpack(id: string): Stored<CounterRecord> | undefined {
    const row = parseId(id, wanted) ? this.#rows.find(wanted) : -1
    return row < 0 ? undefined : { value: { last: this.#rows.float(row, 0) }, revision: this.#rows.float(row, 1) }
  }

  protected unpackAndForget(id: string): void {
    const row = parseId(id, wanted) ? this.#rows.find(wanted) : -1
    if (row >= 0) this.#rows.remove(row)
  }
}
