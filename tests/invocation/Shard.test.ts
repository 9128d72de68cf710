/**
 * One shard with the workers and callers in the hand of the test, over logs in memory: what its parts do together.
 */
import * as Effect from "effect/Effect"
import { afterEach, describe, expect, it, vi } from "vitest"
import { defaults as bufferDefaults } from "../../src/core/buffer/BufferOptions.ts"
import type { BlobStore } from "../../src/planes/fabric/BlobStore.ts"
import { OutcomeUnknown } from "../../src/planes/fabric/FabricError.ts"
import { type Body, Spool } from "../../src/planes/invocation/Body.ts"
import { DeadLetters, defaults as deadLetterDefaults } from "../../src/planes/invocation/DeadLetters.ts"
import { type Caller, Entry } from "../../src/planes/invocation/Entry.ts"
import { EventStreams, defaults as eventStreamDefaults } from "../../src/planes/invocation/EventStreams.ts"
import { PayloadCache } from "../../src/planes/invocation/PayloadCache.ts"
import { nowMs } from "../../src/planes/invocation/PlaneClock.ts"
import { type NewCall, Shard } from "../../src/planes/invocation/Shard.ts"
import { ShardEntries } from "../../src/planes/invocation/ShardEntries.ts"
import * as ShardRecovery from "../../src/planes/invocation/ShardRecovery.ts"
import * as StoredRecord from "../../src/planes/invocation/StoredRecord.ts"
import type { WorkerState } from "../../src/planes/invocation/WorkerState.ts"
import type { FromWorker, ToWorker } from "../../src/worker-sdk/protocol/WorkerMessage.ts"
import * as MemoryLog from "../support/MemoryLog.ts"

const empty = new Uint8Array(0)
const name = "shard-0"

/** Files whose bytes never come: only which of them are removed counts. */
const blobStore = (removed: Array<string>): BlobStore["Service"] => ({
  create: () => Promise.reject(new Error("no blob is made here")),
  read: async function* () {
    await new Promise<void>(() => {})
  },
  size: () => Effect.succeed(undefined),
  remove: (id) => Effect.sync(() => void removed.push(id)),
  list: () => Effect.succeed([])
})

const open = async (log = MemoryLog.make(), epoch = 1) => {
  const removed: Array<string> = []
  const told: Array<string> = []
  const w = { isActing: true, epoch }
  const blobs = blobStore(removed)
  const removeBlob = (id: string) => void removed.push(id)
  const options = { ...bufferDefaults, redeliveryDelayMs: 1, redeliveryDelayMaxMs: 1 }
  const recovered = await Effect.runPromise(ShardRecovery.recover(log.service, name, options))
  const deadLetters = await Effect.runPromise(
    DeadLetters.open({
      log: log.service,
      name: `${name}.dead-letters`,
      options: deadLetterDefaults,
      removeBlob,
      nowMs: nowMs()
    })
  )
  const eventStreams = await Effect.runPromise(
    EventStreams.open({ log: log.service, name: `${name}.event-streams`, options: eventStreamDefaults, nowMs })
  )
  const shard = new Shard({
    name,
    options,
    ...recovered,
    entries: recovered.entries.values(),
    deadLetters,
    deadLetterRetentionMs: 60_000,
    eventStreams,
    actsUntilMs: () => (w.isActing ? Number.POSITIVE_INFINITY : 0),
    ports: {
      append: (position, records, appendOptions) => log.service.append(name, position, records, appendOptions),
      readRecord: async (position) => {
        const [record] = await Effect.runPromise(log.service.read(name, position, 1))
        if (record === undefined) throw new Error(`nothing at ${position}`)
        return StoredRecord.decode(record.bytes)
      },
      blobs,
      removeBlob
    },
    events: {
      demandChanged: () => {},
      ended: ({ requestId, end }) => told.push(`${requestId} ended: ${end?.terminal}`),
      staleMessage: (workerId, event) => told.push(`stale ${event} of ${workerId}`),
      storeFailed: (message) => told.push(`store failed: ${message}`),
      storeFull: () => told.push("store full"),
      defect: (error) => told.push(`defect: ${error}`)
    }
  })
  shards.push(shard)
  shard.begin(epoch)
  return Object.assign(w, { shard, log, removed, told, ...doorsOf(shard) })
}

