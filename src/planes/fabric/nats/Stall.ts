/**
 * Whether a consumer stands still: something waits for it, it has room, and nothing comes, at one look after the other. A
 * silence alone says nothing, since most queues are empty most of the time. Pure.
 *
 * @module
 */

export interface Look {
  readonly nowMs: number
  /** Messages that wait for it. */
  readonly pendingCount: number
  /** It would take one more. */
  readonly hasRoom: boolean
  readonly lastDeliveryMs: number
}

/** The first look of those in a row at which it should have delivered and had not; `before`: as of the look before. */
export const since = (
  before: number | undefined,
  { nowMs, pendingCount, hasRoom, lastDeliveryMs }: Look
): number | undefined => {
  if (pendingCount === 0 || !hasRoom) return undefined
  return before === undefined || lastDeliveryMs >= before ? nowMs : before
}

export const isStalled = (since: number | undefined, nowMs: number, limitMs: number): boolean =>
  since !== undefined && nowMs - since >= limitMs
