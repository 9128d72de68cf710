/**
 * The laws of the buffer in every order of events of a small world (`BufferScope.ts`), to depth 8: all safety laws are
 * checked at each step, as in `Buffer.laws.test.ts`, but nothing is left to chance.
 *
 * Orders that lead to the same state are followed once, and two workers of which nothing is known yet are one. The states
 * are compared by content, and so are the facts that the checks go by; with the shapes of the collections in the
 * comparison, and with both workers told apart, the number of orders is the same.
 *
 * @module
 */
import { assert, describe, it } from "vitest"
import { bufferScope } from "./BufferScope.ts"
import { type Machine, rightMachine } from "./BufferWorld.ts"
import { Counterexample, type Extent, enumerate } from "./Enumeration.ts"
import * as Bugs from "./zoo/bufferBugs.ts"

const depth = 8

const told = ({ orders, states, moves }: Extent): string => {
  const [one, two, three] = [orders, states, moves].map((count) => count.toLocaleString("en"))
  return `${one} orders of events, ${two} distinct states, ${three} steps checked`
}

/** The shortest history that shows the bug; `undefined`: it lives. */
const historyOf = (bug: Machine, depth: number): ReadonlyArray<string> | undefined => {
  try {
    enumerate(bufferScope(bug), depth)
    return undefined
  } catch (error) {
    if (error instanceof Counterexample) return error.history
    throw error
  }
}

/** What two requests, two workers, an expiry and a crash can show within six events; the others need more. */
const shown = {
  acceptsBeforeWritten: 1,
  acceptsStale: 5,
  countsBodiesTwice: 1,
  countsForTheFirst: 1,
  countsTwice: 1,
  deadLettersTooEarly: 3,
  dropsWhatIsWritten: 4,
  forgetsAttempts: 4,
  forgetsEnds: 6,
  forgetsResults: 6,
  hidesTheBreak: 3,
  keepsOldLeases: 4,
  leaksLeases: 3,
  leasesTwice: 2,
  ordersWhileReading: 3,
  overlooksTheLeased: 3,
  recoveryForgets: 4,
  reusesTokens: 3,
  stopsTheDone: 3,
  tellsEndsBeforeWritten: 3,
  trustsTheWall: 3
} as const satisfies Readonly<Partial<Record<keyof typeof Bugs, number>>>

describe("buffer: every order of events in a small world", () => {
  it("every safety law holds in every order of 2 requests, 2 workers, 1 expiry and 1 crash, to depth 8", {
    timeout: 600_000
  }, () => {
    const extent = enumerate(bufferScope(rightMachine), depth)
    console.log(`buffer, depth ${depth}: ${told(extent)}`)
    // Fewer would mean that something of the world does not happen any more.
    assert.isAtLeast(extent.orders, 900_000)
    assert.isAtLeast(extent.states, 30_000)
  })

  it("that kills: wrong buffers, each by a shortest history", { timeout: 600_000 }, () => {
    // A history that is longer than it was is not found.
    const lengths: Readonly<Record<string, number>> = shown
    const found = Object.entries(Bugs).flatMap(([name, bug]) => {
      const length = lengths[name]
      return length === undefined ? [] : [[name, historyOf(bug, length)?.length] as const]
    })
    assert.deepStrictEqual(Object.fromEntries(found), shown)
    console.log(`buffer: ${found.length} of ${Object.keys(Bugs).length} wrong buffers are shown within 6 events`)
  })
})
