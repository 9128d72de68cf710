/**
 * The process's end of the store thread: collects orders, sends them in groups, hands answers back in order.
 *
 * Laws: C1 orders are sent, and answers handed back, in the order of `submit`. C2 at most `groupsInFlightMax` groups of
 * `groupBytesMax` are with the thread; what comes meanwhile waits here and shares the next group, and beyond
 * `waitingBytesMax` or `waitingCountMax` it is refused before anything happened. C3 a thread that dies answers `Unknown`
 * for the writes it was sent and refuses everything else. C4 nothing is submitted after `close` began, and `close` ends
 * within `closeMs`.
 *
 * @module
 */
import { Worker } from "node:worker_threads"
import {
  type AnyAnswer,
  type FromStore,
  isRead,
  type OpenRefusal,
  type StoreAnswer,
  type StoredMessage,
  type StoreOrder,
  type StoreTag,
  type StoreThreadData,
  type StoreValue,
  type ToStore
} from "./StoreMessage.ts"

/** One is being committed while the next is on its way; more would only make the groups smaller. */
const groupsInFlightMax = 2
const groupBytesMax = 8 * 1024 * 1024
const groupCountMax = 4096
const waitingBytesMax = 128 * 1024 * 1024
const waitingCountMax = 262_144
const closeMs = 5_000

/** Copying a small value is cheaper than handing over its buffer. */
const transferBytesMin = 16 * 1024

/** The store was opened by another process, or cannot be trusted. */
export class NotOpened extends Error {
  readonly refusal: OpenRefusal
  constructor(refusal: OpenRefusal) {
    super(refusal._tag === "Unsafe" ? refusal.setting : refusal.reason)
    this.refusal = refusal
  }
}

export interface Submission<Tag extends StoreTag> {
  /** About how much memory the order takes. */
  readonly bytes: number
  /** Called when the order is sent; `undefined` drops it, and it is answered with `Dropped`. */
  readonly order: () => (Extract<StoreOrder, { readonly _tag: Tag }> & { readonly _tag: Tag }) | undefined
  readonly onAnswer: (answer: StoreAnswer<StoreValue[Tag]> | { readonly _tag: "Dropped" }) => void
}

interface Waiting {
  readonly bytes: number
  readonly order: () => StoreOrder | undefined
  readonly onAnswer: (answer: AnyAnswer | { readonly _tag: "Dropped" }) => void
}

interface Sent {
  readonly order: StoreOrder
  readonly onAnswer: Waiting["onAnswer"]
}

export interface OpenedStore {
  readonly messages: ReadonlyArray<StoredMessage>
  readonly nextSequence: number
  readonly nextSnapshot: number
  readonly repaired: string | undefined
}

export interface Options {
  readonly directory: string
  /** Said once, when the store fails while it runs. */
  readonly onFailure: (reason: string) => void
  /** Who starts the thread; another one may kill it, to see what happens then. */
  readonly startThread?: (url: URL, data: StoreThreadData) => Worker
}

/** What the thread makes is short-lived; the process's own setting would let it keep three times 64 MiB of it. */
const youngHeapMb = 16

const startWorker = (url: URL, data: StoreThreadData): Worker =>
  new Worker(url, {
    workerData: data,
    name: "millrace-store",
    resourceLimits: { maxYoungGenerationSizeMb: youngHeapMb }
  })

const refused = (reason: string, retryable: boolean): AnyAnswer => ({ _tag: "Refused", reason, retryable })