const shards: Array<Shard> = []
afterEach(() => {
  for (const shard of shards.splice(0)) shard.close()
})

/** How workers and callers meet it. */
const doorsOf = (shard: Shard) => {
  const connect = (workerId: string, instanceId = "i1") => {
    const got: Array<ToWorker> = []
    const closed: Array<string> = []
    const identity = { workerId, instanceId, functionId: "f", versionId: "v" }
    const connection = {
      identity,
      send: (message: ToWorker) => got.push(message) > 0,
      close: (reason: string) => void closed.push(reason)
    }
    const state: WorkerState = shard.workers.opened(identity, connection)
    const say = (message: FromWorker) => shard.workers.said(state, message)
    const ready = (holds: ReadonlyArray<{ readonly requestId: string; readonly token: number }> = [], slots = 4) =>
      say({ _tag: "Ready", slots, phases: { processMs: 0, initialiseMs: 0, connectMs: 0 }, holds })
    const assigned = () => got.flatMap((message) => (message._tag === "Assign" ? [message] : []))
    const cancelled = () => got.flatMap((message) => (message._tag === "Cancel" ? [message.requestId] : []))
    const answer = (requestId: string, token: number, text: string) => {
      const body = Buffer.from(text)
      say({ _tag: "ResponseHead", requestId, token, status: 200, headers: [], body, end: true })
    }
    return { state, connection, got, closed, say, ready, assigned, cancelled, answer }
  }
  const submit = (requestId: string, change: Partial<NewCall> = {}) => {
    const heard: Array<string> = []
    const caller: Caller = {
      accepted: () => heard.push("accepted"),
      refused: ({ kind }) => heard.push(`refused: ${kind}`),
      joined: (original) => heard.push(`joined ${original.requestId}`),
      head: (status) => heard.push(`head ${status}`),
      chunk: (bytes) => heard.push(`chunk ${Buffer.from(bytes)}`) > 0,
      done: () => heard.push("done"),
      whole: ({ body }) => heard.push(`whole: ${body.kind === "inline" ? Buffer.from(body.bytes) : body.kind}`),
      ended: ({ terminal }) => heard.push(`ended: ${terminal}`),
      moved: () => heard.push("moved")
    }
    const call: NewCall = {
      requestId,
      tenant: "t",
      functionId: "f",
      functionName: "fn",
      versionId: "v",
      mode: "async",
      durability: "accepted",
      deadlineMs: nowMs() + 60_000,
      maxAttempts: 3,
      receivedMs: nowMs(),
      head: { method: "POST", path: "/", headers: [] },
      body: { kind: "inline", bytes: empty },
      sizeBytes: 10,
      resultRetentionMs: 60_000,
      redelivery: { delayMs: 1, delayMaxMs: 1, seed: 0 },
      idempotencyKey: undefined,
      fingerprint: undefined,
      ...change
    }
    return { heard, entry: shard.submit(call, caller) }
  }
  return { connect, submit }
}

const callOf = ({ call }: Entry): NonNullable<Entry["call"]> => {
  if (call === undefined) throw new Error("its call was let go")
  return call
}

const stored = async (entry: Entry) => vi.waitFor(() => expect(entry.storedMs).toBeDefined())

const recordsOf = async (log: MemoryLog.MemoryLog, of: string) => {
  const { end } = await Effect.runPromise(log.service.bounds(of))
  return Effect.runPromise(log.service.read(of, 0, end))
}

const tagsOf = async (log: MemoryLog.MemoryLog) =>
  (await recordsOf(log, name)).map(({ bytes }) => StoredRecord.decode(bytes).record._tag)

