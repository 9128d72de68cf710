/**
 * One worker as a shard sees it, over all its connections: a worker that reconnects keeps its attempts.
 *
 * @module
 */
import type { ToWorker } from "../../worker-sdk/protocol/WorkerMessage.ts"
import type { Attempt } from "./Attempt.ts"
import type { SessionIdentity, WorkerConnection } from "./WorkerSession.ts"

export class WorkerState {
  readonly identity: SessionIdentity
  connection: WorkerConnection | undefined
  /** By request id. */
  readonly attempts = new Map<string, Attempt>()
  slots = 0
  draining = false
  readyAtMs = 0
  #blocked = false
  #drainWaiters: Array<() => void> = []

  constructor(identity: SessionIdentity) {
    this.identity = identity
  }

  /** To a worker that is away a message goes nowhere: what it misses is settled when it comes back. */
  send(message: ToWorker): void {
    if (this.connection?.send(message) === false) this.#blocked = true
  }

  /** Resolves when the socket takes more, or is gone. */
  async writable(): Promise<void> {
    while (this.#blocked && this.connection !== undefined) {
      await new Promise<void>((resolve) => this.#drainWaiters.push(resolve))
    }
  }

  /** Until the last deadline of what it holds; 0: nothing. */
  heldForMs(nowMs: number): number {
    let forMs = 0
    for (const { entry, over } of this.attempts.values()) {
      if (!over) forMs = Math.max(forMs, entry.deadlineMs - nowMs)
    }
    return forMs
  }

  drained(): void {
    this.#blocked = false
    const waiters = this.#drainWaiters
    this.#drainWaiters = []
    for (const resolve of waiters) resolve()
  }
}
