/**
 * What the platform tells a worker process through its environment.
 *
 * @module
 */
import * as SocketAddress from "./connection/SocketAddress.ts"

export interface WorkerEnvironment {
  /**
   * `ws:`, `http:` or `grpc:` with host and port, or `unix:` or `grpc+unix:` with the path of a socket. Several gateways
   * are separated by commas and spoken to over one transport.
   */
  readonly url: string
  readonly instanceId: string
  readonly functionId: string
  readonly versionId: string
  readonly token: string
  readonly slots: number
  /** Unix ms; undefined = not told. */
  readonly spawnedAtMs: number | undefined
}

export interface EnvironmentFault {
  readonly _tag: "EnvironmentFault"
  readonly message: string
}

const fault = (message: string): EnvironmentFault => ({ _tag: "EnvironmentFault", message })

const schemes = ["ws:", "wss:", "http:", "https:", "grpc:", "grpcs:"]

const isAddress = (url: string): boolean =>
  SocketAddress.pathOf(url) !== undefined || (URL.canParse(url) && schemes.includes(new URL(url).protocol))

export const isGrpc = (url: string): boolean => url.startsWith("grpc")

export const read = (variables: Readonly<Record<string, string | undefined>>): WorkerEnvironment | EnvironmentFault => {
  const url = variables["MILLRACE_WORKER_URL"]
  if (url === undefined || url === "") {
    return fault(
      "This file is a Millrace function: it gets its calls from a running Millrace, which starts it. " +
        "Run it with `millrace dev <its folder>`."
    )
  }
  const addresses = url.split(",").map((address) => address.trim())
  const wrong = addresses.find((address) => !isAddress(address))
  if (wrong !== undefined) {
    return fault(
      `MILLRACE_WORKER_URL ${addresses.length === 1 ? "is" : "holds"} "${wrong}"; it must be a ws://, http:// or ` +
        "grpc:// address with host and port, or unix: with the absolute path of a socket, or several with commas between."
    )
  }
  if (new Set(addresses.map(isGrpc)).size > 1) {
    return fault(`MILLRACE_WORKER_URL is "${url}"; its addresses must all be gRPC's, or none of them.`)
  }
  const slots = Number(variables["MILLRACE_SLOTS"] ?? "1")
  if (!Number.isInteger(slots) || slots < 1 || slots > 65_536) {
    return fault(`MILLRACE_SLOTS is "${variables["MILLRACE_SLOTS"]}"; it must be a whole number from 1 to 65536.`)
  }
  const spawnedAtMs = Number(variables["MILLRACE_SPAWNED_AT_MS"])
  return {
    url,
    instanceId: variables["MILLRACE_INSTANCE_ID"] ?? "",
    functionId: variables["MILLRACE_FUNCTION_ID"] ?? "",
    versionId: variables["MILLRACE_VERSION_ID"] ?? "",
    token: variables["MILLRACE_WORKER_TOKEN"] ?? "",
    slots,
    spawnedAtMs: spawnedAtMs > 0 ? spawnedAtMs : undefined
  }
}
