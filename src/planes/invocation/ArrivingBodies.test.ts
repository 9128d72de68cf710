import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { ArrivingBodies } from "./ArrivingBodies.ts"

let slots = 0
let begun: Array<string> = []
let bodies: ArrivingBodies

beforeEach(() => {
  vi.useFakeTimers()
  begun = []
  bodies = new ArrivingBodies(() => slots)
})
afterEach(() => vi.useRealTimers())

const ask = (name: string, versionId = "v") => bodies.ask(versionId, () => begun.push(name))

it("half of the slots may be held, and one where there are none yet", () => {
  for (const [count, held] of [
    [0, 1],
    [1, 1],
    [3, 1],
    [8, 4]
  ] as const) {
    slots = count
    begun = []
    for (let index = 0; index < 10; index++) ask(`${index}`, `version of ${count}`)
    expect(begun, `${count} slots`).toEqual(Array.from({ length: held }, (_, index) => `${index}`))
  }
})

it("who leaves makes room for the one that asked first, and leaving twice makes room once", () => {
  slots = 2
  const leaveA = ask("a")
  const leaveB = ask("b")
  ask("c")
  ask("d")
  leaveB()
  leaveA()
  leaveA()
  leaveB()
  expect(begun).toEqual(["a", "c"])
})

it("versions do not wait for each other, and slots that came are seen", () => {
  slots = 2
  ask("a")
  ask("b")
  ask("other", "w")
  expect(begun).toEqual(["a", "other"])
  slots = 4
  vi.advanceTimersByTime(1_000)
  expect(begun).toEqual(["a", "other", "b"])
})
