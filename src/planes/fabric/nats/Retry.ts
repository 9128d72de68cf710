/**
 * Questions that may be asked again: while no server answers, until `unknownLimitMs` are over.
 *
 * Laws: Y1 `ask` ends with the first answer, with the first failure that will not pass, or when the time is over.
 * Y2 `beside` ends with the first answer, or the first failure that is known to be one; a silence of one try is not waited
 * out before the next.
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
const besideTries = 4

/**
 * Asks again beside a try that has no answer yet: it may have gone to a server that died or stands still, and would be
 * waited for until its time is over.
 */
export const beside = <A>(question: () => Promise<A>): Promise<A> =>
  new Promise((resolve, reject) => {
    let begun = 0
    let open = 0
    let timer: NodeJS.Timeout | undefined
    const tryOnce = () => {
      begun++
      open++
      timer = begun < besideTries ? setTimeout(tryOnce, besideMs) : undefined
      question().then(
        (answer) => {
          clearTimeout(timer)
          resolve(answer)
        },
        (error: unknown) => {
          open--
          if (NatsFailure.of(error)._tag === "Unknown" && (open > 0 || timer !== undefined)) return
          clearTimeout(timer)
          reject(error)
        }
      )
    }
    tryOnce()
  })
