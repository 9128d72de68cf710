/**
 * Which instances a heartbeat is about. A cluster with thousands of them tells of some in each, in turn, so that a heartbeat
 * costs the same whatever runs, and of all at once when it is asked to.
 *
 * Laws (`HeartbeatPart.test.ts`): B1 whatever the number of parts, an instance is in one of them, and both sides know in which
 * from its id alone. B2 parts are of about the same size.
 *
 * @module
 */

/** `index`: from 0 on, below `count`. */
export interface HeartbeatPart {
  readonly index: number
  readonly count: number
}

/** About; some 400 KB. */
export const instancesPerPart = 1_000

/** For so many instances. */
export const countFor = (instances: number): number => Math.max(1, Math.ceil(instances / instancesPerPart))

/** `part`: undefined stands for all. */
export const has = (part: HeartbeatPart | undefined, instanceId: string): boolean =>
  part === undefined || part.count <= 1 || hash(instanceId) % part.count === part.index

/** FNV-1a, with its high bits in the low ones: ids of one version differ in their ends. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return (value ^ (value >>> 15)) >>> 0
}
