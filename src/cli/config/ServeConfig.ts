/**
 * Every setting of `millrace serve`. The schemas here are the source: of what a file may say, of what `config check`
 * explains, of the variables, and of the table in `docs/operating.md`.
 *
 * @module
 */
import * as StartModel from "../../core/simulation/StartModel.ts"
import * as NatsOptions from "../../planes/fabric/nats/NatsOptions.ts"
import { count, maybeText, milliseconds, oneOf, port, type Setting, text, texts } from "./Setting.ts"

const natsUrl = { pattern: /^(?:nats|tls|ws|wss):\/\/\S{1,400}$/, expected: "addresses such as nats://127.0.0.1:4222" }
const label = {
  pattern: /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$/,
  expected: "1 to 63 of A-Z, a-z, 0-9, and between them - and _"
}
const labels = {
  pattern: /^(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
  expected: "1 to 63 of A-Z, a-z, 0-9, and between them single dots, - and _ each"
}
const secret = {
  pattern: /^(?:file:\S.{0,4000}|[A-Za-z0-9_-]{43,512})$/,
  expected: "file:PATH, or the secret itself: 43 to 512 of A-Z, a-z, 0-9, - and _",
  isSecret: true
}
const workerUrl = {
  pattern: /^(?:(?:wss?|grpc):\/\/\S{1,400}|unix:\/\S{1,400})$/,
  expected: "an address such as ws://gateway:8789"
}

const startModels = StartModel.models.map(({ name }) => name)

export const settings = {
  state: text({
    about:
      "folder of this process: large bodies, what was read of the registry, and what its backend keeps. Gateways of the same shards share it",
    otherwise: ".millrace",
    variable: "MILLRACE_STATE"
  }),
  nats: {
    urls: texts({ ...natsUrl, about: "the servers", countMax: 32, variable: "MILLRACE_NATS_URL", isSecret: true }),
    credentials: maybeText({ about: "file with JWT and seed of the user; read again at each connect" }),
    systemUrls: texts({
      ...natsUrl,
      about: "the same servers for a user of the system account, to read their settings",
      countMax: 32,
      variable: "MILLRACE_NATS_SYSTEM_URL",
      isSecret: true
    }),
    systemCredentials: maybeText({ about: "file with JWT and seed of that user" }),
    monitorUrls: texts({
      pattern: /^https?:\/\/\S{1,400}$/,
      expected: "addresses such as http://127.0.0.1:8222",
      about: "monitoring addresses of all servers, instead of the system account",
      countMax: 32,
      variable: "MILLRACE_NATS_MONITOR_URL"
    }),
    prefix: text({
      pattern: /^[a-z0-9-]{1,32}$/,
      expected: "1 to 32 of a-z, 0-9 and -",
      about: "begins all names on the servers; the same in all processes of one installation",
      otherwise: "millrace"
    }),
    logBytes: count({
      about:
        "bytes reserved for each log: that of a shard, of its dead letters, of its events. Stays as it was when a log was made",
      otherwise: NatsOptions.defaults.logBytesMax,
      minimum: 16 * 1024 * 1024,
      maximum: 1024 ** 4
    }),
    durability: oneOf({
      of: ["power-loss", "process-crash-only"],
      about: "what accepted work survives; the second lets unsafe servers through",
      otherwise: "power-loss"
    })
  },
  secrets: {
    worker: maybeText({
      ...secret,
      about: "signs workers' tokens, the same for agents and invocation planes. Left out: made once, kept in the store",
      variable: "MILLRACE_WORKER_SECRET"
    }),
    adminToken: maybeText({
      ...secret,
      about: "opens the control API. Left out: made once and kept in the store, and written to admin-token in `state`",
      variable: "MILLRACE_ADMIN_TOKEN"
    })
  },
  health: {
    host: text({ about: "address of /healthz and /readyz", otherwise: "127.0.0.1" }),
    port: port({ about: "port of /healthz and /readyz", otherwise: 8790 })
  },
  invocation: {
    host: text({ about: "address of the gateway and of the worker port", otherwise: "127.0.0.1" }),
    port: port({ about: "gateway, where callers come in", otherwise: 8787, variable: "MILLRACE_PORT" }),
    workerPort: port({ about: "where instances connect", otherwise: 8789, variable: "MILLRACE_WORKER_PORT" }),
    workerUrl: maybeText({ ...workerUrl, about: "where instances reach that port. Left out: host and port" }),
    workerSocket: maybeText({
      about: "socket at which instances of this machine connect that have no network: workers/worker.sock in `state`"
    }),
    peerUrl: maybeText({
      pattern: /^http:\/\/\S{1,400}$/,
      expected: "an address such as http://gateway-1:8787",
      about: "where other gateways reach this one's port. Left out: host and port"
    }),
    shards: count({
      about:
        "parts into which requests are divided, which gateways share; each reserves three times `nats.logBytes` on the servers. Stays as it was first said",
      otherwise: 16,
      minimum: 1,
      maximum: 64
    }),
    region: text({ ...label, about: "told to workers", otherwise: "local" }),
    heartbeatMs: milliseconds({
      about: "between heartbeats of workers; three missed, and what a worker held goes to others",
      otherwise: 5_000,
      minimum: 100,
      maximum: 600_000
    }),
    drainMs: milliseconds({
      about: "how long calls in flight may finish after SIGTERM",
      otherwise: 10_000,
      minimum: 0,
      maximum: 3_600_000
    }),
    deadLetterRetentionMs: milliseconds({
      about: "how long dead letters are kept",
      otherwise: 604_800_000,
      minimum: 1_000,
      maximum: 31_536_000_000
    })
  },
  control: {
    host: text({ about: "address of the control API: of this machine only", otherwise: "127.0.0.1" }),
    port: port({ about: "control API", otherwise: 8788, variable: "MILLRACE_CONTROL_PORT" }),
    unreachableAfterMs: milliseconds({
      about: "a cluster whose agent was not heard for so long gets no instances, and those it had are replaced",
      otherwise: 10_000,
      minimum: 1_000,
      maximum: 600_000
    })
  },
  agent: {
    cluster: text({ ...label, about: "name of its cluster", otherwise: "local", variable: "MILLRACE_CLUSTER" }),
    region: text({ ...label, about: "where the cluster is", otherwise: "local", variable: "MILLRACE_REGION" }),
    group: maybeText({ ...labels, about: "clusters that belong together: functions may demand one of some groups" }),
    attributes: texts({
      ...labels,
      about: "what the cluster has, such as nvlink: functions may demand them",
      countMax: 64
    }),
    compliance: texts({
      ...labels,
      about: "what the cluster is certified for, such as iso-27001: functions may demand it",
      countMax: 64
    }),
    backend: oneOf({
      of: ["process", "simulated", "docker", "kubernetes"],
      about: "where instances run",
      otherwise: "process",
      variable: "MILLRACE_BACKEND"
    }),
    isolation: maybeText({
      pattern: /^(?:none|bubblewrap)$/,
      expected: "none or bubblewrap",
      about: "of processes; with the backend process",
      variable: "MILLRACE_ISOLATION"
    }),
    gpu: maybeText({ about: "GPUs that are not there, such as h100x8x4; with the backend simulated" }),
    startModel: maybeText({
      pattern: new RegExp(`^(?:${startModels.join("|")})$`),
      expected: `one of ${startModels.join(", ")}`,
      about: "how long starts on simulated GPUs take; with the backend simulated"
    }),
    dockerImage: maybeText({
      about: "base of functions that are a folder; with the backend docker, which makes one of its own without",
      variable: "MILLRACE_DOCKER_IMAGE"
    }),
    image: maybeText({
      pattern: /^[^\s\p{Cc}]{1,512}$/u,
      expected: "an image such as node:24-slim",
      about: "runs functions that are a folder, with Node 22.18 or later; with the backend kubernetes",
      variable: "MILLRACE_IMAGE"
    }),
    namespace: maybeText({
      pattern: /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      expected: "1 to 63 of a-z, 0-9, and between them -",
      about: "where its Pods are, one for each installation; with the backend kubernetes. Left out: millrace",
      variable: "MILLRACE_NAMESPACE"
    }),
    workerImage: maybeText({
      pattern: /^[^\s\p{Cc}]{1,512}$/u,
      expected: "an image such as registry.example/millrace:1",
      about:
        "has the millrace command and stands beside charts and servers with a health path; with the backend kubernetes",
      variable: "MILLRACE_WORKER_IMAGE"
    }),
    charts: maybeText({
      pattern: /^(?:on|off)$/,
      expected: "on or off",
      about:
        "whether it carries out charts, for which deploy/kubernetes/mini-services.yaml is applied; with the backend kubernetes. Left out: off",
      variable: "MILLRACE_CHARTS"
    }),
    kubeconfig: maybeText({
      about:
        "file with the address of the API server and the credentials; with the backend kubernetes. Left out: KUBECONFIG, ~/.kube/config, or the Pod's service account"
    }),
    workerUrl: maybeText({
      ...workerUrl,
      about:
        "where instances connect; for Pods an address that they reach, such as ws://10.0.0.7:8789. Left out: what an invocation plane says of itself"
    }),
    heartbeatMs: milliseconds({
      about: "between heartbeats, each of which also reconciles what runs with what is wanted",
      otherwise: 2_000,
      minimum: 100,
      maximum: 60_000
    }),
    shutdownMs: milliseconds({
      about: "after SIGTERM all instances have ended, or are left to the backend to kill",
      otherwise: 15_000,
      minimum: 0,
      maximum: 3_600_000
    })
  }
} as const

type Tree = { readonly [name: string]: Setting<unknown> | Tree }
type Value<T> = T extends Setting<infer A> ? A : { readonly [K in keyof T]: Value<T[K]> }

/** What holds. */
export type ServeConfig = Value<typeof settings>

export interface Named {
  /** As in `nats.urls`. */
  readonly path: string
  readonly setting: Setting<unknown>
  readonly variable: string
}

const isSetting = (node: Setting<unknown> | Tree): node is Setting<unknown> => node["_tag"] === "Setting"

const variableOf = (path: string) =>
  `MILLRACE_${path.replaceAll(".", "_").replace(/[A-Z]/g, (letter) => `_${letter}`)}`.toUpperCase()

const walk = (tree: Tree, prefix: string): ReadonlyArray<Named> =>
  Object.entries(tree).flatMap(([name, node]): ReadonlyArray<Named> => {
    const path = prefix === "" ? name : `${prefix}.${name}`
    if (!isSetting(node)) return walk(node, path)
    return [{ path, setting: node, variable: node.variable ?? variableOf(path) }]
  })

/** All of them, in the order of the file. */
export const all: ReadonlyArray<Named> = walk(settings, "")
