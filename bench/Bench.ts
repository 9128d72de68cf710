/**
 * What every bench answers: figures for the machine, lines for people, and what falls short of its budget.
 *
 * @module
 */

export interface Budget {
  readonly figure: string
  readonly atLeast?: number
  readonly atMost?: number
}

export interface BenchResult {
  /** Names and medians; the last line of the output. */
  readonly figures: Readonly<Record<string, number>>
  readonly budgets: ReadonlyArray<Budget>
}

export interface BenchOptions {
  /** Rounds; in each, everything that is compared runs once, one after the other. */
  readonly repetitions: number
  /** For people, while it runs. */
  readonly say: (line: string) => void
}

export type Bench = (options: BenchOptions) => Promise<BenchResult>

/** One sentence for each budget that is not met. */
export const shortfalls = ({ figures, budgets }: BenchResult): ReadonlyArray<string> =>
  budgets.flatMap(({ figure, atLeast, atMost }) => {
    const value = figures[figure] ?? Number.NaN
    if (atLeast !== undefined && !(value >= atLeast))
      return [`${figure} is ${value}; the budget is at least ${atLeast}`]
    if (atMost !== undefined && !(value <= atMost)) return [`${figure} is ${value}; the budget is at most ${atMost}`]
    return []
  })
