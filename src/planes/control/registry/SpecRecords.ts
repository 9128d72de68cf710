/**
 * Versions and deployments, kept as small as they can be read from. What they have of their own is numbers; specs are kept
 * as texts, once for all who have the same. Laws: see `StoredRecords`.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  DeploymentRecord,
  DeploymentSpec,
  type FunctionId,
  type VersionId,
  VersionRecord,
  VersionSpec
} from "../Domain.ts"
import { formatId, IdRows, type IdWords, makeWords, parseWholeId } from "./IdRows.ts"
import { RecordText, timeOf } from "./RecordText.ts"
import type { ChunkReader, ChunkWriter } from "./RowChunk.ts"
import { type SharedTexts, SharedValues } from "./SharedTexts.ts"
import { type Decode, type Stored, StoredRecords, type Unreadable } from "./StoredRecords.ts"

const decodeVersionSpec = Schema.decodeUnknownResult(Schema.fromJsonString(VersionSpec))
const decodeDeploymentSpec = Schema.decodeUnknownResult(Schema.fromJsonString(DeploymentSpec))

/** Ids on their way between texts and rows; nothing is kept in them from one call to the next. */
const wanted = makeWords()
const other = makeWords()
const owner = makeWords()

// An id that was packed had the usual form, which is one of those that the schema takes.
const functionIdOf = (text: string) => text as FunctionId
const versionIdOf = (text: string) => text as VersionId

const reading = new RecordText()

const isSame = (one: IdWords, other: IdWords): boolean =>
  one[0] === other[0] && one[1] === other[1] && one[2] === other[2] && one[3] === other[3]

/** As it was stored. The record that it is read from has been decoded: it is an object and has one. */
const specTextOf = (text: string): string => JSON.stringify((JSON.parse(text) as { readonly spec: object }).spec)

/** What versions and deployments have in common; `count`: a version's number, a deployment's generation. */
interface Head {
  readonly functionId: string
  readonly tenant: string
  readonly createdAt: string
  readonly count: number
}

const idField = 0
const floatFields = { count: 0, createdAt: 1, revision: 2 } as const
const intFields = { tenant: 0, spec: 1, next: 2 } as const

const noSpec = { text: "", number: undefined }

/** By id of a version. */
abstract class SpecRecords<A extends { readonly spec: Spec }, Spec extends object> extends StoredRecords<A> {
  protected readonly rows = new IdRows({ ids: 1, floats: 3, ints: 3 })
  protected readonly specs: SharedValues<Spec>
  readonly #decodeSpec: Decode<Spec>
  readonly #tenants: SharedTexts
  /** Most records come after one that has the same. */
  #lastSpec: { readonly text: string; readonly number: number | undefined } = noSpec

  constructor(decode: Decode<A>, decodeSpec: Decode<Spec>, tenants: SharedTexts) {
    super(decode)
    this.#decodeSpec = decodeSpec
    // What is kept was decoded when it came.
    this.specs = new SharedValues((text) => Result.getOrThrow(decodeSpec(text)))
    this.#tenants = tenants
  }

  /** What is written before the record's own id, and before its count. */
  protected abstract readonly beginning: string
  protected abstract readonly beforeCount: string
  protected abstract headOf(record: A): Head & { readonly id: string }
  protected abstract recordOf(id: string, head: Head, spec: Spec): A
  /** A row was filled, or is about to be emptied. */
  protected abstract linked(row: number): void
  protected abstract unlinked(row: number): void

  protected isPacked(id: string): boolean {
    return parseWholeId(id, wanted) && this.rows.find(wanted) >= 0
  }

  protected packedCount(): number {
    return this.rows.size
  }

  protected packedIds(): Iterable<string> {
    return this.rows.ids()
  }

  protected packText(id: string, text: string, revision: number): boolean {
    if (!parseWholeId(id, wanted) || !text.endsWith("}}")) return false
    reading.begin(text)
    reading.expect(this.beginning)
    reading.id(other)
    if (!isSame(wanted, other)) return false
    reading.expect('","functionId":"')
    reading.id(other)
    reading.expect('","tenant":"')
    const tenant = reading.string()
    reading.expect(this.beforeCount)
    const count = reading.integer()
    reading.expect(',"createdAt":"')
    const createdAtMs = reading.time()
    reading.expect('","spec":')
    if (!reading.isAsWritten()) return false
    const spec = this.#knownSpec(text, reading.at())
    if (spec === undefined) return false
    // Before the old row is let go, with which the last of this spec may go.
    this.specs.share(spec)
    const before = this.rows.find(wanted)
    if (before >= 0) this.#forget(before)
    this.#pack({ tenant, count, createdAtMs, revision, spec })
    return true
  }

