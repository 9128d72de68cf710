/**
 * An operator of NATS of a test: accounts and users by JWT, users with an end.
 *
 * @module
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { nkeys } from "@nats-io/transport-node"

type Pair = ReturnType<typeof nkeys.createUser>

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

const sign = (issuer: Pair, subject: string, nats: object, expiresAtS?: number): string => {
  const claims = {
    jti: Math.random().toString(36).slice(2),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name: subject.slice(0, 8),
    sub: subject,
    ...(expiresAtS === undefined ? {} : { exp: expiresAtS }),
    nats: { version: 2, ...nats }
  }
  const text = `${base64url({ typ: "JWT", alg: "ed25519-nkey" })}.${base64url(claims)}`
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString("base64url")}`
}

const unlimited = { subs: -1, data: -1, payload: -1 }
const accountLimits = {
  ...unlimited,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
  mem_storage: -1,
  disk_storage: -1,
  streams: -1,
  consumer: -1
}
const systemLimits = { ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }

export class NatsOperator {
  readonly #operator = nkeys.createOperator()
  readonly #account = nkeys.createAccount()
  readonly #system = nkeys.createAccount()

  /** In the place of a server's accounts. */
  configuration(): string {
    const key = this.#operator.getPublicKey()
    const operator = sign(this.#operator, key, { type: "operator" })
    const account = (pair: Pair, limits: object) =>
      `${pair.getPublicKey()}: ${sign(this.#operator, pair.getPublicKey(), { type: "account", limits })}`
    return `
operator: ${operator}
system_account: ${this.#system.getPublicKey()}
resolver: MEMORY
resolver_preload: {
  ${account(this.#account, accountLimits)}
  ${account(this.#system, systemLimits)}
}`
  }

  /** Writes what a user needs to connect; answers the path. `expiresAtS`: Unix time, seconds. */
  async writeUser(folder: string, kind: "millrace" | "system", expiresAtS?: number): Promise<string> {
    const user = nkeys.createUser()
    const issuer = kind === "millrace" ? this.#account : this.#system
    const jwt = sign(issuer, user.getPublicKey(), { type: "user", ...unlimited }, expiresAtS)
    const path = join(folder, `${kind}.creds`)
    const seed = Buffer.from(user.getSeed()).toString()
    await fs.writeFile(
      path,
      `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n` +
        `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`
    )
    return path
  }
}
