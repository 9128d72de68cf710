/**
 * Versions and deployments, kept as small as they can be read from. What they have of their own is numbers; specs are kept
 * as texts, once for all who have the same. Laws: see `StoredRecords`.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import {
  DeploymentRecord,
  DeploymentSpec,
  type FunctionId,
  type VersionId,
  VersionRecord,
  VersionSpec
} from "../Domain.ts"
import { IdRows, type IdWords, makeWords, parseId } from "./IdRows.ts"
import { type SharedTexts, SharedValues } from "./SharedTexts.ts"
import { isUsualId, parseMembers, type Stored, StoredRecords, splitSpec, timeOf } from "./StoredRecords.ts"

const decodeVersionSpec = Schema.decodeUnknownSync(Schema.fromJsonString(VersionSpec))
const decodeDeploymentSpec = Schema.decodeUnknownSync(Schema.fromJsonString(DeploymentSpec))

/** Ids on their way between texts and rows; nothing is kept in them from one call to the next. */
const wanted = makeWords()
const other = makeWords()

// An id that was packed had the usual form, which is one of those that the schema takes.
const functionIdOf = (text: string) => text as FunctionId
const versionIdOf = (text: string) => text as VersionId

/** As it was stored: the record that it is read from has been decoded, so it has one. */
const specTextOf = (text: string): string => JSON.stringify(parseMembers(text)?.["spec"])

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

/** By id of a version. */
abstract class SpecRecords<A extends { readonly spec: Spec }, Spec extends object> extends StoredRecords<A> {
  protected readonly rows = new IdRows({ ids: 1, floats: 3, ints: 3 })
  protected readonly specs: SharedValues<Spec>
  readonly #tenants: SharedTexts

  constructor(
    decode: ConstructorParameters<typeof StoredRecords<A>>[0],
    decodeSpec: (text: string) => Spec,
    tenants: SharedTexts
  ) {
    super(decode)
    this.specs = new SharedValues(decodeSpec)
    this.#tenants = tenants
  }

  /** Names of the members that hold the record's own id and its count. */
  protected abstract readonly idMember: string
  protected abstract readonly countMember: string
  protected abstract headOf(record: A): Head & { readonly id: string }
  protected abstract recordOf(id: string, head: Head, spec: Spec): A
  /** A row was filled, or is about to be emptied. */
  protected abstract linked(row: number): void
  protected abstract unlinked(row: number): void

  protected packedCount(): number {
    return this.rows.size
  }

  protected packText(id: string, text: string, revision: number): boolean {
    const parts = splitSpec(text)
    // A spec that somebody has was decoded when it was first put.
    if (parts === undefined || !this.specs.has(parts.specText) || !isUsualId(id)) return false
    const { members, specText } = parts
    const { functionId, tenant, createdAt } = members
    const count = members[this.countMember]
    if (members[this.idMember] !== id || !isUsualId(functionId)) return false
    if (typeof tenant !== "string" || typeof createdAt !== "string") return false
    if (typeof count !== "number" || !Number.isSafeInteger(count)) return false
    return this.#pack(id, { functionId, tenant, createdAt, count }, specText, revision)
  }

  protected packRecord(id: string, record: A, text: string, revision: number): boolean {
    const head = this.headOf(record)
    return head.id === id && this.#pack(id, head, specTextOf(text), revision)
  }

  #pack(id: string, head: Head, specText: string, revision: number): boolean {
    const createdAtMs = timeOf(head.createdAt)
    if (createdAtMs === undefined || !parseId(id, wanted) || !parseId(head.functionId, other)) return false
    const { rows } = this
    const row = rows.take(wanted)
    rows.setIdField(row, idField, other)
    rows.setFloat(row, floatFields.count, head.count)
    rows.setFloat(row, floatFields.createdAt, createdAtMs)
    rows.setFloat(row, floatFields.revision, revision)
    rows.setInt(row, intFields.tenant, this.#tenants.take(head.tenant))
    rows.setInt(row, intFields.spec, this.specs.take(specText))
    this.linked(row)
    return true
  }

  protected unpack(id: string): Stored<A> | undefined {
    const row = parseId(id, wanted) ? this.rows.find(wanted) : -1
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
    const row = parseId(id, wanted) ? rows.find(wanted) : -1
    if (row < 0) return
    this.unlinked(row)
    this.#tenants.release(rows.int(row, intFields.tenant))
    this.specs.release(rows.int(row, intFields.spec))
    rows.remove(row)
  }
}

/** Those of a function are a chain, from the highest number down; a row's place in it is the row + 1, and 0 its end. */
export class VersionRecords extends SpecRecords<VersionRecord, VersionSpec> {
  protected readonly idMember = "id"
  protected readonly countMember = "number"
  /** The highest version by function. */
  readonly #heads = new IdRows({ ids: 0, floats: 0, ints: 1 })

  constructor(tenants: SharedTexts) {
    super(Schema.decodeUnknownResult(Schema.fromJsonString(VersionRecord)), decodeVersionSpec, tenants)
  }

  /** Ids, lowest number first. */
  of(functionId: string): ReadonlyArray<string> {
    const found: Array<{ readonly id: string; readonly number: number }> = []
    const head = parseId(functionId, wanted) ? this.#heads.find(wanted) : -1
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
    const owner = makeWords()
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
    rows.readIdField(row, idField, other)
    const head = this.#heads.take(other)
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
    rows.readIdField(row, idField, other)
    const head = this.#heads.find(other)
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
  protected readonly idMember = "versionId"
  protected readonly countMember = "generation"

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
