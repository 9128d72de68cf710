/**
 * Laws of the life of a shard, in a world of one lease and one shard: wishes, grants, losses and failures in any order,
 * answers that come late or after they mean anything.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as ShardLife from "../src/core/sharding/ShardLife.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"

type Step = typeof ShardLife.step

/** What is true outside of the machine. */
interface World {
  state: ShardLife.State
  isWanted: boolean
  isAsked: boolean
  epoch: number
  /** Of the lease that is held. */
  held: number | undefined
  /** Of the shard that is open or being opened. */
  open: number | undefined
  isServed: boolean
  isSuspended: boolean
  /** Another had the lease since it was lost here. */
  wasForeign: boolean
  isHandedOver: boolean
  isPausing: boolean
  isToTryLater: boolean
  served: number
}

const make = (): World => ({
  state: ShardLife.resting,
  isWanted: false,
  isAsked: false,
  epoch: 0,
  held: undefined,
  open: undefined,
  isServed: false,
  isSuspended: false,
  wasForeign: false,
  isHandedOver: false,
  isPausing: false,
  isToTryLater: false,
  served: 0
})

const send = (step: Step, world: World, event: ShardLife.Event): void => {
  const [state, commands] = step(world.state, event)
  world.state = state
  for (const command of commands) perform(world, command)
}

const perform = (world: World, command: ShardLife.Command): void => {
  switch (command._tag) {
    case "Ask":
      world.isAsked = true
      return
    case "Release":
      assert.isUndefined(world.open, "S2: the lease is given back while the shard is open")
      world.isAsked = false
      world.held = undefined
      return
    case "Open":
      assert.isUndefined(world.open, "S2: opened twice")
      assert.strictEqual(command.epoch, world.held, "S1: opened without the lease")
      world.open = command.epoch
      return
    case "Serve":
      assert.strictEqual(command.epoch, world.held, "S1: served without the lease")
      assert.strictEqual(command.epoch, world.open, "S1: served and not open")
      world.isServed = true
      world.served++
      return
    case "Suspend":
      assert.isUndefined(world.held, "S3: suspended under a lease that is held")
      world.isServed = false
      world.isSuspended = true
      return
    case "Resume":
      assert.strictEqual(command.epoch, world.held, "S1: resumed without the lease")
      assert.isTrue(world.isSuspended && !world.wasForeign, "S3: resumed although another had it")
      world.open = command.epoch
      world.isSuspended = false
      world.isServed = true
      return
    case "HandOver":
      assert.isTrue(world.isServed, "S3: only what is served is handed over")
      world.isHandedOver = true
      return
    case "Abandon":
      assert.strictEqual(command.epoch, world.open, "S2: abandoned and not open")
      closed(world)
      return
    case "Pause":
      world.isPausing = true
      return
    case "TryLater":
      world.isToTryLater = true
      return
  }
}

const closed = (world: World): void => {
  world.open = undefined
  world.isServed = false
  world.isSuspended = false
  world.isHandedOver = false
}

const moves = [
  "want",
  "foreign",
  "givenUp",
  "grant",
  "lose",
  "opened",
  "openFailed",
  "storeFailed",
  "handed",
  "stayed",
  "pause",
  "late"
] as const
type Move = (typeof moves)[number]

