/**
 * Ends by a signal as shells, sandboxes and container daemons tell them: 128 and the number of the signal.
 *
 * @module
 */
import { constants } from "node:os"

/** Of names for one number the first is the usual one: SIGABRT and not SIGIOT. */
const names = new Map(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name])
)

/** Undefined: the program ended by itself with this code. */
export const signalOf = (code: number): string | undefined => (code > 128 ? names.get(code - 128) : undefined)
