/**
 * Where faults of other people's callbacks go: they must not harm whoever called them, and must not vanish.
 *
 * @module
 */
import * as Effect from "effect/Effect"

/** `what`: who did it, as a sentence. Never throws. */
export type ReportFault = (what: string, error: unknown) => void

/** Logs with the loggers of the surrounding effect. */
export const make: Effect.Effect<ReportFault> = Effect.map(
  Effect.context<never>(),
  (context): ReportFault =>
    (what, error) =>
      void Effect.runForkWith(context)(Effect.logError(what, error))
)
