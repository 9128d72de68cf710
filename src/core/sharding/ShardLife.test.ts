import { assert, describe, it } from "vitest"
import type { Command, Event, State } from "./ShardLife.ts"
import * as ShardLife from "./ShardLife.ts"

const epoch = 4
const resting: State = { _tag: "Resting" }
const asking: State = { _tag: "Asking" }
const pausing: State = { _tag: "Pausing" }
const opening: State = { _tag: "Opening", epoch }
const serving: State = { _tag: "Serving", epoch }
const suspended: State = { _tag: "Suspended", epoch }
const leaving: State = { _tag: "Leaving", epoch, isWantedAgain: false }
const wantedAgain: State = { _tag: "Leaving", epoch, isWantedAgain: true }
const all = [resting, asking, pausing, opening, serving, suspended, leaving, wantedAgain]

const ask: Command = { _tag: "Ask" }
const release: Command = { _tag: "Release" }
const pause: Command = { _tag: "Pause" }
const abandon: Command = { _tag: "Abandon", epoch }

const answers = ["Lost", "Opened", "OpenFailed", "StoreFailed", "HandedOver", "StayedOn", "GivenUp"] as const
const wishes = ["Wanted", "Unwanted", "PauseOver"] as const
type Name = (typeof answers)[number] | (typeof wishes)[number] | "Gained"

/** Of the epoch that all are in, unless another is named. */
const eventOf = (name: Name, of = epoch): Event =>
  name === "Wanted" || name === "Unwanted" || name === "PauseOver" ? { _tag: name } : { _tag: name, epoch: of }

const becomes = (from: State, event: Name | Event, to: State, ...commands: ReadonlyArray<Command>) => {
  const happened = typeof event === "string" ? eventOf(event) : event
  assert.deepStrictEqual(ShardLife.step(from, happened), [to, commands], `${happened._tag} in ${from._tag}`)
}

/** The very same state, and nothing to do. */
const stays = (state: State, ...events: ReadonlyArray<Name | Event>) => {
  for (const event of events) {
    const happened = typeof event === "string" ? eventOf(event) : event
    const [next, commands] = ShardLife.step(state, happened)
    assert.strictEqual(next, state, `${happened._tag} in ${state._tag}`)
    assert.deepStrictEqual(commands, [], `${happened._tag} in ${state._tag}`)
  }
}

/** An event, the state it leads to, and the commands it gives. */
type Told = readonly [Event, State["_tag"], ...ReadonlyArray<Command>]

const begins: ReadonlyArray<Told> = [
  [{ _tag: "Wanted" }, "Asking", ask],
  [{ _tag: "Gained", epoch: 1 }, "Opening", { _tag: "Open", epoch: 1 }],
  [{ _tag: "Opened", epoch: 1 }, "Serving", { _tag: "Serve", epoch: 1 }]
]

/** A life from the start, event by event. */
const lives = (...told: ReadonlyArray<Told>) => {
  let state = ShardLife.resting
  for (const [index, [event, tag, ...expected]] of told.entries()) {
    const [next, commands] = ShardLife.step(state, event)
    assert.strictEqual(next._tag, tag, `${index}: ${event._tag}`)
    assert.deepStrictEqual(commands, expected, `${index}: ${event._tag}`)
    state = next
  }
  return state
}

describe("life of a shard: told whole", () => {
  it("is wanted, gained, opened, served, and handed over when nobody wants it here any more", () => {
    const last = lives(
      ...begins,
      [{ _tag: "Unwanted" }, "Leaving", { _tag: "HandOver", epoch: 1 }],
      [{ _tag: "HandedOver", epoch: 1 }, "Resting", release]
    )
    assert.deepStrictEqual(last, resting)
  })

  it("goes on as it was under the next epoch after its lease was lost, and takes no answer of the former one", () => {
    const last = lives(
      ...begins,
      [{ _tag: "Lost", epoch: 1 }, "Suspended", { _tag: "Suspend", epoch: 1 }],
      [{ _tag: "Gained", epoch: 2 }, "Serving", { _tag: "Resume", epoch: 2 }],
      [{ _tag: "StoreFailed", epoch: 1 }, "Serving"],
      [{ _tag: "Lost", epoch: 1 }, "Serving"],
      [{ _tag: "GivenUp", epoch: 1 }, "Serving"]
    )
    assert.deepStrictEqual(last, { _tag: "Serving", epoch: 2 })
  })

  it("is closed and read anew when another had it meanwhile", () => {
    const last = lives(
      ...begins,
      [{ _tag: "Lost", epoch: 1 }, "Suspended", { _tag: "Suspend", epoch: 1 }],
      [{ _tag: "Gained", epoch: 3 }, "Opening", { _tag: "Abandon", epoch: 1 }, { _tag: "Open", epoch: 3 }],
      [{ _tag: "Opened", epoch: 1 }, "Opening"],
      [{ _tag: "Opened", epoch: 3 }, "Serving", { _tag: "Serve", epoch: 3 }]
    )
    assert.deepStrictEqual(last, { _tag: "Serving", epoch: 3 })
  })

  it("is left alone for a moment after its store failed, and is asked for again", () => {
    const last = lives(
      [{ _tag: "Wanted" }, "Asking", ask],
      [{ _tag: "Gained", epoch: 1 }, "Opening", { _tag: "Open", epoch: 1 }],
      [{ _tag: "OpenFailed", epoch: 1 }, "Pausing", { _tag: "Abandon", epoch: 1 }, release, pause],
      [{ _tag: "Opened", epoch: 1 }, "Pausing"],
      [{ _tag: "PauseOver" }, "Asking", ask],
      [{ _tag: "Gained", epoch: 5 }, "Opening", { _tag: "Open", epoch: 5 }],
      [{ _tag: "Opened", epoch: 5 }, "Serving", { _tag: "Serve", epoch: 5 }],
      [{ _tag: "StoreFailed", epoch: 5 }, "Pausing", { _tag: "Abandon", epoch: 5 }, release, pause]
    )
    assert.deepStrictEqual(last, pausing)
  })
})

