import { afterEach, describe, expect, it, vi } from "vitest"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { Arrived, Command } from "../../core/buffer/BufferEvent.ts"
import { defaults } from "../../core/buffer/BufferOptions.ts"
import { nowMs } from "./PlaneClock.ts"
import { ShardMachine } from "./ShardMachine.ts"

const arrived = (sequence: number, deadlineInMs = 60_000): Arrived => ({
  _tag: "Arrived",
  nowMs: nowMs(),
  sequence,
  requestId: `request-${sequence}`,
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "memory",
  deadlineMs: nowMs() + deadlineInMs,
  sizeBytes: 10,
  maxAttempts: 1
})

const make = (carryOut: (command: Command) => void, isActing = () => true) => {
  const defects: Array<unknown> = []
  const machine = new ShardMachine({
    state: Buffer_.empty(defaults),
    carryOut,
    isActing,
    defect: (error) => defects.push(error)
  })
  machine.send({ _tag: "Recovered", nowMs: nowMs(), epoch: 1 })
  return { machine, defects }
}

const pending = (machine: ShardMachine) => Buffer_.demand(machine.state, "v").pending

afterEach(() => void vi.useRealTimers())

describe("the machine of a shard", () => {
  it("H1: takes an event that an order causes after all orders of the event before it", () => {
    const order: Array<string> = []
    const { machine } = make((command) => {
      order.push(command._tag)
      if (command._tag !== "DemandChanged" || order.length > 1) return
      machine.send({ _tag: "CancelRequested", nowMs: nowMs(), sequence: 1 })
      order.push(`pending ${pending(machine)}`)
    })
    machine.send(arrived(1))
    expect(order).toEqual(["DemandChanged", "pending 1", "TellEnded", "Forget", "DemandChanged"])
    expect(pending(machine)).toBe(0)
  })

  it("carries out the orders that stand behind one whose carrying out has a defect", () => {
    const seen: Array<string> = []
    const { machine, defects } = make(({ _tag }) => {
      seen.push(_tag)
      if (_tag === "TellEnded") throw new Error("a defect")
    })
    machine.send(arrived(1))
    machine.send({ _tag: "CancelRequested", nowMs: nowMs(), sequence: 1 })
    expect(seen.slice(seen.indexOf("TellEnded"))).toEqual(["TellEnded", "Forget", "DemandChanged"])
    expect(defects).toEqual([new Error("a defect")])
  })

  it("leaves a state that was given away as it is, and changes its own in place again after the next event", () => {
    const { machine } = make(() => {})
    machine.send(arrived(1))
    const frozen = machine.freeze()
    if (frozen === undefined) throw new Error("it was not given")
    machine.send(arrived(2))
    expect([Buffer_.liveSequences(frozen), pending(machine)]).toEqual([[1], 2])
    const own = machine.state
    machine.send(arrived(3))
    expect(machine.state).toBe(own)
    expect(Buffer_.liveSequences(frozen)).toEqual([1])
  })

  it("gives no state away in the middle of a step, nor one whose store failed", () => {
    const given: Array<unknown> = []
    const { machine } = make(() => given.push(machine.freeze()))
    machine.send(arrived(1))
    expect(given.length).toBeGreaterThan(0)
    expect(given.every((state) => state === undefined)).toBe(true)
    expect(machine.freeze()).toBe(machine.state)
    machine.send({ _tag: "PersistFailed", nowMs: nowMs(), records: [], outcome: "failed" })
    expect(machine.freeze()).toBeUndefined()
  })

  it("tells the time when a deadline is over, and not while nobody knows whose the shard is", async () => {
    let isActing = true
    let lookCount = 0
    const ends: Array<number> = []
    const { machine } = make(
      (command) => {
        if (command._tag === "TellEnded") ends.push(command.sequence)
      },
      () => {
        lookCount++
        return isActing
      }
    )
    machine.send(arrived(1, 20))
    await vi.waitFor(() => expect(ends).toEqual([1]))
    machine.send(arrived(2, 20))
    isActing = false
    lookCount = 0
    await vi.waitFor(() => expect(lookCount).toBeGreaterThan(2))
    expect(ends).toEqual([1])
    isActing = true
    await vi.waitFor(() => expect(ends).toEqual([1, 2]))
    machine.stop()
  })

  it("hears nothing and has no timer once it is stopped", () => {
    vi.useFakeTimers()
    const seen: Array<string> = []
    const { machine } = make(({ _tag }) => seen.push(_tag))
    machine.send(arrived(1, 1_000))
    const before = seen.length
    expect(vi.getTimerCount()).toBe(1)
    machine.stop()
    expect(vi.getTimerCount()).toBe(0)
    machine.send(arrived(2))
    expect([machine.isStopped, seen.length, pending(machine)]).toEqual([true, before, 1])
  })
})