describe("workers of a shard", () => {
  it("have what they say while nobody knows whose the shard is heard later, in order, and nothing shown before", async () => {
    const w = await open()
    const worker = w.connect("w1")
    worker.ready()
    const { heard, entry } = w.submit("r1", { mode: "sync" })
    const [assign] = worker.assigned()
    w.isActing = false
    const about = { requestId: "r1", token: assign?.token ?? 0 }
    worker.say({ _tag: "ResponseHead", ...about, status: 200, headers: [], body: empty, end: false })
    worker.say({ _tag: "ResponseChunk", ...about, bytes: Buffer.from("held") })
    worker.say({ _tag: "ResponseEnd", ...about })
    expect(heard).toEqual([])
    w.isActing = true
    w.shard.resume()
    expect([heard, entry.end?.terminal]).toEqual([["whole: held"], "responded"])
  })

  it("that say too much meanwhile are sent away, and nothing grows", async () => {
    const w = await open()
    const worker = w.connect("w1")
    w.isActing = false
    for (let count = 0; count < 20_001; count++) worker.say({ _tag: "Heartbeat" })
    expect(worker.closed).toEqual(["the work of this version moves to another gateway"])
  })

  it("go on after a reconnect with what they name and had whole; the rest runs again", async () => {
    const w = await open()
    const worker = w.connect("w1")
    worker.ready()
    for (const id of ["named", "begun", "unnamed"]) w.submit(id)
    await vi.waitFor(() => expect(worker.assigned()).toHaveLength(3))
    const token = Object.fromEntries(worker.assigned().map((assign) => [assign.requestId, assign.token]))
    const headOfBegun = { requestId: "begun", token: token["begun"] ?? 0, status: 200, headers: [], body: empty }
    worker.say({ _tag: "ResponseHead", ...headOfBegun, end: false })
    w.shard.workers.closed(worker.state, worker.connection, false)
    const again = w.connect("w1")
    expect(again.state).toBe(worker.state)
    again.ready(["named", "begun"].map((requestId) => ({ requestId, token: token[requestId] ?? 0 })))
    await vi.waitFor(() => expect(again.assigned().map(({ requestId }) => requestId)).toContain("unnamed"))
    await vi.waitFor(() => expect(again.assigned().map(({ requestId }) => requestId)).toContain("begun"))
    expect(again.cancelled()).toContain("begun")
    expect(again.assigned().map(({ requestId }) => requestId)).not.toContain("named")
    again.answer("named", token["named"] ?? 0, "done")
    await vi.waitFor(() => expect(w.shard.entries.ofRequest("named")?.end?.terminal).toBe("responded"))
    again.answer("unnamed", token["unnamed"] ?? 0, "too late")
    expect(w.told).toEqual(["named ended: responded", "stale ResponseHead of w1"])
  })

  it("are adopted with what the log says that they have by the next owner, and nobody else's", async () => {
    const before = await open()
    const held = before.connect("w1")
    held.ready()
    const { entry } = before.submit("r1")
    await stored(entry)
    const [assign] = held.assigned()
    await before.shard.flushed()
    before.shard.depart()
    expect(held.closed).toEqual(["the work of this version moves to another gateway"])
    const after = await open(before.log, 2)
    const stranger = after.connect("w2")
    stranger.ready([{ requestId: "r1", token: assign?.token ?? 0 }])
    expect(stranger.cancelled()).toEqual(["r1"])
    const again = after.connect("w1")
    again.ready([{ requestId: "r1", token: assign?.token ?? 0 }])
    again.answer("r1", assign?.token ?? 0, "by the first worker")
    await vi.waitFor(() => expect(after.told).toEqual(["r1 ended: responded"]))
    expect([again.assigned(), after.shard.entries.ofRequest("r1")?.attempts]).toEqual([[], 1])
  })

  it("are found by their instance, however many it has", async () => {
    const { shard, connect } = await open()
    const one = connect("w1")
    const two = connect("w2")
    connect("w3", "i2")
    expect(shard.workers.ofInstance("i1")).toEqual([one.state, two.state])
    shard.workers.lost(one.state)
    expect(shard.workers.ofInstance("i1")).toEqual([two.state])
    shard.workers.closed(two.state, two.connection, true)
    expect(shard.workers.ofInstance("i1")).toEqual([])
    expect([...shard.workers.all()].map(({ identity }) => identity.workerId)).toEqual(["w3"])
  })

  it("of an earlier process that are not there lose what they had at once, the others nothing", async () => {
    const before = await open()
    const [one, two] = [before.connect("w1"), before.connect("w2", "i2")]
    one.ready([], 1)
    two.ready([], 1)
    await stored(before.submit("r1").entry)
    await stored(before.submit("r2").entry)
    const [assign] = one.assigned()
    await before.shard.flushed()
    const after = await open(before.log, 2)
    const again = after.connect("w1")
    again.ready([{ requestId: assign?.requestId ?? "", token: assign?.token ?? 0 }])
    after.shard.workers.loseAbsent()
    await vi.waitFor(() => expect(again.assigned()).toHaveLength(1))
    expect(again.assigned()[0]?.requestId).not.toBe(assign?.requestId)
  })
})

