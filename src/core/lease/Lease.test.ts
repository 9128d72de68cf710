import { assert, describe, it } from "vitest"
import * as Lease from "./Lease.ts"

const options: Lease.Options = { me: "p1", ttlMs: 90, renewMs: 30, marginMs: 10 }
const record = (more: Partial<Lease.Record> = {}): Lease.Record => ({
  epoch: 4,
  holder: "p2",
  ttlMs: 60,
  sentAtMs: 7,
  ...more
})
const seen = (revision: number, more?: Partial<Lease.Record>): Lease.Seen => ({ record: record(more), revision })

const idle: Lease.State = Lease.idle(5)
const unread: Lease.State = { _tag: "Unread", askedAtMs: 100, newestRevision: 8 }
const watching: Lease.State = { _tag: "Watching", seen: seen(8), seenAtMs: 100 }
const acquiring: Lease.State = { _tag: "Acquiring", seen: seen(8), seenAtMs: 100, epoch: 5, sentAtMs: 160 }
const holding: Lease.State = { _tag: "Holding", epoch: 5, revision: 9, untilMs: 250, renewAtMs: 190 }

const mine = (revision: number, more?: Partial<Lease.Record>) =>
  seen(revision, { epoch: 5, holder: "p1", ttlMs: 90, sentAtMs: 160, ...more })

const read = (atMs: number) => ({ _tag: "Read", atMs })
const write = (epoch: number, sentAtMs: number, expectedRevision: number, holder: string | null = "p1") => ({
  _tag: "CompareAndSet",
  record: { epoch, holder, ttlMs: 90, sentAtMs },
  expectedRevision
})
const { Wanted, ReleaseWanted, Seen, Written, Refused, WriteUnknown, Ticked } = Lease.Event

const leads = (state: Lease.State, event: Lease.Event, next: object, commands: ReadonlyArray<object> = []) =>
  assert.deepEqual(JSON.parse(JSON.stringify(Lease.step(options, state, event))), [{ ...next }, commands])

const changesNothing = (state: Lease.State, ...events: ReadonlyArray<Lease.Event>) => {
  for (const event of events) {
    const [next, commands] = Lease.step(options, state, event)
    assert.strictEqual(next, state, event._tag)
    assert.deepStrictEqual(commands, [], event._tag)
  }
}

