/**
 * Questions that may be asked again: while no server answers, until `unknownLimitMs` are over.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as NatsFailure from "./NatsFailure.ts"
import type { Supervisor } from "./Supervisor.ts"

const pauseMs = 100

export const ask = async <A>(supervisor: Supervisor, question: () => Promise<A>): Promise<A> => {
  const endMs = performance.now() + supervisor.options.unknownLimitMs
  for (;;) {
    try {
      return await question()
    } catch (error) {
      const isOver = supervisor.isClosed || performance.now() + pauseMs > endMs
      if (isOver || !NatsFailure.mayPass(NatsFailure.of(error))) throw error
      await sleep(pauseMs)
    }
  }
}
