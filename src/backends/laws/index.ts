/**
 * The laws that every backend keeps, for whoever writes one: `millrace/backend-laws`. They come as a list and need no
 * particular test runner; `docs/backends.md` shows a test file.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { endLaws } from "./EndLaws.ts"
import type { Harness, Law } from "./Harness.ts"
import { launchLaws } from "./LaunchLaws.ts"
import { sharingLaws } from "./SharingLaws.ts"
import { watchLaws } from "./WatchLaws.ts"

export { countProcessesOnLinux } from "./CountProcesses.ts"
export type { Backend, Harness, Law } from "./Harness.ts"
export { type Program, type ShownSecrets, scriptOf } from "./Program.ts"

export const laws: ReadonlyArray<Law> = [...launchLaws, ...endLaws, ...watchLaws, ...sharingLaws]

export interface Case {
  /** Of the law: `C7`. */
  readonly number: string
  /** Number and sentence; with the reason when it is skipped. */
  readonly name: string
  /** Why this backend is not held to it. */
  readonly skip: string | undefined
  /** Rejects when the law is broken, and says what was seen. Opens a backend of its own and closes it. */
  readonly run: () => Promise<void>
}

/** One test case per law. Throws when `skips` names a law that there is not, or gives no reason. */
export const casesOf = (harness: Harness): ReadonlyArray<Case> => {
  for (const [number, reason] of Object.entries(harness.skips ?? {})) {
    if (!laws.some((law) => law.number === number)) throw new Error(`there is no law ${number} to skip`)
    if (reason.trim() === "") throw new Error(`law ${number} is skipped without a reason`)
  }
  return laws.map(({ number, sentence, run }) => {
    const skip = harness.skips?.[number]
    const why = skip === undefined ? "" : ` [skipped: ${skip}]`
    return {
      number,
      name: `${number}: ${sentence}${why}`,
      skip,
      run: () => Effect.runPromise(Effect.scoped(Effect.suspend(() => run(harness))))
    }
  })
}
