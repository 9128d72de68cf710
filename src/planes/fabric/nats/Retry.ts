/**
 * Questions that may be asked again: while no server answers, until `unknownLimitMs` are over.
 *
 * Laws: Y1 `ask` ends with the first answer, with the first failure that will not pass, or when the time is over.
 * Y2 `beside` ends as the first of its tries that ends, and begins another while none does.
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

const besideMs = 500

/**
 * Asks again beside a try that has no answer yet: it may have gone to a server that died or stands still, and would be
 * waited for until its time is over.
 */
export const beside = <A>(question: () => Promise<A>): Promise<A> =>
  new Promise((resolve, reject) => {
    const tryOnce = () => question().then(end(resolve), end(reject))
    const timer = setInterval(tryOnce, besideMs)
    const end =
      <B>(settle: (value: B) => void) =>
      (value: B) => {
        clearInterval(timer)
        settle(value)
      }
    tryOnce()
  })