describe("lease", () => {
  it("idle, it cares for nothing until it is wanted; then it reads", () => {
    leads(idle, Wanted({ nowMs: 9 }), { _tag: "Unread", askedAtMs: 9, newestRevision: 0 }, [read(9)])
    const nowMs = 9
    changesNothing(
      idle,
      ReleaseWanted({ nowMs }),
      Seen({ nowMs, seen: seen(1) }),
      Written({ nowMs, seen: seen(1) }),
      Refused({ nowMs }),
      WriteUnknown({ nowMs }),
      Ticked({ nowMs })
    )
    assert.deepEqual({ ...Lease.idle(5) }, { _tag: "Idle", sinceMs: 5, newestRevision: 0 })
  })

  it("unread, it asks again exactly when the time of a renewal is over", () => {
    changesNothing(
      unread,
      Wanted({ nowMs: 500 }),
      Written({ nowMs: 500, seen: seen(1) }),
      Refused({ nowMs: 500 }),
      WriteUnknown({ nowMs: 500 }),
      Ticked({ nowMs: 129 })
    )
    changesNothing(unread, Seen({ nowMs: 110, seen: seen(7, { holder: null }) }))
    leads(unread, Ticked({ nowMs: 130 }), { _tag: "Unread", askedAtMs: 130, newestRevision: 8 }, [read(130)])
    leads(unread, ReleaseWanted({ nowMs: 111 }), { _tag: "Idle", sinceMs: 111, newestRevision: 8 })
  })

  it("what is another's is watched for a whole ttl of that other; what is free is taken at once, with the next epoch", () => {
    leads(unread, Seen({ nowMs: 110, seen: seen(8) }), { _tag: "Watching", seen: seen(8), seenAtMs: 110 })
    const released = seen(8, { holder: null })
    leads(
      unread,
      Seen({ nowMs: 110, seen: released }),
      { _tag: "Acquiring", seen: released, seenAtMs: 110, epoch: 5, sentAtMs: 110 },
      [write(5, 110, 8)]
    )
    const nothing: Lease.Seen = { record: null, revision: 0 }
    leads(
      { ...unread, newestRevision: 0 },
      Seen({ nowMs: 110, seen: nothing }),
      { _tag: "Acquiring", seen: nothing, seenAtMs: 110, epoch: 1, sentAtMs: 110 },
      [write(1, 110, 0)]
    )
    changesNothing(watching, Ticked({ nowMs: 159 }))
    leads(watching, Ticked({ nowMs: 160 }), { ...acquiring }, [write(5, 160, 8)])
  })

  it("watching, only a newer revision begins the wait anew", () => {
    changesNothing(
      watching,
      Seen({ nowMs: 150, seen: seen(8) }),
      Seen({ nowMs: 150, seen: seen(7) }),
      Wanted({ nowMs: 300 }),
      Written({ nowMs: 300, seen: seen(9) }),
      Refused({ nowMs: 300 }),
      WriteUnknown({ nowMs: 300 })
    )
    leads(watching, Seen({ nowMs: 150, seen: seen(9) }), { _tag: "Watching", seen: seen(9), seenAtMs: 150 })
    leads(watching, ReleaseWanted({ nowMs: 150 }), { _tag: "Idle", sinceMs: 150, newestRevision: 8 })
  })

  it("acquiring, it is gained by the sight of its own record, from when that was sent", () => {
    const gained = { _tag: "Holding", epoch: 5, revision: 9, untilMs: 250, renewAtMs: 190 }
    for (const event of [Seen({ nowMs: 239, seen: mine(9) }), Written({ nowMs: 239, seen: mine(9) })]) {
      leads(acquiring, event, gained, [{ _tag: "Gained", epoch: 5 }])
    }
    leads(acquiring, Written({ nowMs: 240, seen: mine(9) }), { _tag: "Watching", seen: mine(9), seenAtMs: 240 })
    changesNothing(acquiring, Seen({ nowMs: 170, seen: mine(8) }), Written({ nowMs: 170, seen: mine(7) }))
  })

  it("acquiring, a newer record that is another's, or of another epoch, is watched", () => {
    for (const other of [seen(9), mine(9, { holder: "p2" })]) {
      leads(acquiring, Seen({ nowMs: 170, seen: other }), { _tag: "Watching", seen: other, seenAtMs: 170 })
    }
    // Its own of a former grant: nobody can act under it.
    const former = mine(9, { epoch: 6 })
    leads(
      acquiring,
      Seen({ nowMs: 170, seen: former }),
      { _tag: "Acquiring", seen: former, seenAtMs: 170, epoch: 7, sentAtMs: 170 },
      [write(7, 170, 9)]
    )
    const gone: Lease.Seen = { record: null, revision: 9 }
    leads(
      acquiring,
      Seen({ nowMs: 170, seen: gone }),
      { _tag: "Acquiring", seen: gone, seenAtMs: 170, epoch: 1, sentAtMs: 170 },
      [write(1, 170, 9)]
    )
  })

  it("acquiring, a write that was refused or is unknown is looked at, and one without an answer is sent again", () => {
    for (const event of [Refused({ nowMs: 170 }), WriteUnknown({ nowMs: 170 })]) {
      leads(acquiring, event, { ...acquiring }, [read(170)])
    }
    changesNothing(acquiring, Ticked({ nowMs: 189 }), Wanted({ nowMs: 500 }))
    leads(acquiring, Ticked({ nowMs: 190 }), { ...acquiring, sentAtMs: 190 }, [write(5, 190, 8), read(190)])
    leads(acquiring, ReleaseWanted({ nowMs: 170 }), { _tag: "Idle", sinceMs: 170, newestRevision: 8 })
  })

  it("holding, it is renewed in time, and a renewal never shortens it", () => {
    changesNothing(
      holding,
      Ticked({ nowMs: 189 }),
      Wanted({ nowMs: 500 }),
      Seen({ nowMs: 200, seen: mine(9, { sentAtMs: 190 }) }),
      Written({ nowMs: 200, seen: seen(8) })
    )
    leads(holding, Ticked({ nowMs: 190 }), { ...holding, renewAtMs: 220 }, [write(5, 190, 9)])
    for (const event of [Written, Seen]) {
      leads(holding, event({ nowMs: 200, seen: mine(10, { sentAtMs: 190 }) }), {
        ...holding,
        revision: 10,
        untilMs: 280
      })
    }
    leads(holding, Seen({ nowMs: 200, seen: mine(10, { sentAtMs: 100 }) }), { ...holding, revision: 10 })
    for (const event of [Refused({ nowMs: 170 }), WriteUnknown({ nowMs: 170 })]) {
      leads(holding, event, { ...holding }, [read(170)])
    }
  })

  it("holding, it is lost to whom the store names, and says to whom", () => {
    const lost = (reason: string) => [{ _tag: "Lost", epoch: 5, reason }, read(200)]
    leads(
      holding,
      Seen({ nowMs: 200, seen: seen(10, { epoch: 6 }) }),
      { _tag: "Watching", seen: seen(10, { epoch: 6 }), seenAtMs: 200 },
      lost("p2 holds it now")
    )
    const released = mine(10, { holder: null })
    leads(
      holding,
      Written({ nowMs: 200, seen: released }),
      { _tag: "Watching", seen: released, seenAtMs: 200 },
      lost("nobody holds it now")
    )
    const gone: Lease.Seen = { record: null, revision: 10 }
    leads(
      holding,
      Seen({ nowMs: 200, seen: gone }),
      { _tag: "Watching", seen: gone, seenAtMs: 200 },
      lost("nobody holds it now")
    )
  })

  it("holding, it stops a margin before its end, and waits for its own record like for another's", () => {
    leads(holding, Ticked({ nowMs: 240 }), { _tag: "Watching", seen: mine(9, { sentAtMs: 240 }), seenAtMs: 240 }, [
      { _tag: "Lost", epoch: 5, reason: "it could not be renewed in time" },
      read(240)
    ])
    leads(holding, Ticked({ nowMs: 239 }), { ...holding, renewAtMs: 269 }, [write(5, 239, 9)])
    assert.isTrue(Lease.isActing(options, holding, 239))
    assert.isFalse(Lease.isActing(options, holding, 240))
    for (const state of [idle, unread, watching, acquiring]) assert.isFalse(Lease.isActing(options, state, 0))
  })

  it("E3: it has stopped before it asks to release", () => {
    leads(holding, ReleaseWanted({ nowMs: 200 }), { _tag: "Idle", sinceMs: 200, newestRevision: 9 }, [
      { _tag: "Lost", epoch: 5, reason: "released" },
      write(5, 200, 9, null)
    ])
  })

  it("it asks to be woken when a tick has something to do", () => {
    const wakes = (state: Lease.State) => Lease.wakeAtMs(options, state)
    assert.strictEqual(wakes(idle), Number.POSITIVE_INFINITY)
    assert.strictEqual(wakes(unread), 130)
    assert.strictEqual(wakes(watching), 160)
    assert.strictEqual(wakes({ ...watching, seen: seen(8, { holder: null }) }), 100)
    assert.strictEqual(wakes(acquiring), 190)
    assert.strictEqual(wakes(holding), 190)
    assert.strictEqual(wakes({ ...holding, renewAtMs: 245 }), 240)
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    const strange = { _tag: "Strange" } as never
    for (const [state, event] of [
      [strange, Ticked({ nowMs: 1 })],
      [acquiring, strange],
      [holding, strange]
    ] as const) {
      assert.throws(() => Lease.step(options, state, event), 'unreachable case {"_tag":"Strange"}')
    }
  })

  it("a record of epoch 1 and of 1 ms is one; of epoch 0, of no time or of half a millisecond is none", () => {
    const text = (more: object) => JSON.stringify({ epoch: 1, holder: null, ttlMs: 1, sentAtMs: -3.5, ...more })
    assert.deepStrictEqual(Lease.decode(text({})), { epoch: 1, holder: null, ttlMs: 1, sentAtMs: -3.5 })
    for (const more of [
      { epoch: 0 },
      { epoch: 1.5 },
      { ttlMs: 0 },
      { ttlMs: 1.5 },
      { holder: 3 },
      { sentAtMs: null }
    ]) {
      assert.isUndefined(Lease.decode(text(more)), JSON.stringify(more))
    }
  })
})
