/**
 * Programs of instances that tests of more than the laws use too.
 *
 * @module
 */
import { scriptOf } from "../../src/backends/laws/index.ts"

/** Prints `up` and stays until SIGTERM, which it obeys. */
export const obedient = scriptOf({ kind: "sleeps" })
/** Prints `up` and does not obey. */
export const stubborn = scriptOf({ kind: "ignores-sigterm" })
