/**
 * The secret that guards the control API: 32 random bytes in a file of the state directory that only its owner may read.
 * Made at the first start, kept from then on.
 *
 * @module
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { link, mkdir, readFile, stat, unlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const fileName = "admin-token"
const tokenBytes = 32
const tokenPattern = /^[A-Za-z0-9_-]{43}$/

export class AdminTokenUnusable extends Schema.TaggedError<AdminTokenUnusable>()("AdminTokenUnusable", {
  path: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `the admin token in ${this.path} cannot be used: ${this.reason}`
  }
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : String(cause)

/**
 * Whole or not at all, also when the power goes: written aside and synced, then linked under its name, which fails when
 * there is one already.
 */
const create = async (path: string): Promise<void> => {
  const aside = `${path}.${randomBytes(6).toString("hex")}`
  const token = `${randomBytes(tokenBytes).toString("base64url")}\n`
  await writeFile(aside, token, { mode: 0o600, flag: "wx", flush: true })
  try {
    await link(aside, path)
  } catch (cause) {
    if (codeOf(cause) !== "EEXIST") throw cause
  } finally {
    await unlink(aside)
  }
}

const read = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, "utf8")
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined
    throw cause
  }
}

/** The token; makes it, and the directory, when there is none. Refuses a file that others can read. */
export const load = (stateDirectory: string): Effect.Effect<string, AdminTokenUnusable> => {
  const path = join(stateDirectory, fileName)
  const refuse = (reason: string) => new AdminTokenUnusable({ path, reason })
  const found = Effect.tryPromise({
    try: async () => {
      await mkdir(stateDirectory, { recursive: true })
      if ((await read(path)) === undefined) await create(path)
      return { token: ((await read(path)) ?? "").trim(), mode: (await stat(path)).mode }
    },
    catch: (cause) => refuse(`${codeOf(cause)}: check that the state directory can be written`)
  })
  return Effect.flatMap(found, ({ token, mode }) => {
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      return Effect.fail(refuse(`others on this machine may read it: run \`chmod 600 ${path}\``))
    }
    return tokenPattern.test(token)
      ? Effect.succeed(token)
      : Effect.fail(refuse("it does not hold 32 bytes in base64url: delete it, and the next start makes a new one"))
  })
}

/** In a time that tells nothing of where they differ, nor of the length. */
export const equals = (given: string, expected: string): boolean =>
  timingSafeEqual(createHash("sha256").update(given).digest(), createHash("sha256").update(expected).digest())
