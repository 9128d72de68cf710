/**
 * From a chart to objects: manifests that somebody has rendered already, or `helm template`, where there is a `helm` on the
 * PATH. Charts come from public places alone, by `https` or `oci`.
 *
 * The address of a chart is looked at before `helm` is asked; what `helm` then resolves itself, and where it is redirected
 * to, is not seen here. Where charts come from tenants, let Millrace out only through a proxy that refuses private addresses.
 *
 * @module
 */
import { execFile } from "node:child_process"
import { lookup } from "node:dns/promises"
import { BlockList } from "node:net"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ChartRules from "../../../core/chart/ChartRules.ts"
import * as Manifests from "../../../core/chart/Manifests.ts"
import type { Spec } from "./MiniService.ts"

/** `isFinal`: the same again would fail again. */
export class RenderFailure extends Data.TaggedError("RenderFailure")<{
  readonly detail: string
  readonly isFinal: boolean
}> {}

const helmMs = 60_000
/** What the objects may be together; the server takes no request beyond 3 MiB, so this is never the narrower limit. */
const outputBytesMax = 32 * 1024 * 1024
const releaseName = "mini-service"

const notPublic = new BlockList()
for (const [net, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16]
] as const) {
  notPublic.addSubnet(net, prefix)
}
for (const [net, prefix] of [
  ["::", 127],
  ["fc00::", 7],
  ["fe80::", 10]
] as const) {
  notPublic.addSubnet(net, prefix, "ipv6")
}

/** Also of an IPv4 address that is written as one of IPv6. */
const isPublic = (address: string): boolean => {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? []
  const plain = mapped ?? address
  return !notPublic.check(plain, plain.includes(":") ? "ipv6" : "ipv4")
}

/** Why no chart is fetched from there; undefined = it is. */
export const refusalOf = async (
  url: string,
  resolve: (host: string) => Promise<ReadonlyArray<string>> = resolveHost
): Promise<string | undefined> => {
  const wrong = ChartRules.addressViolation(url)
  if (wrong !== undefined) return wrong
  const { hostname } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, "")
  const addresses = await resolve(host).catch(() => [])
  if (addresses.length === 0) return `${host} cannot be resolved`
  const inside = addresses.find((address) => !isPublic(address))
  return inside === undefined ? undefined : `${host} is ${inside}, which is not public: charts come from public places`
}

const resolveHost = async (host: string) => (await lookup(host, { all: true })).map(({ address }) => address)

/** For `helm template`: an OCI reference has its version apart. */
export const helmArguments = (url: string): ReadonlyArray<string> => {
  const [, base = url, version] = /^(oci:.*)-([^-/]+)\.tgz$/.exec(url) ?? []
  const chart = version === undefined ? [url] : [base, "--version", version]
  return ["template", releaseName, ...chart, "--no-hooks", "--include-crds", "--values", "-"]
}

const helm = (url: string, values: unknown): Effect.Effect<string, RenderFailure> =>
  Effect.callback<string, RenderFailure>((resume) => {
    // Nothing of ours: it fetches and renders what a tenant names.
    const env = {
      PATH: process.env["PATH"] ?? "",
      HOME: "/nonexistent",
      HELM_CACHE_HOME: "/tmp",
      HELM_CONFIG_HOME: "/tmp"
    }
    const limits = { env, timeout: helmMs, maxBuffer: outputBytesMax, encoding: "utf8" as const }
    const child = execFile("helm", helmArguments(url), limits, (error, stdout, stderr) => {
      if (error === null) return resume(Effect.succeed(stdout))
      const isMissing = error.code === "ENOENT"
      const detail = isMissing
        ? "there is no helm on the PATH: install it, or give rendered manifests (helmChartConfig.manifests)"
        : `helm template failed: ${stderr.trim().slice(-1_000) || error.message}`
      resume(Effect.fail(new RenderFailure({ detail, isFinal: isMissing })))
    })
    child.stdin?.on("error", () => undefined)
    child.stdin?.end(JSON.stringify(values ?? {}))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const parse = Effect.fnUntraced(function* (text: string) {
  const { CORE_SCHEMA, loadAll } = yield* Effect.promise(() => import("js-yaml"))
  const read = Manifests.documentsOf(text, (all) => loadAll(all, { schema: CORE_SCHEMA }))
  if (Result.isSuccess(read)) return read.success
  return yield* new RenderFailure({ detail: read.failure, isFinal: true })
})

/** The documents of the chart, as they are. */
export const render = Effect.fnUntraced(function* ({ url, manifests, values }: Spec["helmChartConfig"]) {
  if (manifests !== undefined) return yield* parse(manifests)
  if (url === undefined) {
    return yield* new RenderFailure({ detail: "helmChartConfig has neither manifests nor url", isFinal: true })
  }
  const refused = yield* Effect.promise(() => refusalOf(url))
  if (refused !== undefined) return yield* new RenderFailure({ detail: refused, isFinal: true })
  return yield* parse(yield* helm(url, values))
})
