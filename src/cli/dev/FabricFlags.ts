/**
 * Which fabric, from flags and environment: the embedded one, or NATS and how to reach it.
 *
 * @module
 */
import type * as Platform from "../../planes/Platform.ts"
import { type Flag, type Input, text, usageError } from "../Command.ts"

export const flags: ReadonlyArray<Flag> = [
  { name: "fabric", value: "KIND", about: "embedded or nats (MILLRACE_FABRIC, default embedded)" },
  { name: "nats-url", value: "URLS", about: "servers, with commas between (MILLRACE_NATS_URL)" },
  { name: "nats-credentials", value: "FILE", about: "JWT and seed of the user (MILLRACE_NATS_CREDENTIALS)" },
  {
    name: "nats-system-url",
    value: "URLS",
    about: "the same servers for a user of the system account, to read their settings (MILLRACE_NATS_SYSTEM_URL)"
  },
  {
    name: "nats-system-credentials",
    value: "FILE",
    about: "JWT and seed of that user (MILLRACE_NATS_SYSTEM_CREDENTIALS)"
  },
  {
    name: "nats-monitor-url",
    value: "URLS",
    about: "monitoring addresses of all servers, instead of the system account (MILLRACE_NATS_MONITOR_URL)"
  },
  {
    name: "nats-prefix",
    value: "NAME",
    about: "begins all names on the servers (MILLRACE_NATS_PREFIX, default millrace)"
  },
  {
    name: "nats-durability",
    value: "KIND",
    about: "power-loss or, by hand, process-crash-only (MILLRACE_NATS_DURABILITY, default power-loss)"
  }
]

const given = (input: Input, flag: string): string | undefined => {
  const variable = `MILLRACE_${flag.toUpperCase().replaceAll("-", "_")}`
  const value = text(input, flag) ?? process.env[variable]
  return value === "" ? undefined : value
}

const list = (value: string | undefined): ReadonlyArray<string> =>
  (value ?? "").split(",").flatMap((part) => (part.trim() === "" ? [] : [part.trim()]))

const credentials = (path: string | undefined) =>
  path === undefined ? ({ _tag: "Anonymous" } as const) : ({ _tag: "File", path } as const)

/** `undefined`: the embedded one. Throws a usage error on what makes no sense. */
export const fabricOf = (input: Input): Platform.PlatformOptions["fabric"] => {
  const kind = given(input, "fabric") ?? "embedded"
  const servers = list(given(input, "nats-url"))
  if (kind !== "embedded" && kind !== "nats")
    throw usageError(`--fabric is ${JSON.stringify(kind)}; it is embedded or nats`)
  if (kind === "embedded") {
    if (servers.length > 0) throw usageError("--nats-url is given and --fabric nats is not")
    return undefined
  }
  if (servers.length === 0) throw usageError("--fabric nats needs --nats-url, such as nats://127.0.0.1:4222")
  const durability = given(input, "nats-durability") ?? "power-loss"
  if (durability !== "power-loss" && durability !== "process-crash-only") {
    throw usageError(`--nats-durability is ${JSON.stringify(durability)}; it is power-loss or process-crash-only`)
  }
  const prefix = given(input, "nats-prefix")
  if (prefix !== undefined && !/^[a-z0-9-]{1,32}$/.test(prefix)) {
    throw usageError(`--nats-prefix is ${JSON.stringify(prefix)}; it is 1 to 32 of a-z, 0-9 and -`)
  }
  const systemServers = list(given(input, "nats-system-url"))
  return {
    servers,
    credentials: credentials(given(input, "nats-credentials")),
    system:
      systemServers.length === 0
        ? undefined
        : { servers: systemServers, credentials: credentials(given(input, "nats-system-credentials")) },
    monitorUrls: list(given(input, "nats-monitor-url")),
    durability,
    ...(prefix === undefined ? {} : { prefix })
  }
}
