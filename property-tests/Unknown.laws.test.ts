/**
 * L20 wherever the outcome of something can be unknown: an answer that did not come is neither a yes nor a no nor a
 * zero. Here: an attempt whose worker is gone, a broken connection, a figure that nobody measured, the write of a lease.
 * Elsewhere: a write to a shard's log (`mixes.storeFails` in `BufferLaws.ts`), the load of a cluster
 * (`Routing.laws.test.ts`), an agent that is silent (`Instance.laws.test.ts`), the write of a task (T5, `Task.laws.test.ts`).
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Fleet from "../src/core/instance/Fleet.ts"
import * as RestartBudget from "../src/core/instance/RestartBudget.ts"
import * as Lease from "../src/core/lease/Lease.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { PolicySpec, Reading } from "../src/core/scaling/Policy.ts"
import { PolicyName } from "../src/core/scaling/PolicyChoice.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"
import { perform } from "./BufferActions.ts"
import { law, mixes } from "./BufferLaws.ts"
import { rightMachine, World } from "./BufferWorld.ts"
import { upholds } from "./upholds.ts"
import * as BufferBugs from "./zoo/bufferBugs.ts"
import * as InstanceBugs from "./zoo/instanceBugs.ts"
import { kills } from "./zoo/kills.ts"
import * as LeaseBugs from "./zoo/leaseBugs.ts"
import * as ScalingBugs from "./zoo/scalingBugs.ts"

interface Look {
  readonly byMs: number
  readonly pending: Reading
  readonly leased: Reading
  readonly ready: number
}

const figure = fc.oneof({ weight: 2, arbitrary: fc.nat(9) }, { weight: 1, arbitrary: fc.constant("unknown" as const) })

const looks: fc.Arbitrary<ReadonlyArray<Look>> = fc.array(
  fc.record({ byMs: fc.constantFrom(10, 1_000, 60_000, 600_000), pending: figure, leased: figure, ready: fc.nat(5) }),
  { minLength: 1, maxLength: 20 }
)

const spec: PolicySpec = { minInstances: 0, maxInstances: 6, concurrency: 2, idleWindowMs: 30_000 }

/** What is there stays while nobody knows what it is needed for, for however long. */
const keepsWhatIsThere = (start: ScalingBugs.Start) =>
  fc.property(looks, (history) => {
    let machine = start()
    let nowMs = 1_000
    for (const { byMs, pending, leased, ready } of history) {
      nowMs += byMs
      const before = machine.desired
      const observation = {
        nowMs,
        pending,
        leased,
        oldestPendingMs: pending === "unknown" ? pending : pending > 0 ? 1 : null,
        arrivalsTotal: pending,
        ready,
        starting: 0,
        draining: 0,
        slotsPerInstance: spec.concurrency,
        desired: before,
        spec
      }
      machine = machine.next(Scaling.Event.Observed({ observation }))[0]
      if (pending !== "unknown" && leased !== "unknown") continue
      assert.isAtLeast(machine.desired, Math.min(Math.max(before, ready), spec.maxInstances), "L20: unknown lowered it")
    }
  })

const member: fc.Arbitrary<Omit<Fleet.Member, "id">> = fc.record({
  generation: fc.constant(1),
  state: fc.constantFrom("requested", "starting", "ready", "ready"),
  leased: fc.constantFrom<Reading>(0, 0, 3, "unknown"),
  requestedAtMs: fc.nat(100),
  leaving: fc.constant(false)
})

/** Whoever may hold work goes after all that hold none. */
const takesUnknownForBusy = (planOf: InstanceBugs.Plan) =>
  fc.property(fc.array(member, { maxLength: 8 }), fc.nat(6), (drawn, desired) => {
    const members = drawn.map((each, index) => ({ ...each, id: `i${index}` }))
    const plan = planOf({ desired, generation: 1, members, nowMs: 1_000, budget: RestartBudget.empty })
    const gone = new Set(plan.drain.map(({ id }) => id))
    const isUnknownGone = members.some(({ id, leased }) => gone.has(id) && leased === "unknown")
    const isIdleKept = members.some(({ id, leased }) => !gone.has(id) && leased === 0)
    assert.isFalse(isUnknownGone && isIdleKept, "L20: drained though it may hold work, while an idle one stays")
  })

const options: Lease.Options = { me: "me", ttlMs: 90, renewMs: 30, marginMs: 10 }

