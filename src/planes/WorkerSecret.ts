/**
 * The secret that signs workers' tokens: 32 bytes, the same for all agents, which sign, and all invocation planes, which
 * verify. Made once, and kept in a file of a process that is alone, or in the key-value store of several.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import * as CrashPoint from "./CrashPoint.ts"

const bytesMin = 32
/** Of a token that nobody used; a connected worker gets a fresh one with each connection. */
export const tokenLifetimeMs = 3_600_000

/** Undefined: not that many bytes in hexadecimal. */
const parse = (text: string): Uint8Array | undefined => {
  const secret = /^(?:[0-9a-f]{2})+$/i.test(text.trim()) ? Buffer.from(text.trim(), "hex") : Buffer.alloc(0)
  return secret.length >= bytesMin ? secret : undefined
}

/** Made once per state directory, readable by its owner only. */
export const fromFile = (path: string): Uint8Array => {
  try {
    const secret = parse(readFileSync(path, "utf8"))
    if (secret !== undefined) return secret
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error
  }
  const made = randomBytes(bytesMin).toString("hex")
  writeFileSync(`${path}.new`, `${made}\n`, { mode: 0o600 })
  chmodSync(`${path}.new`, 0o600)
  CrashPoint.hit("platform.secret.beforeRename")
  renameSync(`${path}.new`, path)
  return Buffer.from(made, "hex")
}
