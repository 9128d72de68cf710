/**
 * A question of a caller as the gateway has it, and what each answer to it says beside what was asked.
 *
 * @module
 */
import type { IncomingMessage } from "node:http"
import type * as Peers from "./Peers.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Receipt from "./Receipt.ts"
import type * as Responder from "./Responder.ts"

export interface Asked {
  readonly request: IncomingMessage
  readonly receivedMs: number
  /** What another gateway says that passed it on. */
  readonly peer?: Peers.PeerSay | undefined
}

export const stamp = ({ request, receivedMs }: Asked, requestId?: string): Responder.Stamp => ({
  requestId,
  receipt: Receipt.admitted(receivedMs, nowMs()),
  origin: request.headers.origin
})