const leaseEvent: fc.Arbitrary<(nowMs: number) => Lease.Event> = fc.oneof(
  fc.constantFrom(
    (nowMs: number) => Lease.Event.Wanted({ nowMs }),
    (nowMs: number) => Lease.Event.Ticked({ nowMs }),
    (nowMs: number) => Lease.Event.Refused({ nowMs })
  ),
  fc
    .record({ holder: fc.constantFrom(null, "me", "you"), epoch: fc.integer({ min: 1, max: 4 }), revision: fc.nat(5) })
    .map(({ holder, epoch, revision }) => (nowMs: number) => {
      const record = { epoch, holder, ttlMs: options.ttlMs, sentAtMs: nowMs }
      return Lease.Event.Seen({ nowMs, seen: { record: revision === 0 ? null : record, revision } })
    })
)

/** It is read back, and until then nothing is gained or lost by it. */
const readsBack = (machine: LeaseBugs.Leases) =>
  fc.property(fc.array(fc.tuple(fc.constantFrom(1, 15, 40, 95), leaseEvent), { maxLength: 12 }), (history) => {
    let nowMs = 0
    let state = Lease.idle(nowMs)
    for (const [byMs, make] of history) {
      nowMs += byMs
      state = machine.step(options, state, make(nowMs))[0]
      const [after, commands] = machine.step(options, state, Lease.Event.WriteUnknown({ nowMs }))
      assert.strictEqual(after, state, `L20: an unknown write made ${after._tag} of ${state._tag}`)
      assert.isTrue(
        commands.every(({ _tag }) => _tag === "Read"),
        `L20: it ordered ${JSON.stringify(commands)}`
      )
      const isItsOwn = state._tag === "Acquiring" || state._tag === "Holding"
      assert.strictEqual(commands.length, isItsOwn ? 1 : 0, "L20: it is read back")
    }
  })

describe("what nobody knows", () => {
  it("L20: an attempt whose worker is gone, or whose connection broke, is neither done nor undone", () => {
    upholds(law("L20", mixes.fences)(rightMachine), { numRuns: 150 })
    upholds(law("L20", mixes.showsOneAttempt)(rightMachine), { numRuns: 150 })
  })

  it("L20: what was never handed to a log that broke is told that nothing was kept, though its deadline ends it first", () => {
    const world = new World(rightMachine)
    world.isHistoryKept = true
    const arrival = {
      kind: "arrive",
      durability: "accepted",
      tenant: 0,
      version: 1,
      sizeBytes: 1,
      maxAttempts: 1
    } as const
    const more = { isOpportunistic: false, fingerprint: 0, isOld: false } as const
    perform(world, { kind: "join", worker: 1, slots: 1, holds: "none" })
    perform(world, { ...arrival, ...more, mode: "sync", key: 1, deadlineInMs: 1_000_000 })
    perform(world, { ...arrival, ...more, mode: "async", key: 0, deadlineInMs: 3 })
    perform(world, { kind: "pass", ms: 20, tick: false })
    perform(world, { kind: "flush", countMax: 1, persist: false })
    perform(world, { kind: "break", isWritten: false, isUnknown: true })
    // The slot of the first comes free when its write is given up, and only then the second is looked at.
    const told = world.history.map(({ commands }) => commands).join()
    assert.include(told, '{"_tag":"Refuse","sequence":2,"refusal":{"kind":"store-failed","kept":"nothing"}}')
  })

  for (const name of PolicyName.literals) {
    it(`L20: under ${name}, what is there stays while the load is unknown`, () => {
      upholds(
        keepsWhatIsThere(() => Policies.start(name)),
        { numRuns: 200 }
      )
    })
  }

  it("L20: an instance of which nobody knows what it holds is drained after the idle ones", () => {
    upholds(takesUnknownForBusy(Fleet.plan), { numRuns: 1_000 })
  })

  it("L20: a lease whose write nobody knows of is read back, and nothing is gained or lost by it", () => {
    upholds(readsBack(LeaseBugs.sound), { numRuns: 1_000 })
  })

  it("L20 kills: ends and losses told for work that nobody knows of", () => {
    const { endsWithTheWorker, takesSilenceForLoss } = BufferBugs
    kills(law("L20", mixes.fences), { endsWithTheWorker, takesSilenceForLoss })
  })

  it("L20 kills: the unknown taken for zero, for idle, for written and for lost", () => {
    kills(keepsWhatIsThere, { unknownIsZero: ScalingBugs.unknownIsZero })
    kills(takesUnknownForBusy, { unknownIsIdle: InstanceBugs.unknownIsIdle })
    kills(readsBack, { takesUnknownForWritten: LeaseBugs.takesUnknownForWritten, givesUp: LeaseBugs.givesUp })
  })
})