  protected packRecord(id: string, record: A, text: string, revision: number): boolean {
    const head = this.headOf(record)
    const createdAtMs = timeOf(head.createdAt)
    if (createdAtMs === undefined || head.id !== id) return false
    if (!parseWholeId(id, wanted) || !parseWholeId(head.functionId, other)) return false
    this.#pack({ ...head, createdAtMs, revision, spec: this.specs.take(specTextOf(text)) })
    return true
  }

  /** One that somebody has was decoded when it was first put, so it is known to be right. */
  #knownSpec(text: string, at: number): number | undefined {
    const specText = text.slice(at, -1)
    const { text: last, number } = this.#lastSpec
    if (number !== undefined && specText === last) return number
    const found = this.specs.find(specText)
    if (found !== undefined) this.#lastSpec = { text: this.specs.text(found), number: found }
    return found
  }

  /** The id is in `wanted`, that of the function in `other`; the spec has one more owner already. */
  #pack(record: {
    readonly tenant: string
    readonly count: number
    readonly createdAtMs: number
    readonly revision: number
    readonly spec: number
  }): void {
    const { rows } = this
    const row = rows.take(wanted)
    rows.setIdField(row, idField, other)
    rows.setFloat(row, floatFields.count, record.count)
    rows.setFloat(row, floatFields.createdAt, record.createdAtMs)
    rows.setFloat(row, floatFields.revision, record.revision)
    rows.setInt(row, intFields.tenant, this.#tenants.take(record.tenant))
    rows.setInt(row, intFields.spec, record.spec)
    this.linked(row)
  }

  protected unpack(id: string): Stored<A> | undefined {
    const row = parseWholeId(id, wanted) ? this.rows.find(wanted) : -1
    return row < 0 ? undefined : this.read(row, id)
  }

  protected read(row: number, id: string): Stored<A> {
    const { rows } = this
    const head: Head = {
      functionId: rows.idField(row, idField),
      tenant: this.tenantOf(row),
      createdAt: new Date(rows.float(row, floatFields.createdAt)).toISOString(),
      count: rows.float(row, floatFields.count)
    }
    const value = this.recordOf(id, head, this.specs.value(rows.int(row, intFields.spec)))
    return { value, revision: rows.float(row, floatFields.revision) }
  }

  protected tenantOf(row: number): string {
    return this.#tenants.text(this.rows.int(row, intFields.tenant))
  }

  protected unpackAndForget(id: string): void {
    const { rows } = this
    const row = parseWholeId(id, wanted) ? rows.find(wanted) : -1
    if (row >= 0) this.#forget(row)
  }

  protected writePacked(into: ChunkWriter, from: number, rowsMax: number): number {
    const { rows } = this
    let row = rows.nextRow(from)
    for (; row >= 0 && into.count < rowsMax; row = rows.nextRow(row + 1)) {
      rows.readId(row, wanted)
      rows.readIdField(row, idField, other)
      into.id(wanted)
      into.id(other)
      into.shared(this.tenantOf(row))
      into.number(rows.float(row, floatFields.count))
      into.number(rows.float(row, floatFields.createdAt))
      into.number(rows.float(row, floatFields.revision))
      into.shared(this.specs.text(rows.int(row, intFields.spec)))
      into.next()
    }
    return row
  }

  protected packNext(from: ChunkReader): Unreadable | undefined {
    from.id(wanted)
    from.id(other)
    const tenant = from.shared()
    const count = from.number()
    const createdAtMs = from.number()
    const revision = from.number()
    const specText = from.shared()
    const known = this.specs.find(specText)
    const decoded = known === undefined ? this.#decodeSpec(specText) : undefined
    if (decoded !== undefined && Result.isFailure(decoded)) {
      const id = formatId(wanted)
      this.remove(id)
      return { id, reason: decoded.failure.message }
    }
    // Before the old row is let go, with which the last of this spec may go.
    const spec = known === undefined ? this.specs.take(specText) : this.specs.share(known)
    const before = this.rows.find(wanted)
    if (before >= 0) this.#forget(before)
    this.#pack({ tenant, count, createdAtMs, revision, spec })
    return undefined
  }

  /** Leaves `wanted` and `other` as they are. */
  #forget(row: number): void {
    const { rows } = this
    this.unlinked(row)
    this.#tenants.release(rows.int(row, intFields.tenant))
    const spec = rows.int(row, intFields.spec)
    if (this.specs.release(spec) && this.#lastSpec.number === spec) this.#lastSpec = noSpec
    rows.remove(row)
  }
}

/** Those of a function are a chain, from the highest number down; a row's place in it is the row + 1, and 0 its end. */
export class VersionRecords extends SpecRecords<VersionRecord, VersionSpec> {
  protected readonly beginning = '{"id":"'
  protected readonly beforeCount = '","number":'
  /** The highest version by function. */
  readonly #heads = new IdRows({ ids: 0, floats: 0, ints: 1 })

