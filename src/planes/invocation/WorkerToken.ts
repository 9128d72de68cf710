/**
 * The credential of one instance: it may serve its own version and nothing else. Signed, so that no plane has to look
 * it up: `mw1.{payload}.{HMAC-SHA256}`, both parts base64url.
 *
 * @module
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto"

export interface WorkerClaims {
  readonly instanceId: string
  readonly functionId: string
  readonly versionId: string
  /** Of a worker that was sent on to another gateway, which has not heard of it. */
  readonly workerId?: string
  /** Unix ms. */
  readonly expiresAtMs: number
}

const prefix = "mw1"

/** Making a key of the bytes takes five times as long as the signature. */
const keys = new WeakMap<Uint8Array, KeyObject>()

const keyOf = (secret: Uint8Array): KeyObject => {
  const known = keys.get(secret)
  if (known !== undefined) return known
  const key = createSecretKey(secret)
  keys.set(secret, key)
  return key
}

const sign = (secret: Uint8Array, payload: string): Buffer =>
  createHmac("sha256", keyOf(secret)).update(`${prefix}.${payload}`).digest()

export const issue = (secret: Uint8Array, claims: WorkerClaims): string => {
  const payload = Buffer.from(JSON.stringify(claims)).toString("base64url")
  return `${prefix}.${payload}.${sign(secret, payload).toString("base64url")}`
}

/** The claims, or undefined for anything forged, damaged or expired. */
export const verify = (secret: Uint8Array, token: string, atMs: number): WorkerClaims | undefined => {
  if (token.length > 4096) return undefined
  const [kind, payload, signature, ...rest] = token.split(".")
  if (kind !== prefix || payload === undefined || signature === undefined || rest.length > 0) return undefined
  const expected = sign(secret, payload)
  const given = Buffer.from(signature, "base64url")
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
  // The signature proves that `issue` wrote it.
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as WorkerClaims
  return claims.expiresAtMs > atMs ? claims : undefined
}
