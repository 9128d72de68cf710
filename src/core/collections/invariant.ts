/**
 * What must hold if the code around it is right; stays on in production. A broken one is a defect: the machine stops
 * rather than going on with a state that nobody meant.
 *
 * @module
 */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`)
}