describe("life of a shard: each step", () => {
  it("resting, it is asked for when it is wanted, and gives back a lease that comes unasked", () => {
    assert.deepStrictEqual(ShardLife.resting, resting)
    becomes(resting, "Wanted", asking, ask)
    becomes(resting, "Gained", resting, release)
    stays(resting, "Unwanted", "PauseOver", ...answers)
  })

  it("asking, it is opened when the lease comes, and no longer asked for when it is not wanted", () => {
    becomes(asking, { _tag: "Gained", epoch: 9 }, { _tag: "Opening", epoch: 9 }, { _tag: "Open", epoch: 9 })
    becomes(asking, "Unwanted", resting, release)
    stays(asking, "Wanted", "PauseOver", ...answers)
  })

  it("pausing, it is asked for after the pause alone, and gives back a lease that comes before", () => {
    becomes(pausing, "PauseOver", asking, ask)
    becomes(pausing, "Unwanted", resting)
    becomes(pausing, "Gained", pausing, release)
    stays(pausing, "Wanted", ...answers)
  })

  it("opening, it is closed before its lease is given back, and keeps asking when the lease is lost", () => {
    becomes(opening, "Opened", serving, { _tag: "Serve", epoch })
    becomes(opening, "Unwanted", resting, abandon, release)
    becomes(opening, "Lost", asking, abandon)
    becomes(opening, "OpenFailed", pausing, abandon, release, pause)
    becomes(opening, "StoreFailed", pausing, abandon, release, pause)
    stays(opening, "Wanted", "PauseOver", "Gained", "HandedOver", "StayedOn", "GivenUp")
  })

  it("serving, it is handed over, suspended, or closed after its store failed", () => {
    becomes(serving, "Unwanted", leaving, { _tag: "HandOver", epoch })
    becomes(serving, "Lost", suspended, { _tag: "Suspend", epoch })
    becomes(serving, "StoreFailed", pausing, abandon, release, pause)
    stays(serving, "Wanted", "PauseOver", "Gained", "Opened", "OpenFailed", "HandedOver", "StayedOn", "GivenUp")
  })

  it("suspended, only the very next epoch lets it go on as it was", () => {
    becomes(suspended, eventOf("Gained", 5), { _tag: "Serving", epoch: 5 }, { _tag: "Resume", epoch: 5 })
    for (const other of [3, 4, 6]) {
      becomes(
        suspended,
        eventOf("Gained", other),
        { _tag: "Opening", epoch: other },
        { _tag: "Abandon", epoch: 4 },
        { _tag: "Open", epoch: other }
      )
    }
  })

  it("suspended, it is closed when it is given up, not wanted, or its store failed", () => {
    becomes(suspended, "GivenUp", asking, abandon)
    becomes(suspended, "Unwanted", resting, abandon, release)
    becomes(suspended, "StoreFailed", pausing, abandon, release, pause)
    stays(suspended, "Wanted", "PauseOver", "Lost", "Opened", "OpenFailed", "HandedOver", "StayedOn")
  })

  it("leaving, the last wish counts, and a shard that could not be handed over is served on", () => {
    for (const state of [leaving, wantedAgain]) {
      becomes(state, "Wanted", wantedAgain)
      becomes(state, "Unwanted", leaving)
      stays(state, "PauseOver", "Gained", "Opened", "OpenFailed", "GivenUp")
    }
    becomes(leaving, "HandedOver", resting, release)
    becomes(wantedAgain, "HandedOver", asking, release, ask)
    becomes(leaving, "StayedOn", serving, { _tag: "TryLater" })
    becomes(wantedAgain, "StayedOn", serving)
  })

  it("leaving, a lease that is lost or a store that failed ends it at once", () => {
    becomes(leaving, "Lost", resting, abandon, release)
    becomes(wantedAgain, "Lost", asking, abandon)
    becomes(leaving, "StoreFailed", resting, abandon, release)
    becomes(wantedAgain, "StoreFailed", pausing, abandon, release, pause)
  })

  it("answers of an older or a later epoch change nothing in any state", () => {
    for (const state of all) {
      for (const name of answers) {
        stays(state, eventOf(name, epoch - 1), eventOf(name, epoch + 1))
      }
    }
  })

  it("an event that is none stops the machine in every state", () => {
    // Data that the compiler never saw.
    const strange = { _tag: "Strange" } as unknown as Event
    for (const state of all) {
      assert.throws(() => ShardLife.step(state, strange), 'unreachable case {"_tag":"Strange"}', state._tag)
    }
  })

  it("a state that is none stops the machine", () => {
    for (const strange of [{ _tag: "Strange" }, { _tag: "Strange", epoch }]) {
      const told = `unreachable case ${JSON.stringify(strange)}`
      // Data that the compiler never saw.
      assert.throws(() => ShardLife.step(strange as unknown as State, { _tag: "Wanted" }), told)
    }
  })
})