const happen = (step: Step, world: World, move: Move): void => {
  const { open, held } = world
  switch (move) {
    case "want":
      world.isWanted = !world.isWanted
      return send(step, world, { _tag: world.isWanted ? "Wanted" : "Unwanted" })
    case "grant":
      if (!world.isAsked || held !== undefined) return
      world.held = ++world.epoch
      return send(step, world, { _tag: "Gained", epoch: world.epoch })
    case "foreign":
      if (held !== undefined) return
      world.epoch++
      world.wasForeign = true
      return
    case "givenUp":
      return open === undefined || !world.isSuspended ? undefined : send(step, world, { _tag: "GivenUp", epoch: open })
    case "lose":
      if (held === undefined) return
      world.wasForeign = false
      world.held = undefined
      return send(step, world, { _tag: "Lost", epoch: held })
    case "opened":
      return open === undefined || world.isServed || world.isSuspended
        ? undefined
        : send(step, world, { _tag: "Opened", epoch: open })
    case "openFailed":
      return open === undefined || world.isServed || world.isSuspended
        ? undefined
        : send(step, world, { _tag: "OpenFailed", epoch: open })
    case "storeFailed":
      return open === undefined ? undefined : send(step, world, { _tag: "StoreFailed", epoch: open })
    case "handed":
      if (open === undefined || !world.isHandedOver) return
      closed(world)
      return send(step, world, { _tag: "HandedOver", epoch: open })
    case "stayed":
      if (open === undefined || !world.isHandedOver) return
      world.isHandedOver = false
      return send(step, world, { _tag: "StayedOn", epoch: open })
    case "pause":
      if (world.isPausing) world.isPausing = false
      return send(step, world, { _tag: "PauseOver" })
    case "late":
      // Answers about an ownership that is over.
      for (const _tag of ["Opened", "OpenFailed", "StoreFailed", "HandedOver", "StayedOn", "Lost"] as const) {
        const before = world.state
        send(step, world, { _tag, epoch: (world.held ?? world.epoch + 1) - 1 })
        if (world.held !== undefined) assert.strictEqual(world.state, before, `${_tag} of the past`)
      }
  }
}

const law = (mix: { served: number }) => (step: Step) =>
  fc.property(fc.array(fc.constantFrom(...moves), { maxLength: 60 }), (happened) => {
    const world = make()
    for (const move of happened) {
      happen(step, world, move)
      if (world.isServed) assert.strictEqual(world.held, world.open, "S1: it is served and the lease is lost")
    }
    // Nothing more happens to it: what was asked for is answered.
    for (let round = 0; round < 8; round++) {
      for (const move of ["pause", "grant", "opened", "handed"] as const) happen(step, world, move)
      if (world.isToTryLater && !world.isWanted) {
        world.isToTryLater = false
        send(step, world, { _tag: "Unwanted" })
      }
    }
    assert.strictEqual(world.isServed, world.isWanted, "S5")
    assert.strictEqual(world.held !== undefined, world.isWanted, "S5: the lease of a shard that nobody wants")
    mix.served += world.served
  })

describe("life of a shard: laws", () => {
  it("S1 to S5 hold in any order of wishes, grants, losses and failures", () => {
    const mix = { served: 0 }
    upholds(law(mix)(ShardLife.step), { numRuns: 1_000 })
    assert.isAbove(mix.served, 300, "the law must reach shards that are served")
  })

  it("S1, S2, S3, S5 kill: keeping what was lost, giving back what is open, handing nothing over, forgetting a wish", () => {
    const keepsLost: Step = (state, event) =>
      state._tag === "Serving" && event._tag === "Lost" ? [state, []] : ShardLife.step(state, event)
    const releasesOpen: Step = (state, event) => {
      const [next, commands] = ShardLife.step(state, event)
      return [
        next,
        [...commands].sort((left, right) => (left._tag === "Release" ? -1 : right._tag === "Release" ? 1 : 0))
      ]
    }
    const clings: Step = (state, event) =>
      state._tag === "Serving" && event._tag === "Unwanted" ? [state, []] : ShardLife.step(state, event)
    const forgetsWish: Step = (state, event) =>
      state._tag === "Leaving" && event._tag === "Wanted" ? [state, []] : ShardLife.step(state, event)
    const resumesAnything: Step = (state, event) =>
      state._tag === "Suspended" && event._tag === "Gained"
        ? ShardLife.step({ ...state, epoch: event.epoch - 1 }, event)
        : ShardLife.step(state, event)
    kills(law({ served: 0 }), { resumesAnything, keepsLost, releasesOpen, clings, forgetsWish })
  })
})
