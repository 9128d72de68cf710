/**
 * What the process and the store thread say to each other: groups of orders one way, as many answers in the same order
 * the other way. Plain data, because it crosses a thread.
 *
 * Laws: M1 a group is answered once, after its commit, with one answer per order. M2 groups are answered in the order in
 * which they were sent.
 *
 * @module
 */

/** A batch as it lies in the log: `bytes` is the `RecordBatch` form of `count` records. */
export interface StoredBatch {
  readonly first: number
  readonly count: number
  readonly bytes: Uint8Array
}

export interface StoredEntry {
  readonly key: string
  readonly value: Uint8Array
  readonly revision: number
}

/** Some entries in order of key, packed by `EntryPage`. */
export interface StoredPage {
  readonly bytes: Uint8Array
  /** Give it as `after` to go on; undefined: these were the last. */
  readonly last: string | undefined
  /** Of the last change that this page can show. */
  readonly revision: number
}

export interface StoredMessage {
  readonly sequence: number
  readonly queue: string
  readonly messageId: string
  readonly payload: Uint8Array
  readonly deliveryCount: number
  /** Wall clock, milliseconds; absent while the message is to be delivered. */
  readonly settledAtMs: number | undefined
}

export interface StoredDeadLetter {
  readonly messageId: string
  readonly payload: Uint8Array
  readonly reason: string
}

export type StoreOrder =
  | {
      readonly _tag: "Append"
      readonly shard: string
      readonly expectedPosition: number
      readonly count: number
      readonly bytes: Uint8Array
      /** It brings accepted work to its end, so the room that is left free is for it. */
      readonly mayUseReserve?: boolean
    }
  | { readonly _tag: "Read"; readonly shard: string; readonly position: number; readonly limit: number }
  | { readonly _tag: "Bounds"; readonly shard: string }
  /** One part of a snapshot that is not visible before `SaveSnapshot` names it. */
  | {
      readonly _tag: "StageSnapshot"
      readonly shard: string
      readonly snapshot: number
      readonly part: number
      readonly bytes: Uint8Array
    }
  | {
      readonly _tag: "SaveSnapshot"
      readonly shard: string
      readonly snapshot: number
      readonly partCount: number
      readonly position: number
    }
  | { readonly _tag: "LoadSnapshot"; readonly shard: string }
  | { readonly _tag: "Truncate"; readonly shard: string; readonly position: number }
  | { readonly _tag: "Get"; readonly key: string }
  | { readonly _tag: "List"; readonly prefix: string }
  /** `after`: "" begins. */
  | { readonly _tag: "ListPage"; readonly prefix: string; readonly after: string }
  | {
      readonly _tag: "Put"
      readonly key: string
      readonly value: Uint8Array
      readonly expectedRevision: number | undefined
    }
  | { readonly _tag: "Remove"; readonly key: string; readonly expectedRevision: number | undefined }
  | {
      readonly _tag: "Publish"
      readonly sequence: number
      readonly queue: string
      readonly messageId: string
      readonly payload: Uint8Array
      readonly deliveryCount: number
    }
  | { readonly _tag: "CountDelivery"; readonly sequence: number; readonly deliveryCount: number }
  | { readonly _tag: "Settle"; readonly sequence: number; readonly settledAtMs: number }
  | { readonly _tag: "DeadLetter"; readonly sequence: number; readonly reason: string; readonly settledAtMs: number }
  /** Settled messages whose id need not be remembered any longer. */
  | { readonly _tag: "Forget"; readonly sequences: ReadonlyArray<number> }
  | { readonly _tag: "DeadLetters"; readonly queue: string }

export type StoreTag = StoreOrder["_tag"]

/** What a carried out order answers, by its tag. */
export interface StoreValue {
  readonly Append: number
  readonly Read: ReadonlyArray<StoredBatch>
  readonly Bounds: { readonly first: number; readonly end: number }
  readonly StageSnapshot: undefined
  readonly SaveSnapshot: undefined
  readonly LoadSnapshot: { readonly position: number; readonly parts: ReadonlyArray<Uint8Array> } | undefined
  readonly Truncate: undefined
  readonly Get: StoredEntry | undefined
  readonly List: ReadonlyArray<StoredEntry>
  readonly ListPage: StoredPage
  readonly Put: number
  /** The revision of the deletion; 0 when there was nothing to delete. */
  readonly Remove: number
  readonly Publish: undefined
  readonly CountDelivery: undefined
  readonly Settle: undefined
  readonly DeadLetter: undefined
  readonly Forget: undefined
  readonly DeadLetters: ReadonlyArray<StoredDeadLetter>
}

export type StoreAnswer<Value> =
  | { readonly _tag: "Done"; readonly value: Value }
  /** Another position or revision than the expected one; nothing was written. */
  | { readonly _tag: "Conflict"; readonly actual: number }
  /** It certainly did not happen. */
  | { readonly _tag: "Refused"; readonly reason: string; readonly retryable: boolean }
  /** The commit itself failed: it is on the disk, or not. */
  | { readonly _tag: "Unknown"; readonly reason: string }

export type AnyAnswer = StoreAnswer<StoreValue[StoreTag]>

/** What a table answers: an order may be refused by what is stored, never by the disk (that throws). */
export type TableAnswer<Tag extends StoreTag> = Exclude<StoreAnswer<StoreValue[Tag]>, { readonly _tag: "Unknown" }>

export const done = <Value>(value: Value) => ({ _tag: "Done", value }) as const

const readTags: ReadonlySet<StoreTag> = new Set([
  "Read",
  "Bounds",
  "LoadSnapshot",
  "Get",
  "List",
  "ListPage",
  "DeadLetters"
])

export const isRead = (order: StoreOrder): boolean => readTags.has(order._tag)

/** Orders that take room on the disk; the others give room back and stay possible when the disk is nearly full. */
const growingTags: ReadonlySet<StoreTag> = new Set(["Append", "StageSnapshot", "Put", "Publish"])

export const isGrowing = (order: StoreOrder): boolean =>
  growingTags.has(order._tag) && !(order._tag === "Append" && order.mayUseReserve)

/** Why a store does not open. */
export type OpenRefusal =
  | {
      readonly _tag: "Unsafe"
      readonly path: string
      readonly setting: string
      readonly found: string
      readonly required: string
    }
  | { readonly _tag: "Unavailable"; readonly reason: string; readonly retryable: boolean }

export type ToStore =
  | { readonly _tag: "Group"; readonly orders: ReadonlyArray<StoreOrder> }
  | { readonly _tag: "Close" }

export type FromStore =
  | {
      readonly _tag: "Opened"
      readonly messages: ReadonlyArray<StoredMessage>
      /** Larger than every sequence and snapshot number that was ever used. */
      readonly nextSequence: number
      readonly nextSnapshot: number
      /** What was made good at the start, for people. */
      readonly repaired: string | undefined
    }
  | { readonly _tag: "NotOpened"; readonly refusal: OpenRefusal }
  | { readonly _tag: "Answers"; readonly answers: ReadonlyArray<AnyAnswer> }
  /** Maintenance (a checkpoint) failed and took the store with it; said once, so that it is logged. */
  | { readonly _tag: "Failed"; readonly reason: string }

export interface StoreThreadData {
  readonly directory: string
}