describe("requests of a shard", () => {
  const large = (id: string): Body => ({ kind: "blob", id })
  const keyed = { idempotencyKey: "k", fingerprint: "one" }

  it("have their bodies removed once: when they are answered, refused, joined or not taken", async () => {
    const w = await open()
    const worker = w.connect("w1")
    const first = w.submit("first", { ...keyed, body: large("first.call"), resultRetentionMs: 1 })
    await stored(first.entry)
    expect(w.submit("second", { ...keyed, body: large("second.call") }).heard).toEqual(["joined first"])
    const conflict = w.submit("third", { ...keyed, fingerprint: "other", body: large("third.call") })
    expect(conflict.heard).toEqual(["refused: idempotency-conflict"])
    expect(w.removed).toEqual(["second.call", "third.call"])
    expect(w.shard.entries.ofRequest("third")).toBeUndefined()
    w.shard.cancel(first.entry)
    await vi.waitFor(() => expect(w.shard.entries.ofRequest("first")).toBeUndefined())
    expect(w.removed).toEqual(["second.call", "third.call", "first.call"])
    w.shard.takesCalls = false
    expect(w.submit("fourth", { body: large("fourth.call") }).heard).toEqual(["refused: shard-moving"])
    expect(w.removed.at(-1)).toBe("fourth.call")
    expect([w.removed.length, worker.got]).toEqual([4, []])
  })

  it("that certainly were not stored leave no body, and those that may have been keep it for the next start", async () => {
    const failed = await open()
    failed.log.fail = true
    const one = failed.submit("r1", { body: large("r1.call") })
    await vi.waitFor(() => expect(one.heard).toEqual(["refused: store-failed"]))
    expect(failed.removed).toEqual(["r1.call"])
    const unknown = await open()
    const reason = "the connection broke"
    Object.assign(unknown.log.service, {
      append: () => Effect.fail(new OutcomeUnknown({ port: "Log", operation: "append", reason }))
    })
    const other = unknown.submit("r1", { body: large("r1.call") })
    await vi.waitFor(() => expect(other.heard).toEqual(["refused: store-failed"]))
    expect(unknown.removed).toEqual([])
  })

  it("whose body still comes in have it stopped before it is removed", async () => {
    const w = await open()
    const steps: Array<string> = w.removed
    const never = () => Promise.reject(new Error("nobody reads it"))
    const abort = async () => void steps.push("aborted")
    const spool = new Spool({ write: never, readBack: never, finish: never, abort })
    const { entry } = w.submit("r1", { mode: "sync", body: { kind: "spool", id: "r1.call", spool } })
    w.shard.cancel(entry)
    await vi.waitFor(() => expect(steps).toEqual(["aborted", "r1.call"]))
  })

  it("are one request under one id, and the second leaves the first where it is found", async () => {
    const w = await open()
    const first = w.submit("r1")
    const again = w.submit("r1")
    expect([again.heard, again.entry === first.entry]).toEqual([["joined r1"], true])
    expect([...w.shard.entries.all()]).toEqual([first.entry])
  })

  it("of a log of former times may be two of one id, and the later one is found", async () => {
    const { submit } = await open()
    const [one, two] = [submit("r1").entry, submit("r2").entry]
    const twin = new Entry({ ...two, arrived: { ...two.arrived, requestId: "r1" }, ...callOf(two), caller: undefined })
    const entries = new ShardEntries({
      entries: [one, twin],
      payloads: new PayloadCache(),
      readRecord: () => Promise.reject(new Error("nothing is stored")),
      removeBlob: () => {},
      hasLetter: () => false,
      defect: () => {}
    })
    expect(entries.ofRequest("r1")).toBe(twin)
    entries.remove(one)
    expect([entries.ofRequest("r1"), entries.get(one.sequence)]).toEqual([twin, undefined])
    entries.remove(twin)
    expect(entries.ofRequest("r1")).toBeUndefined()
  })

  it("have their answer read back from the log when memory has let it go", async () => {
    const w = await open()
    const worker = w.connect("w1")
    worker.ready()
    const { entry } = w.submit("r1")
    await vi.waitFor(() => expect(worker.assigned()).toHaveLength(1))
    worker.answer("r1", worker.assigned()[0]?.token ?? 0, "the answer")
    await vi.waitFor(() => expect(entry.answerPosition).toBeDefined())
    entry.answer = undefined
    const answer = await w.shard.entries.answerOf(entry)
    expect(answer?.body).toEqual({ kind: "inline", bytes: Uint8Array.from(Buffer.from("the answer")) })
  })

  it("of a shard that departs are told to look elsewhere, and nothing of them is written any more", async () => {
    const w = await open()
    const { entry } = w.submit("stored")
    await stored(entry)
    const waiting = w.submit("waiting", { mode: "sync" })
    const before = await tagsOf(w.log)
    w.shard.depart()
    expect([waiting.heard, waiting.entry.hasMoved, w.shard.isOpen]).toEqual([["moved"], true, false])
    w.shard.cancel(entry)
    await w.shard.flushed()
    expect(await tagsOf(w.log)).toEqual(before)
  })
})

