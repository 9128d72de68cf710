/**
 * A zygote: a fresh Node process that has loaded what most functions need (this SDK, Node's type stripping) and then
 * stands still until it is given a function, whose process it becomes for good.
 *
 * Whoever starts it holds the other end of descriptor 3. The zygote says `r` when it is ready and reads one `HandOver`:
 * its length as 32 bits, little-endian, then JSON. It says `t` when it has taken over, closes the descriptor and runs the
 * entry just as `node entry` does: by the same door in Node, so that `import.meta.main`, `require.main`, the exit codes
 * and the texts of errors are the same.
 *
 * Laws: Z1 of the process that started it nothing is left in `process.env`, the arguments or the descriptors. Z2 what it
 * cannot take over it does not take: it ends without having said `t`, and nothing of the function has run. Z3 when the
 * other end closes before, it ends.
 *
 * @module
 */
import { closeSync, readSync, writeSync } from "node:fs"
import Module, { enableCompileCache, stripTypeScriptTypes } from "node:module"
import { resolve } from "node:path"
import { beginNow } from "./Launch.ts"
import "./index.ts"
import { rehearse } from "./zygote-rehearsal.ts"

/** The same shape as in `backends/process/ZygotePool.ts`, which writes it: both are of one build. */
interface HandOver {
  /** The entry as it stands in the command, then the arguments. */
  readonly words: readonly [string, ...ReadonlyArray<string>]
  readonly workingDirectory: string
  /** Whole. */
  readonly environment: Readonly<Record<string, string>>
}

const descriptor = 3
/** It takes 30; one that hangs must not be waited for. */
const rehearsalMs = 10_000

/**
 * Blocks: a zygote that waits costs no time of the processor, holds nothing in its event loop that the function could
 * see, and leaves all signals as they are by default.
 */
const read = (size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  let length = 0
  while (length < size) {
    const count = readSync(descriptor, bytes, length, size - length, null)
    if (count === 0) process.exit(0)
    length += count
  }
  return bytes
}

/** The first call loads and compiles the stripper, which is most of what a small TypeScript function costs to start. */
const loadTypeStripping = (): void => {
  const emitWarning = process.emitWarning
  // It is about this very call, which the function did not make.
  process.emitWarning = () => undefined
  try {
    stripTypeScriptTypes("interface A { readonly b: number }\nexport const c = async <D>(d: D): Promise<D> => d as D\n")
  } finally {
    process.emitWarning = emitWarning
  }
}

const take = ({ words: [entry, ...rest], workingDirectory, environment }: HandOver): void => {
  process.chdir(workingDirectory)
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, environment)
  process.argv.splice(1, process.argv.length - 1, resolve(entry), ...rest)
  // What `ps` shows, as far as it fits over the zygote's own command.
  process.title = ["node", entry, ...rest].join(" ")
  const cache = environment["NODE_COMPILE_CACHE"]
  if (cache !== undefined && cache !== "") enableCompileCache(cache)
}

const late = setTimeout(() => process.exit(1), rehearsalMs)
await rehearse()
clearTimeout(late)
loadTypeStripping()
// For `ps`, and for whoever waits until there is one.
process.title = "millrace zygote, waiting"
writeSync(descriptor, "r")
const handOver: HandOver = JSON.parse(read(read(4).readUInt32LE()).toString())
take(handOver)
beginNow()
writeSync(descriptor, "t")
closeSync(descriptor)
// In a turn of its own: what the entry throws must not be an error of this module.
setImmediate(() => Module.runMain())
