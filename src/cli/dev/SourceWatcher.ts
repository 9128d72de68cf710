/**
 * Knows when the source of a function changed: told by the operating system, and asked before each call, because a call
 * can be faster than the notice.
 *
 * @module
 */
import { type FSWatcher, readdirSync, statSync, watch } from "node:fs"
import { join } from "node:path"

/** Files looked at per function; more are watched by the operating system only. */
const filesMax = 200

/** Editors write a file in several steps; one save is one change. */
const settleMs = 15

const ignored = (name: string) => name === "node_modules" || name.startsWith(".") || name.endsWith("~")

const listFiles = (directory: string, files: Array<string> = []): ReadonlyArray<string> => {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (ignored(entry.name) || files.length >= filesMax) continue
    const path = join(directory, entry.name)
    if (entry.isDirectory()) listFiles(path, files)
    else if (entry.isFile()) files.push(path)
  }
  return files
}

/** Changes with every save: names, sizes and modification times. */
const signatureOf = (files: ReadonlyArray<string>): string => {
  let signature = ""
  for (const file of files) {
    const stat = statSync(file, { throwIfNoEntry: false })
    signature += stat === undefined ? `${file}:gone;` : `${file}:${stat.size}:${stat.mtimeMs};`
  }
  return signature
}

export class SourceWatcher {
  readonly #directory: string
  readonly #onChange: () => void
  readonly #watcher: FSWatcher
  #files: ReadonlyArray<string>
  #signature: string
  #timer: NodeJS.Timeout | undefined

  constructor(directory: string, onChange: () => void) {
    this.#directory = directory
    this.#onChange = onChange
    this.#files = listFiles(directory)
    this.#signature = signatureOf(this.#files)
    this.#watcher = watch(directory, { recursive: true, persistent: false }, (_event, name) => {
      if (name?.split(/[/\\]/).some(ignored) === true) return
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#relist(), settleMs)
    })
    // A folder that vanishes ends the watch; the function itself fails visibly when it is started again.
    this.#watcher.on("error", () => this.#watcher.close())
  }

  /** Looks now; calls `onChange` before it returns when a known file was saved since the last look. */
  check(): void {
    const signature = signatureOf(this.#files)
    if (signature === this.#signature) return
    this.#signature = signature
    this.#onChange()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#watcher.close()
  }

  #relist(): void {
    try {
      this.#files = listFiles(this.#directory)
    } catch {
      // The folder is being replaced; the next notice lists it again.
      return
    }
    this.check()
  }
}
