/**
 * One version, one worker and a list of what waits, for the laws of order (L21 to L23 of `src/core/buffer/Buffer.ts`).
 *
 * The list is the oracle: it knows classes, ages and delays by the text of the laws, and looks through all of it at
 * each lease. One version and one worker, because versions share nothing but the capacity.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert } from "vitest"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Command, DurableRecord, Event, RecordRef, ServiceClass } from "../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../src/core/buffer/BufferOptions.ts"
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import { savedTurnsMax } from "../src/core/buffer/Lanes.ts"
import { firstDifference } from "./BufferIndexes.ts"
import { type Machine, rightMachine, roundTrip } from "./BufferWorld.ts"

/** A machine under test, with what it says of those that wait. */
export interface Ordering extends Machine {
  readonly position: typeof Buffer.position
  readonly expectedStartMs: typeof Buffer.expectedStartMs
}

export const rightOrdering: Ordering = {
  ...rightMachine,
  position: Buffer.position,
  expectedStartMs: Buffer.expectedStartMs
}

interface Waiting {
  readonly sequence: number
  readonly tenant: string
  readonly arrivedMs: number
  readonly serviceClass: ServiceClass
  waitsAs: ServiceClass
  /** 0: ready. */
  notBeforeMs: number
  attempts: number
}

interface Lease {
  readonly sequence: number
  readonly token: number
  readonly request: Waiting
}

const version = "version"
export const workerId = "worker"
export const slots = 2

/** The machine, a log that never fails, and the list that says who may be next. */
export class Queue {
  readonly machine: Ordering
  readonly options: BufferOptions
  state: Buffer.State
  nowMs = 1_000_000
  epoch = 1
  sequence = 0
  log: Array<DurableRecord> = []
  waiting: Array<Waiting> = []
  leases: Array<Lease> = []
  /** By class and two tenants: how much more the first was served at most while the second waited. */
  readonly lead = new Map<string, number>()
  longestLead = 0
  readonly known = new Set<string>()
  readonly met = new Map<string, number>()
  /** Looking through everything after every step is not for thousands of requests. */
  isWatched = true

  constructor(waitMaxMs: number | null, machine: Ordering = rightOrdering) {
    this.machine = machine
    const aging = waitMaxMs === null ? {} : { opportunisticWaitMaxMs: waitMaxMs }
    this.options = { ...defaults, redeliveryDelayMs: 8, redeliveryDelayMaxMs: 20, visibilityTimeoutMs: 1e9, ...aging }
    this.state = machine.empty(this.options)
    this.send({ _tag: "Recovered", nowMs: this.nowMs, epoch: this.epoch })
    this.join()
  }

  join(): void {
    const of = { workerId, instanceId: "instance", version, slots, holds: [] }
    this.send({ _tag: "WorkerJoined", nowMs: this.nowMs, ...of })
  }

  arrive(tenant: string, serviceClass: ServiceClass | undefined): void {
    const sequence = ++this.sequence
    const { nowMs } = this
    const waitsAs = serviceClass ?? "deadline"
    const request = { sequence, tenant, arrivedMs: nowMs, serviceClass: waitsAs, waitsAs, notBeforeMs: 0, attempts: 0 }
    this.waiting.push(request)
    this.known.add(tenant)
    this.send({
      _tag: "Arrived",
      nowMs,
      sequence,
      requestId: `request-${sequence}`,
      tenant,
      version,
      mode: "async",
      durability: "accepted",
      deadlineMs: nowMs + 1e9,
      sizeBytes: 1,
      maxAttempts: 1_000,
      ...(serviceClass === undefined ? {} : { serviceClass })
    })
  }

  answer(isFailure: boolean): void {
    const lease = this.leases.shift()
    if (lease === undefined) return
    const { sequence, token, request } = lease
    const of = { nowMs: this.nowMs, sequence, workerId, token }
    if (isFailure) this.#lose(request)
    if (isFailure) this.send({ _tag: "AttemptFailed", ...of, retryable: true, message: "again" })
    else this.send({ _tag: "ResponseEnded", ...of, resultBytes: 1 })
  }

  pass(ms: number): void {
    this.nowMs += ms
    this.#age()
    this.send({ _tag: "Ticked", nowMs: this.nowMs })
  }

  /** Another process reads the log, or a snapshot; the worker is gone with what it held. */
  restart(fromSnapshot: boolean): void {
    this.state = fromSnapshot
      ? this.machine.restore(roundTrip(Buffer.snapshot(this.state)), this.options)
      : this.log.reduce((state, record) => {
          return this.machine.step(state, { _tag: "Replayed", record: roundTrip(record) })[0]
        }, this.machine.empty(this.options))
    this.#meet("restart")
    this.lead.clear()
    // A log knows no age: the first tick tells it again.
    for (const request of this.waiting) request.waitsAs = request.serviceClass
    this.epoch += 1
    this.send({ _tag: "Recovered", nowMs: this.nowMs, epoch: this.epoch })
    for (const { request } of this.leases.splice(0)) this.#lose(request)
    this.send({ _tag: "WorkerLost", nowMs: this.nowMs, workerId })
    this.#age()
    this.send({ _tag: "Ticked", nowMs: this.nowMs })
    this.join()
  }