  constructor(tenants: SharedTexts) {
    super(Schema.decodeUnknownResult(Schema.fromJsonString(VersionRecord)), decodeVersionSpec, tenants)
  }

  /** Ids, lowest number first. */
  of(functionId: string): ReadonlyArray<string> {
    const found: Array<{ readonly id: string; readonly number: number }> = []
    const head = parseWholeId(functionId, wanted) ? this.#heads.find(wanted) : -1
    if (head >= 0) {
      for (let place = this.#heads.int(head, 0); place !== 0; place = this.rows.int(place - 1, intFields.next)) {
        found.push({ id: this.rows.id(place - 1), number: this.rows.float(place - 1, floatFields.count) })
      }
    }
    found.reverse()
    let hasOdd = false
    for (const [id, { value }] of this.odd()) {
      if (value.functionId !== functionId) continue
      found.push({ id, number: value.number })
      hasOdd = true
    }
    if (hasOdd) found.sort((one, other) => one.number - other.number)
    return found.map(({ id }) => id)
  }

  /** Those whose function is not there. `isThere`: asked with the words of its id, or with its text. */
  withoutFunction(isThere: (functionId: IdWords | string) => boolean): ReadonlyArray<VersionRecord> {
    const found: Array<VersionRecord> = []
    this.rows.forEach((row) => {
      this.rows.readIdField(row, idField, owner)
      if (!isThere(owner)) found.push(this.read(row, this.rows.id(row)).value)
    })
    for (const [, { value }] of this.odd()) if (!isThere(value.functionId)) found.push(value)
    return found
  }

  protected headOf(record: VersionRecord) {
    const { id, functionId, tenant, createdAt, number: count } = record
    return { id, functionId, tenant, createdAt, count }
  }

  protected recordOf(id: string, { functionId, tenant, count, createdAt }: Head, spec: VersionSpec): VersionRecord {
    return { id: versionIdOf(id), functionId: functionIdOf(functionId), tenant, number: count, createdAt, spec }
  }

  protected linked(row: number): void {
    const { rows } = this
    rows.readIdField(row, idField, owner)
    const head = this.#heads.take(owner)
    const number = rows.float(row, floatFields.count)
    let before = 0
    let place = this.#heads.int(head, 0)
    while (place !== 0 && rows.float(place - 1, floatFields.count) > number) {
      before = place
      place = rows.int(place - 1, intFields.next)
    }
    rows.setInt(row, intFields.next, place)
    this.#pointTo(head, before, row + 1)
  }

  protected unlinked(row: number): void {
    const { rows } = this
    rows.readIdField(row, idField, owner)
    const head = this.#heads.find(owner)
    let before = 0
    let place = this.#heads.int(head, 0)
    while (place !== row + 1) {
      before = place
      place = rows.int(place - 1, intFields.next)
    }
    this.#pointTo(head, before, rows.int(row, intFields.next))
    if (this.#heads.int(head, 0) === 0) this.#heads.remove(head)
  }

  #pointTo(head: number, before: number, place: number): void {
    if (before === 0) this.#heads.setInt(head, 0, place)
    else this.rows.setInt(before - 1, intFields.next, place)
  }
}

export class DeploymentRecords extends SpecRecords<DeploymentRecord, DeploymentSpec> {
  protected readonly beginning = '{"versionId":"'
  protected readonly beforeCount = '","generation":'

  constructor(tenants: SharedTexts) {
    super(Schema.decodeUnknownResult(Schema.fromJsonString(DeploymentRecord)), decodeDeploymentSpec, tenants)
  }

  /** Versions of the tenant that are deployed with such a spec; `isWanted` is asked once of equal ones. */
  versionIds(tenant: string, isWanted: (spec: DeploymentSpec) => boolean): ReadonlyArray<string> {
    const found: Array<string> = []
    const answers = new Map<number, boolean>()
    this.rows.forEach((row) => {
      if (this.tenantOf(row) !== tenant) return
      const spec = this.rows.int(row, intFields.spec)
      const answer = answers.get(spec) ?? isWanted(this.specs.value(spec))
      answers.set(spec, answer)
      if (answer) found.push(this.rows.id(row))
    })
    for (const [, { value }] of this.odd()) {
      if (value.tenant === tenant && isWanted(value.spec)) found.push(value.versionId)
    }
    return found
  }

  protected headOf(record: DeploymentRecord) {
    const { versionId: id, functionId, tenant, createdAt, generation: count } = record
    return { id, functionId, tenant, createdAt, count }
  }

  protected recordOf(
    id: string,
    { functionId, tenant, count, createdAt }: Head,
    spec: DeploymentSpec
  ): DeploymentRecord {
    return {
      versionId: versionIdOf(id),
      functionId: functionIdOf(functionId),
      tenant,
      generation: count,
      createdAt,
      spec
    }
  }

  protected linked(): void {}
  protected unlinked(): void {}
}
