/**
 * The last whole answers that went into a connection, in case it breaks before they arrive.
 *
 * Nobody confirms an answer, so after a loss the ones sent shortly before it are named in `Ready.holds` and sent again;
 * a plane that had them refuses the repetition by its token. Without this, work that ended in the wrong moment would be
 * done twice. Bounded: the oldest make room.
 *
 * @module
 */
import type { FromWorker } from "./protocol/WorkerMessage.ts"

export type Answer = Extract<FromWorker, { readonly _tag: "ResponseHead" | "Failed" }>

const answersMax = 64

export class RecentAnswers {
  private readonly answers: Array<Answer | undefined> = new Array(answersMax)
  private readonly sentAtMs = new Float64Array(answersMax)
  private next = 0

  add(answer: Answer, nowMs: number): void {
    this.answers[this.next] = answer
    this.sentAtMs[this.next] = nowMs
    this.next = (this.next + 1) % answersMax
  }

  /** Removes all and gives those sent at `sinceMs` or later, oldest first. */
  takeSince(sinceMs: number): ReadonlyArray<Answer> {
    const taken: Array<Answer> = []
    for (let index = 0; index < answersMax; index++) {
      const at = (this.next + index) % answersMax
      const answer = this.answers[at]
      if (answer !== undefined && (this.sentAtMs[at] ?? 0) >= sinceMs) taken.push(answer)
      this.answers[at] = undefined
    }
    return taken
  }
}
