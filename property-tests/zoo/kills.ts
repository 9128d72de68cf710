/**
 * How a law shows that it is one: it rejects each of the wrong machines that are given to it.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert } from "vitest"

/** Far more than any of them should need, so that chance lets none live; it ends with the first that kills. */
const numRuns = 5_000

/** Fails when a bug lives. `law` makes the property for a machine; the same that holds for the sound one. */
export const kills = <Machine, Inputs>(
  law: (machine: Machine) => fc.IProperty<Inputs>,
  bugs: Readonly<Record<string, Machine>>
): void => {
  const living = Object.entries(bugs)
    .filter(([, bug]) => !fc.check(law(bug), { numRuns, endOnFailure: true }).failed)
    .map(([name]) => name)
  assert.deepStrictEqual(living, [], "these live")
}
