/**
 * What must hold if the code around it is right; stays on in production. A broken one is a defect: the machine stops
 * rather than going on with a state that nobody meant.
 *
 * @module
 */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`)
}

/** For the `default` of a switch over all cases: the compiler proves it, and data that it never saw stops the machine. */
export const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