  send(event: Event): void {
    const [state, commands] = this.machine.step(this.state, event)
    this.state = state
    const refs: Array<RecordRef> = []
    for (const command of commands) this.#carryOut(command, refs)
    if (this.isWatched) this.#check()
    if (refs.length === 0) return
    this.send({ _tag: "FlushStarted", records: refs })
    this.send({ _tag: "Persisted", nowMs: this.nowMs, records: refs })
  }

  #carryOut(command: Command, refs: Array<RecordRef>): void {
    if (command._tag === "Append") {
      this.log.push(command.record)
      refs.push(command.ref)
    } else if (command._tag === "Assign") {
      const request = this.waiting.find(({ sequence }) => sequence === command.sequence)
      assert.isDefined(request, `${command.sequence} was leased and did not wait`)
      this.#lease(request, command.token)
    }
  }

  #lease(request: Waiting, token: number): void {
    const { sequence, tenant, waitsAs } = request
    const ready = this.waiting.filter(({ notBeforeMs }) => notBeforeMs === 0)
    assert.strictEqual(request.notBeforeMs, 0, `L21: ${sequence} was leased within its redelivery delay`)
    const isOther = ready.some((other) => other.waitsAs === "deadline")
    assert.isFalse(waitsAs === "opportunistic" && isOther, `L22: ${sequence} went before one of class deadline`)
    const mine = ready.filter((other) => other.tenant === tenant && other.waitsAs === waitsAs)
    const oldest = Math.min(...mine.map((other) => other.sequence))
    assert.strictEqual(sequence, oldest, `L21: ${tenant} has an older one`)
    this.#meet(`leased ${waitsAs}`)
    if (request.arrivedMs !== this.nowMs) this.#meet(`leased ${waitsAs} later`)
    const tenants = new Set(ready.filter((other) => other.waitsAs === waitsAs).map((other) => other.tenant))
    if (tenants.size > 1) this.#meet("leased among tenants")
    this.#serve(waitsAs, tenant, tenants)
    request.attempts += 1
    this.waiting = this.waiting.filter((other) => other !== request)
    this.leases.push({ sequence, token, request })
  }

  /** While one waits, no other is served more often than it is, but for what that one has saved and two. */
  #serve(waitsAs: ServiceClass, tenant: string, tenants: ReadonlySet<string>): void {
    for (const key of this.lead.keys()) {
      const [ofClass, , behind] = key.split("/")
      if (ofClass === waitsAs && !tenants.has(behind ?? "")) this.lead.delete(key)
    }
    for (const other of this.known) {
      if (other === tenant) continue
      const [mine, theirs] = [`${waitsAs}/${tenant}/${other}`, `${waitsAs}/${other}/${tenant}`]
      // From wherever it is counted: a lead that was made up for is none.
      if (this.lead.has(theirs)) this.lead.set(theirs, Math.max(0, (this.lead.get(theirs) ?? 0) - 1))
      if (!tenants.has(other)) continue
      const lead = (this.lead.get(mine) ?? 0) + 1
      this.lead.set(mine, lead)
      if (lead > 2) this.#meet("saved turns")
      this.longestLead = Math.max(this.longestLead, lead)
      assert.isAtMost(lead, savedTurnsMax + 2, `L21: ${tenant} is served before ${other} for too long`)
    }
  }

  #lose(request: Waiting): void {
    const delayMs = Math.min(8 * 2 ** (request.attempts - 1), 20)
    this.waiting.push({ ...request, notBeforeMs: this.nowMs + delayMs, waitsAs: this.#classOf(request) })
  }

  #age(): void {
    for (const request of this.waiting) {
      if (request.notBeforeMs <= this.nowMs) request.notBeforeMs = 0
      const aged = this.#classOf(request)
      if (aged !== request.waitsAs) this.#meet("aged")
      request.waitsAs = aged
    }
  }

  #classOf({ waitsAs, arrivedMs }: Waiting): ServiceClass {
    const { opportunisticWaitMaxMs } = this.options
    const isAged = opportunisticWaitMaxMs !== undefined && this.nowMs >= arrivedMs + opportunisticWaitMaxMs
    return waitsAs === "opportunistic" && !isAged ? "opportunistic" : "deadline"
  }

  #check(): void {
    assert.isNull(firstDifference(this.state), "L2: the indexes")
    const { freeSlots, pending } = Buffer.demand(this.state, version)
    const isReady = this.waiting.some(({ notBeforeMs }) => notBeforeMs === 0)
    assert.isTrue(freeSlots === 0 || !isReady, "L21: a slot is free and a ready request waits")
    assert.strictEqual(pending, this.waiting.length)
    for (const one of this.waiting) {
      const before = this.waiting.filter((other) => isBefore(other, one)).length
      const position = this.machine.position(this.state, one.sequence)
      // The assertion itself costs more than the rest of this loop.
      if (position !== before) assert.fail(`L23: the position of ${one.sequence} is ${position}, not ${before}`)
    }
    this.#checkExpectations()
  }

  /** L23 without a clock: what follows from the order alone. */
  #checkExpectations(): void {
    const { nowMs } = this
    const inOrder = this.waiting.toSorted((one, other) => (isBefore(one, other) ? -1 : 1))
    let latest = nowMs
    for (const { sequence, notBeforeMs } of inOrder) {
      const expectedMs = this.machine.expectedStartMs(this.state, sequence, nowMs)
      if (expectedMs === undefined) assert.fail(`L23: ${sequence} waits and nothing is expected of it`)
      if (expectedMs === "unknown") continue
      this.#meet("expected")
      if (expectedMs < Math.max(nowMs, notBeforeMs)) assert.fail(`L23: ${sequence} is expected too early`)
      if (notBeforeMs > nowMs) continue
      if (expectedMs < latest) assert.fail(`L23: ${sequence} is expected before one that is before it`)
      latest = expectedMs
    }
    for (const { sequence } of this.leases)
      assert.isUndefined(this.machine.expectedStartMs(this.state, sequence, nowMs))
  }

  #meet(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1)
  }
}

