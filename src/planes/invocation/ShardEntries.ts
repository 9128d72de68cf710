/**
 * The requests that a shard knows, by number and by id, and how much of their calls and answers is in memory, in the log and
 * in blobs.
 *
 * @module
 */
import type { RecordRef } from "../../core/buffer/BufferEvent.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { AnswerCache } from "./AnswerCache.ts"
import type { Answer, Entry } from "./Entry.ts"
import type { PayloadCache } from "./PayloadCache.ts"
import type * as StoredRecord from "./StoredRecord.ts"

export interface ShardEntriesInit {
  /** What recovery found, and what of its calls is in memory. */
  readonly entries: Iterable<Entry>
  readonly payloads: PayloadCache
  /** One record of the log. */
  readonly readRecord: (position: number) => Promise<StoredRecord.StoredRecord>
  readonly removeBlob: (id: string) => void
  /** The dead letter of that request has its call. */
  readonly hasLetter: (requestId: string) => boolean
  readonly defect: (error: unknown) => void
}

export class ShardEntries {
  readonly #init: ShardEntriesInit
  readonly #bySequence = new Map<number, Entry>()
  readonly #byRequestId = new Map<string, Entry>()
  readonly #payloads: PayloadCache
  readonly #answers = new AnswerCache()

  constructor(init: ShardEntriesInit) {
    this.#init = init
    this.#payloads = init.payloads
    for (const entry of init.entries) this.add(entry)
  }

  get(sequence: number): Entry | undefined {
    return this.#bySequence.get(sequence)
  }

  ofRequest(requestId: string): Entry | undefined {
    return this.#byRequestId.get(requestId)
  }

  /** In the order in which they came. */
  all(): Iterable<Entry> {
    return this.#bySequence.values()
  }

  add(entry: Entry): void {
    this.#bySequence.set(entry.sequence, entry)
    this.#byRequestId.set(entry.requestId, entry)
  }

  /** It is no request of this shard; its bytes are left as they are. */
  remove(entry: Entry): void {
    this.#bySequence.delete(entry.sequence)
    // A log of former times may hold two of one id.
    if (this.#byRequestId.get(entry.requestId) === entry) this.#byRequestId.delete(entry.requestId)
  }

  /** Nobody may ask for it any more: all of it goes. */
  forget(sequence: number): void {
    const entry = this.#bySequence.get(sequence)
    if (entry === undefined) return
    CrashPoint.hit("invocation.forget")
    this.remove(entry)
    this.dropCall(entry)
    const answerBlobId = entry.answer?.body.kind === "blob" ? entry.answer.body.id : entry.answerBlobId
    if (answerBlobId !== undefined) this.#init.removeBlob(answerBlobId)
    this.#answers.drop(entry)
    entry.answer = undefined
  }

  /** `refs[i]` is in the log, at `first + i`. Whoever waits for that hears it. */
  stored(refs: ReadonlyArray<RecordRef>, first: number, atMs: number): void {
    refs.forEach((ref, index) => {
      const entry = this.#bySequence.get(ref.sequence)
      if (entry === undefined) return
      if (ref.kind === "arrived") {
        entry.callPosition = first + index
        entry.tellStored(atMs)
        this.#payloads.stored(entry)
      } else if (ref.kind === "ended" && entry.answer !== undefined) {
        entry.answerPosition = first + index
      }
    })
  }

  /** Of these, whoever waited for the end was told: the call is not needed any more, the answer only on request. */
  settled(refs: ReadonlyArray<RecordRef>): void {
    for (const ref of refs) {
      const entry = ref.kind === "ended" ? this.#bySequence.get(ref.sequence) : undefined
      if (entry === undefined) continue
      this.dropCall(entry)
      this.#answers.stored(entry)
    }
  }

  /** The call is not needed any more; what of it lies in a blob goes, unless its dead letter has it now. */
  dropCall(entry: Entry): void {
    const body = entry.call?.body
    const blobId = entry.callBlobId
    this.#payloads.drop(entry)
    entry.callBlobId = undefined
    if (blobId === undefined || entry.letter !== undefined || this.#init.hasLetter(entry.requestId)) return
    if (body?.kind !== "spool") return this.#init.removeBlob(blobId)
    // It may still come in: an answer can be complete before the body of its call is.
    body.spool.discard().then(
      () => this.#init.removeBlob(blobId),
      (error: unknown) => this.#init.defect(error)
    )
  }

  /** The call of a stored request, read back from the log. */
  async loadCall(entry: Entry): Promise<NonNullable<Entry["call"]>> {
    if (entry.callPosition === undefined) throw new Error("it was never stored")
    const { call } = await this.#init.readRecord(entry.callPosition)
    CrashPoint.hit("invocation.callRead")
    if (call === null) throw new Error(`the log holds no call at position ${entry.callPosition}`)
    return { head: call.head, body: call.body }
  }

  /** The kept answer, read back from the log where memory let it go. */
  async answerOf(entry: Entry): Promise<Answer | undefined> {
    if (entry.answer !== undefined || entry.answerPosition === undefined) return entry.answer
    const { answer } = await this.#init.readRecord(entry.answerPosition)
    return answer === null ? undefined : answer
  }
}
