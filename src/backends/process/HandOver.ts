/**
 * Which commands a zygote may run: those after whose hand-over it is in the state in which `node` would be by itself.
 * What cannot be changed in a process that runs (flags of V8, what Node and the system's libraries read from the
 * environment once) must be as it is in the zygote; anything else is started plainly.
 *
 * @module
 */

/** How zygotes are started. */
export interface ZygoteCommand {
  /** Absolute path of a Node. */
  readonly program: string
  readonly flags: ReadonlyArray<string>
  readonly environment: Readonly<Record<string, string>>
}

export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly environment: Readonly<Record<string, string>>
}

/**
 * Read once: by Node at its start or with its first module (NODE_), by libuv, OpenSSL and ICU, by the linker, the
 * allocator and the C library; HOME for the folders of global modules. NODE_ENV is for programs alone, and NODE_COMPILE_CACHE has a call that does the same. The
 * time zone is not here because Node follows changes of TZ.
 */
const readOnce =
  /^(?:NODE_(?!ENV$|COMPILE_CACHE$)|UV_|OPENSSL_|SSL|ICU_|LD_|DYLD_|MALLOC_|GLIBC_|LANG|LC_|LOCPATH$|NLSPATH$|GCONV_PATH$|HOME$)/

/** What is longer meets limits of the system that a hand-over would go around. */
const handOverCharactersMax = 64 * 1024

export const isPossible = (command: Command, zygote: ZygoteCommand): boolean => {
  const { program, args, environment } = command
  const entry = args[zygote.flags.length]
  if (program !== zygote.program || zygote.flags.some((flag, index) => args[index] !== flag)) return false
  // A flag, standard input, or the debugger.
  if (entry === undefined || entry === "" || entry.startsWith("-") || entry === "inspect") return false
  const texts = [...args, ...Object.entries(environment).flat()]
  if (texts.some((text) => text.includes("\0"))) return false
  if (texts.reduce((sum, text) => sum + text.length, 0) > handOverCharactersMax) return false
  const names = new Set([...Object.keys(environment), ...Object.keys(zygote.environment)])
  return [...names].every(
    (name) => /^[^=]+$/.test(name) && (!readOnce.test(name) || environment[name] === zygote.environment[name])
  )
}