const isBefore = (one: Waiting, other: Waiting): boolean =>
  one.waitsAs === other.waitsAs ? one.sequence < other.sequence : one.waitsAs === "deadline"

type Action =
  | { readonly kind: "arrive"; readonly tenant: string; readonly serviceClass: ServiceClass | undefined }
  | { readonly kind: "answer"; readonly isFailure: boolean }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "restart"; readonly fromSnapshot: boolean }

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("arrive"),
      tenant: fc.constantFrom("tenant-0", "tenant-1", "tenant-2"),
      serviceClass: fc.constantFrom<ServiceClass | undefined>("deadline", "opportunistic", "opportunistic", undefined)
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("answer"),
      isFailure: fc.integer({ min: 0, max: 3 }).map((drawn) => drawn === 0)
    })
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("pass"), ms: fc.constantFrom(0, 1, 7, 8, 15, 40) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart"), fromSnapshot: fc.boolean() }) }
)

const perform = (queue: Queue, action: Action): void => {
  if (action.kind === "arrive") queue.arrive(action.tenant, action.serviceClass)
  else if (action.kind === "answer") queue.answer(action.isFailure)
  else if (action.kind === "pass") queue.pass(action.ms)
  else queue.restart(action.fromSnapshot)
}

/** `law`: the only one that is held; without it all are. */
export const scenarios = (machine: Ordering, visit: (queue: Queue) => void, law?: string) =>
  fc.property(
    fc.array(action, { minLength: 10, maxLength: 60, size: "max" }),
    fc.constantFrom(null, 20, 100),
    (actions, waitMaxMs) => {
      try {
        const queue = new Queue(waitMaxMs, machine)
        // The laws of order are about leases alone; the position of L23 would be the first to be wrong.
        queue.isWatched = law === undefined || law === "L23"
        for (const action of actions) perform(queue, action)
        visit(queue)
      } catch (error) {
        if (law === undefined || (error instanceof Error && error.message.startsWith(`${law}:`))) throw error
      }
    }
  )

/** Tenants that come in bursts, some while others have a long queue: what is saved is spent. */
export const bursts = (machine: Ordering, visit: (queue: Queue) => void) => {
  const count = fc.integer({ min: 1, max: 14 })
  const burst = fc.record({ tenant: fc.constantFrom("tenant-0", "tenant-1", "tenant-2", "tenant-3", null), count })
  return fc.property(fc.array(burst, { minLength: 20, maxLength: 80, size: "max" }), (all) => {
    const queue = new Queue(null, machine)
    queue.isWatched = false
    for (const { tenant, count } of all) {
      for (let left = count; left > 0; left--) {
        if (tenant === null) queue.answer(false)
        else queue.arrive(tenant, undefined)
      }
      // As much is served as comes, so that tenants have nothing ready now and then.
      for (let left = count; left > 0 && tenant !== "tenant-0"; left--) queue.answer(false)
    }
    visit(queue)
  })
}

/** With answers alone everything is leased in the end. */
export const everybodyIsServed = (queue: Queue): void => {
  queue.isWatched = false
  for (let left = 300; left > 0 && (queue.waiting.length > 0 || queue.leases.length > 0); left--) {
    queue.answer(false)
    queue.pass(20)
  }
  assert.lengthOf(queue.waiting, 0, "L18: somebody starved")
}
