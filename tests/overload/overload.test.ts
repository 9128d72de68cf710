/**
 * The small forms of `npm run overload`: facts that hold on any machine. Figures in time belong to the command.
 */
import { expect, it } from "vitest"
import * as Overload from "./Overload.ts"
import * as Pending from "./Pending.ts"
import * as Streams from "./Streams.ts"

const say = () => {}

it("in a storm every call is answered or told when to come again, and afterwards all is normal", async () => {
  const seen = await Overload.run({ seconds: 2, factor: 10, say })
  expect(seen.refused).toBeGreaterThan(0)
  expect(seen.answered + seen.refused).toBe(seen.offered)
  expect([seen.others, seen.withoutRetryAfter]).toEqual([0, 0])
  expect(seen.normalAfterMs).toBeLessThan(30_000)
}, 90_000)

it("a request that waits keeps nothing of the connection that brought it", async () => {
  // With all their heads and bodies still in the cache; a connection alone would be more than twice as much.
  const seen = await Pending.memory({ count: 3_000, bodyBytes: 100, restMs: 0, say })
  expect(seen.pending).toBe(3_000)
  expect(seen.heapBytesEach).toBeLessThan(3_000)
  expect(seen.readBack).toBe(3_000)
  expect(seen.readBackBytesEach).toBeLessThan(3_000)
}, 90_000)

it("after the plug was pulled all that waited are there, and the first is given out", async () => {
  const seen = await Pending.restart({ count: 500, say })
  expect(seen.found).toBe(seen.accepted)
}, 90_000)

it("two hundred event streams at once come whole and in order", async () => {
  const seen = await Streams.run({ streams: 200, events: 5, everyMs: 200, say })
  expect(seen.whole).toBe(200)
}, 90_000)
