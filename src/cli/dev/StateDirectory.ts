/**
 * Where a platform that this command starts keeps everything that survives it, and there its own compiled code, so that
 * a restart need not compile it again.
 *
 * @module
 */
import { existsSync } from "node:fs"
import { enableCompileCache, flushCompileCache } from "node:module"
import { join, resolve } from "node:path"
import { type Input, text } from "../Command.ts"

/** Long after it is ready; it takes some tens of milliseconds. */
const flushAfterMs = 10_000

export const of = (input: Input): string =>
  resolve(text(input, "state") ?? process.env["MILLRACE_STATE"] ?? ".millrace")

/** Not before the platform made the directory: it sees to it that nobody else can write there. */
export const reuseCompiled = (directory: string): void => {
  if (!existsSync(directory)) return
  // A dot: no function has this name for its own folder.
  enableCompileCache(join(directory, "compile-cache", ".platform"))
  // Not only at its end: that may be a kill.
  setTimeout(flushCompileCache, flushAfterMs).unref()
}
