/**
 * The store thread: the only one that touches SQLite. Takes groups of orders, commits each once, answers, and makes
 * small checkpoints between groups.
 *
 * Laws: W1 what waits in the inbox when the thread is free goes into one transaction. W2 a checkpoint copies at most
 * about `checkpointBytes`, so that nobody waits longer than some milliseconds for it; when nothing comes for
 * `idleMs`, what is left is copied as well. W3 closing answers everything that was sent before it.
 *
 * @module
 */
import * as fs from "node:fs"
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import * as CrashPoint from "../../CrashPoint.ts"
import * as GroupCommit from "./GroupCommit.ts"
import * as StoreDatabase from "./StoreDatabase.ts"
import * as StoreMark from "./StoreMark.ts"
import type { AnyAnswer, FromStore, StoreOrder, StoreThreadData, ToStore } from "./StoreMessage.ts"

/** 2 MiB take about 5 ms to copy, 16 MiB took 25 ms, and everything that arrives meanwhile waits. */
const checkpointBytes = 2 * 1024 * 1024

/** Pages that a commit writes besides the bytes of its orders: the leaves and the index. */
const commitBytes = 3 * 8192
const idleMs = 100

/** Below this the disk is called full while there is still room to give room back. */
const freeBytesMin = 64 * 1024 * 1024

/** Copying a small value is cheaper than handing over its buffer. */
const transferBytesMin = 16 * 1024

const bytesOf = (order: StoreOrder): number => {
  if ("bytes" in order) return order.bytes.byteLength
  if ("payload" in order) return order.payload.byteLength
  if ("value" in order) return order.value.byteLength
  return 0
}

const handOver = (bytes: Uint8Array, into: Array<ArrayBuffer>) => {
  if (bytes.byteLength >= transferBytesMin && bytes.buffer instanceof ArrayBuffer) into.push(bytes.buffer)
}

/** Large values that came fresh from SQLite and belong to nobody else. */
const transfersOf = (answers: ReadonlyArray<AnyAnswer>): Array<ArrayBuffer> => {
  const transfers: Array<ArrayBuffer> = []
  for (const answer of answers) {
    if (answer._tag !== "Done" || typeof answer.value !== "object") continue
    if (Array.isArray(answer.value)) {
      for (const item of answer.value) if ("bytes" in item) handOver(item.bytes, transfers)
    } else if ("parts" in answer.value) {
      for (const part of answer.value.parts) handOver(part, transfers)
    } else if ("last" in answer.value) handOver(answer.value.bytes, transfers)
  }
  return transfers
}

const serve = (port: MessagePort, directory: string) => {
  const database = StoreDatabase.open(directory)
  const roomProblem = (): string | undefined => {
    const { bavail, bsize } = fs.statfsSync(directory)
    if (bavail * bsize >= freeBytesMin) return undefined
    return `the disk of ${directory} has ${bavail * bsize} bytes left, and Millrace leaves ${freeBytesMin} free`
  }
  const store = load(() => GroupCommit.make({ database, roomProblem }), directory)
  const opened: FromStore = {
    _tag: "Opened",
    messages: load(store.loadMessages, directory),
    nextSequence: store.nextSequence(),
    nextSnapshot: store.nextSnapshot(),
    repaired: StoreDatabase.requireConfirmed(directory, database, store.confirmed())
  }
  const mark = StoreMark.open(directory)
  mark.write(store.confirmed())
  let bytesInLog = 0
  let isFailureTold = false
  let isClosing = false

  const send = (message: FromStore, transfers: Array<ArrayBuffer> = []) => port.postMessage(message, transfers)

  const tellFailure = () => {
    const reason = store.failure()
    if (reason === undefined || isFailureTold) return
    isFailureTold = true
    send({ _tag: "Failed", reason })
  }

  const checkpoint = () => {
    if (bytesInLog === 0) return
    bytesInLog = 0
    store.checkpoint()
    tellFailure()
  }

  const whenIdle = () => {
    if (!store.hasGarbage()) return checkpoint()
    store.collectGarbage()
    bytesInLog += commitBytes
    if (bytesInLog >= checkpointBytes) checkpoint()
    tellFailure()
    // One slice at a time: between two slices the inbox is looked at.
    idle.refresh()
  }
  const idle = setTimeout(whenIdle, idleMs)

  const close = () => {
    clearTimeout(idle)
    CrashPoint.hit("store.close.before")
    mark.close()
    StoreDatabase.close(database, directory)
    CrashPoint.hit("store.close.after")
    port.close()
  }

  /** W1: takes what has arrived by now, so that it shares the commit. */
  const takeInbox = (first: ToStore): ReadonlyArray<ReadonlyArray<StoreOrder>> => {
    const groups: Array<ReadonlyArray<StoreOrder>> = []
    let message: ToStore | undefined = first
    while (message !== undefined) {
      if (message._tag === "Close") isClosing = true
      else groups.push(message.orders)
      message = receiveMessageOnPort(port)?.message
    }
    return groups
  }

  port.on("message", (first: ToStore) => {
    const groups = takeInbox(first)
    const orders = groups.length === 1 ? (groups[0] ?? []) : groups.flat()
    if (orders.length > 0) {
      const answers = store.execute(orders)
      mark.write(store.confirmed())
      let start = 0
      for (const group of groups) {
        const own = answers.slice(start, start + group.length)
        CrashPoint.hit("store.answer.before")
        send({ _tag: "Answers", answers: own }, transfersOf(own))
        CrashPoint.hit("store.answer.after")
        start += group.length
      }
      bytesInLog += orders.reduce((total, order) => total + bytesOf(order), commitBytes)
      tellFailure()
    }
    if (isClosing) return close()
    if (bytesInLog >= checkpointBytes) checkpoint()
    idle.refresh()
  })

  send(opened)
}

/** What cannot be read is refused like what cannot be opened. */
const load = <A>(read: () => A, directory: string): A => {
  try {
    return read()
  } catch (error) {
    throw new StoreDatabase.StoreRefused(StoreDatabase.loadRefusal(error, directory))
  }
}

const start = (port: MessagePort) => {
  // The process wrote it (`StoreClient.open`), and nothing else starts this thread.
  const { directory } = workerData as StoreThreadData
  try {
    serve(port, directory)
  } catch (error) {
    if (!(error instanceof StoreDatabase.StoreRefused)) throw error
    const message: FromStore = { _tag: "NotOpened", refusal: error.refusal }
    port.postMessage(message)
    port.close()
  }
}

if (parentPort !== null) start(parentPort)
