/**
 * How Millrace reaches NATS, what it makes there and what it demands of it.
 *
 * @module
 */

/** Read again at each connect, so that what has expired can be replaced while Millrace runs. */
export type Credentials =
  | { readonly _tag: "Anonymous" }
  | { readonly _tag: "UserPassword"; readonly user: string; readonly password: string }
  | { readonly _tag: "Token"; readonly token: string }
  /** A file of a user's JWT and seed, as `nsc generate creds` writes it. */
  | { readonly _tag: "File"; readonly path: string }

export interface NatsOptions {
  /** `nats://host:port`, several for a cluster; a user and password may stand in it. At least one. */
  readonly servers: ReadonlyArray<string>
  readonly credentials: Credentials
  /**
   * A connection to the system account, to read the settings of every server: `sync_interval` stands nowhere else.
   * Without it, and without `monitorUrls`, Millrace can not know them and does not start.
   */
  readonly system: { readonly servers: ReadonlyArray<string>; readonly credentials: Credentials } | undefined
  /** The monitoring address (`http://host:8222`) of every server, instead of `system`. */
  readonly monitorUrls: ReadonlyArray<string>
  /** Begins the name of every stream and subject, but see `Streams.orderStreams`: 1 to 32 of `[a-z0-9-]`. */
  readonly prefix: string
  /**
   * `power-loss`: what is accepted survives the loss of power, and unsafe settings are refused. `process-crash-only`: set
   * by hand, it survives killed processes and no more; replicas and `sync_interval` are then not demanded.
   */
  readonly durability: "power-loss" | "process-crash-only"
  /** Largest size of one shard's log; a tenth of it is kept for what ends accepted work. */
  readonly logBytesMax: number
  /** How long a write whose outcome is unknown is tried again with the same message id. */
  readonly unknownLimitMs: number
  /** One request or publish; then its outcome is unknown. */
  readonly requestTimeoutMs: number
  /** How long a message id counts: a repeated publish within it is found to be one. */
  readonly duplicateWindowMs: number
  /** How long the first connect may take. */
  readonly connectLimitMs: number
  /** Between two looks at a consumer; one that had something to deliver at three in a row, and did not, is rebuilt. */
  readonly watchdogMs: number
}

export const defaultPrefix = "millrace"

export const defaults: Omit<NatsOptions, "servers"> = {
  credentials: { _tag: "Anonymous" },
  system: undefined,
  monitorUrls: [],
  prefix: defaultPrefix,
  durability: "power-loss",
  logBytesMax: 256 * 1024 * 1024,
  unknownLimitMs: 30_000,
  requestTimeoutMs: 2_000,
  duplicateWindowMs: 120_000,
  connectLimitMs: 10_000,
  watchdogMs: 5_000
}

/** The address without what stands before the `@`, and the credentials that stood there. */
export const parseServer = (url: string): { readonly server: string; readonly credentials: Credentials } => {
  const parsed = new URL(url.includes("://") ? url : `nats://${url}`)
  const server = `${parsed.protocol}//${parsed.host}`
  if (parsed.username === "") return { server, credentials: { _tag: "Anonymous" } }
  return {
    server,
    credentials: {
      _tag: "UserPassword",
      user: decodeURIComponent(parsed.username),
      password: decodeURIComponent(parsed.password)
    }
  }
}