/** Beside this file, with its ending: `.ts` from the sources, `.js` from the build. */
const threadUrl = () => new URL(`./SqliteWorker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url)

const transfersOf = (orders: ReadonlyArray<StoreOrder>): Array<ArrayBuffer> => {
  const transfers: Array<ArrayBuffer> = []
  for (const order of orders) {
    if (!("bytes" in order) || order.bytes.byteLength < transferBytesMin) continue
    if (order.bytes.buffer instanceof ArrayBuffer) transfers.push(order.bytes.buffer)
  }
  return transfers
}

const connect = (worker: Worker, opened: OpenedStore, onFailure: (reason: string) => void) => {
  let waiting: Array<Waiting> = []
  let waitingBytes = 0
  const inFlight: Array<ReadonlyArray<Sent>> = []
  let isFlushPlanned = false
  let isClosing = false
  let ended: string | undefined
  let whenDrained: (() => void) | undefined

  const takeGroup = (): ReadonlyArray<Sent> => {
    const group: Array<Sent> = []
    let bytes = 0
    let index = 0
    while (index < waiting.length && group.length < groupCountMax && bytes < groupBytesMax) {
      const next = waiting[index++]!
      bytes += next.bytes
      const order = next.order()
      if (order === undefined) next.onAnswer({ _tag: "Dropped" })
      else group.push({ order, onAnswer: next.onAnswer })
    }
    // Answers of dropped orders may have submitted more: those lie behind `index`.
    waiting = index === waiting.length ? [] : waiting.slice(index)
    waitingBytes -= bytes
    return group
  }

  const flush = () => {
    isFlushPlanned = false
    while (waiting.length > 0 && inFlight.length < groupsInFlightMax && ended === undefined) {
      const group = takeGroup()
      if (group.length === 0) continue
      const orders = group.map((sent) => sent.order)
      const message: ToStore = { _tag: "Group", orders }
      inFlight.push(group)
      worker.postMessage(message, transfersOf(orders))
    }
    if (waiting.length === 0 && inFlight.length === 0) whenDrained?.()
  }

  const planFlush = () => {
    if (isFlushPlanned || inFlight.length >= groupsInFlightMax) return
    isFlushPlanned = true
    // Everything that this turn of the event loop submits goes into one group.
    queueMicrotask(flush)
  }

  const end = (reason: string) => {
    if (ended !== undefined) return
    ended = reason
    if (!isClosing) onFailure(reason)
    for (const group of inFlight.splice(0)) {
      for (const { order, onAnswer } of group) {
        onAnswer(isRead(order) ? refused(reason, false) : { _tag: "Unknown", reason })
      }
    }
    const left = waiting
    waiting = []
    waitingBytes = 0
    for (const { onAnswer } of left) onAnswer(refused(reason, false))
    whenDrained?.()
  }

  worker.on("message", (message: FromStore) => {
    if (message._tag === "Failed") return onFailure(message.reason)
    if (message._tag !== "Answers") return
    const group = inFlight.shift()
    group?.forEach(({ onAnswer }, index) => {
      onAnswer(message.answers[index] ?? refused("the store thread gave no answer", false))
    })
    flush()
  })
  worker.on("error", (error) => end(`the store thread crashed: ${error.message}`))
  worker.on("exit", (code) => end(`the store thread ended with code ${code}`))

  const submitAny = (submission: Waiting): void => {
    if (ended !== undefined) return submission.onAnswer(refused(ended, false))
    if (isClosing) return submission.onAnswer(refused("the store is closing", false))
    if (waitingBytes + submission.bytes > waitingBytesMax || waiting.length >= waitingCountMax) {
      return submission.onAnswer(refused(`${waiting.length} writes are already waiting for the disk`, true))
    }
    waiting.push(submission)
    waitingBytes += submission.bytes
    planFlush()
  }

  const drained = () =>
    new Promise<void>((resolve) => {
      if (waiting.length === 0 && inFlight.length === 0) return resolve()
      whenDrained = resolve
    })

  const exited = () =>
    new Promise<void>((resolve) => (ended === undefined ? worker.once("exit", () => resolve()) : resolve()))

  const close = async (): Promise<void> => {
    isClosing = true
    const deadline = setTimeout(() => void worker.terminate(), closeMs)
    await drained()
    const message: ToStore = { _tag: "Close" }
    const gone = exited()
    worker.postMessage(message)
    await gone
    clearTimeout(deadline)
  }

  return {
    opened,
    /** It runs, and has room for another order that is small. */
    isTaking: (): boolean =>
      ended === undefined && !isClosing && waitingBytes < waitingBytesMax && waiting.length < waitingCountMax,
    submit: <Tag extends StoreTag>(submission: Submission<Tag>): void =>
      // The thread answers an order with the value of its tag: `GroupCommit.perform` is checked against `StoreValue`.
      submitAny(submission as unknown as Waiting),
    close
  }
}

export type StoreClient = ReturnType<typeof connect>

/** Rejects with `NotOpened`. */
export const open = ({ directory, onFailure, startThread = startWorker }: Options): Promise<StoreClient> =>
  new Promise((resolve, reject) => {
    const worker = startThread(threadUrl(), { directory })
    const fail = (refusal: OpenRefusal) => reject(new NotOpened(refusal))
    const onError = (error: Error) =>
      fail({ _tag: "Unavailable", reason: `the store thread crashed: ${error.message}`, retryable: false })
    const onExit = (code: number) =>
      fail({ _tag: "Unavailable", reason: `the store thread ended with code ${code}`, retryable: false })
    worker.once("error", onError)
    worker.once("exit", onExit)
    worker.once("message", (message: FromStore) => {
      worker.off("exit", onExit)
      if (message._tag === "Opened") {
        worker.off("error", onError)
        return resolve(connect(worker, message, onFailure))
      }
      // Whoever hears that it did not open may try again at once: the thread's file handles must be gone by then.
      const refusal: OpenRefusal =
        message._tag === "NotOpened"
          ? message.refusal
          : { _tag: "Unavailable", reason: `the store thread began with ${message._tag}`, retryable: false }
      worker.once("exit", () => fail(refusal))
    })
  })