describe("a dead letter", () => {
  const die = async (w: Awaited<ReturnType<typeof open>>) => {
    const worker = w.connect("w1")
    worker.ready()
    const { heard, entry } = w.submit("r1", { maxAttempts: 1, body: { kind: "blob", id: "r1.call" } })
    await stored(entry)
    w.shard.workers.lost(worker.state)
    return { heard, entry }
  }

  it("H2: is on stable storage before the end that it is of, and has the body", async () => {
    const w = await open()
    const { entry } = await die(w)
    expect([await recordsOf(w.log, `${name}.dead-letters`), entry.end]).toEqual([[], undefined])
    await w.shard.flushed()
    expect([w.shard.deadLetters.has("r1"), (await tagsOf(w.log)).at(-1)]).toEqual([true, "RecordEnded"])
    await vi.waitFor(() => expect(w.told).toEqual(["r1 ended: dead-lettered"]))
    expect(w.removed).toEqual([])
  })

  it("that cannot be written leaves an end that nobody is told of as one", async () => {
    const w = await open()
    const append = w.log.service.append
    const isLetter = (of: string) => of === `${name}.dead-letters`
    Object.assign(w.log.service, {
      append: (...args: Parameters<typeof append>) =>
        isLetter(args[0]) ? Effect.die(new Error("no letters today")) : append(...args)
    })
    await die(w)
    await vi.waitFor(() => expect(w.told.some((line) => line.startsWith("store failed"))).toBe(true))
    await w.shard.flushed()
    expect(await tagsOf(w.log)).not.toContain("RecordEnded")
    expect(w.told).not.toContain("r1 ended: dead-lettered")
  })
})
