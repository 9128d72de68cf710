/**
 * Secrets of instances as files: one directory per instance (0700) inside one of the backend (0700), files 0600. In
 * memory where the system has such a place, so that no disk keeps them.
 *
 * Laws: F1 what was written for an instance is gone after `remove`. F2 nothing is left after `close`, nor, with a
 * `DeathWatch` that knows `root`, after the death of this process.
 *
 * @module
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface SecretFiles {
  /** Where all of them are. */
  readonly root: string
  /** Answers the directory of the instance; throws what the system says, and leaves nothing then. */
  readonly write: (key: number, secrets: Readonly<Record<string, string>>) => string
  readonly remove: (key: number) => void
  readonly close: () => void
}

/** `mark`: unique, and fit for a file name. */
export const make = (mark: string): SecretFiles => {
  const root = join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), `millrace-secrets-${mark}`)
  const directoryOf = (key: number) => join(root, String(key))
  const remove = (key: number) => rmSync(directoryOf(key), { recursive: true, force: true })
  return {
    root,
    write: (key, secrets) => {
      const directory = directoryOf(key)
      try {
        mkdirSync(root, { recursive: true, mode: 0o700 })
        mkdirSync(directory, { mode: 0o700 })
        for (const [name, content] of Object.entries(secrets)) {
          writeFileSync(join(directory, name), content, { mode: 0o600, flag: "wx" })
        }
      } catch (cause) {
        remove(key)
        throw cause
      }
      return directory
    },
    remove,
    close: () => rmSync(root, { recursive: true, force: true })
  }
}
