/**
 * What Millrace demands of NATS, as rules over settings that were read. Pure.
 *
 * Each finding names the line to change. A rule whose break loses accepted work only with the power (or the disk) is
 * waived by `process-crash-only`; the others never are.
 *
 * @module
 */
import type { ConsumerConfig, StreamConfig } from "@nats-io/jetstream"

/** Older ones lose acknowledged messages, also with `sync_interval: always`. */
export const serverVersionMin = "2.12.7"
/** Older ones rewrite a file of messages without a sync when some of it was removed, whatever `sync_interval` says. */
export const serverVersionThatSyncs = "2.14.6"
/** One append of a shard must fit into one message with its framing, and parts of a larger one must not be too many. */
export const payloadBytesMin = 1024 * 1024
export const replicasWhenClustered = 3

export interface Finding {
  /** The server, stream or consumer. */
  readonly where: string
  readonly setting: string
  readonly found: string
  readonly required: string
  /** What to write, or to type. */
  readonly change: string
  readonly isWaivedByProcessCrashOnly: boolean
}

export interface ServerFacts {
  readonly name: string
  readonly version: string
  readonly maxPayloadBytes: number
  /** Absent when it could not be read. */
  readonly jetStream: { readonly isSyncAlways: boolean; readonly syncInterval: string } | undefined
}

export interface AccountFacts {
  /** -1: no limit. */
  readonly storageBytesMax: number
}

export type StreamRole = "log" | "snapshots" | "keys" | "queue" | "deadLetters"

const versionNumbers = (version: string) => version.split("-")[0]!.split(".").map(Number)

export const isOlder = (version: string, than: string): boolean => {
  const [left, right] = [versionNumbers(version), versionNumbers(than)]
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0)
    if (difference !== 0) return difference < 0
  }
  // A release candidate comes before its release.
  return version.includes("-") && !than.includes("-")
}

export const ofServer = (server: ServerFacts): ReadonlyArray<Finding> => {
  const where = `server ${server.name}`
  const findings: Array<Finding> = []
  const isTooOld = isOlder(server.version, serverVersionMin)
  if (isOlder(server.version, serverVersionThatSyncs)) {
    const required = `${serverVersionThatSyncs} or newer`
    findings.push({
      where,
      setting: "version",
      found: server.version,
      required,
      change: `install nats-server ${required}`,
      isWaivedByProcessCrashOnly: !isTooOld
    })
  }
  if (server.maxPayloadBytes < payloadBytesMin) {
    findings.push({
      where,
      setting: "max_payload",
      found: String(server.maxPayloadBytes),
      required: `${payloadBytesMin} or more`,
      change: "max_payload: 8MB",
      isWaivedByProcessCrashOnly: false
    })
  }
  if (server.jetStream === undefined) {
    findings.push({
      where,
      setting: "jetstream.sync_interval",
      found: "nothing: it can not be read",
      required: "always",
      change:
        "give Millrace a user of the system account (`system`) or the monitoring addresses of all servers " +
        "(`monitorUrls`, with `http_port: 8222` in the server's file)",
      isWaivedByProcessCrashOnly: true
    })
  } else if (!server.jetStream.isSyncAlways) {
    findings.push({
      where,
      setting: "jetstream.sync_interval",
      found: server.jetStream.syncInterval,
      required: "always",
      change: "jetstream { sync_interval: always }",
      isWaivedByProcessCrashOnly: true
    })
  }
  return findings
}

export const ofAccount = (account: AccountFacts, storageBytesMin: number): ReadonlyArray<Finding> =>
  account.storageBytesMax === -1 || account.storageBytesMax >= storageBytesMin
    ? []
    : [
        {
          where: "the account",
          setting: "jetstream.max_file",
          found: String(account.storageBytesMax),
          required: `${storageBytesMin} or more`,
          change: `jetstream: { max_file: ${storageBytesMin} } in the account of Millrace, or a smaller log`,
          isWaivedByProcessCrashOnly: false
        }
      ]

type Rule = readonly [
  setting: string,
  isKept: (config: Partial<StreamConfig>) => boolean,
  found: (config: Partial<StreamConfig>) => unknown,
  required: string,
  isWaivedByProcessCrashOnly?: boolean
]

const always: ReadonlyArray<Rule> = [
  ["storage", (config) => config.storage === "file", (config) => config.storage, "file"],
  [
    "persist_mode",
    (config) => (config.persist_mode ?? "default") !== "async",
    (config) => config.persist_mode,
    "default"
  ],
  ["no_ack", (config) => config.no_ack !== true, (config) => config.no_ack, "false"],
  ["sealed", (config) => config.sealed !== true, (config) => config.sealed, "false"],
  ["max_age", (config) => (config.max_age ?? 0) === 0, (config) => config.max_age, "0"],
  ["mirror", (config) => config.mirror === undefined, (config) => config.mirror?.name, "none"]
]

/** A client that asks any server for a single message may get an old answer; logs are read so that this does no harm. */
const leaderAlone: Rule = [
  "allow_direct",
  (config) => config.allow_direct !== true,
  (config) => config.allow_direct,
  "false"
]

const discardNew: Rule = ["discard", (config) => config.discard === "new", (config) => config.discard, "new"]

/** Beyond it the oldest goes, whatever `discard` says. */
const allOfSubject: Rule = [
  "max_msgs_per_subject",
  (config) => (config.max_msgs_per_subject ?? -1) === -1,
  (config) => config.max_msgs_per_subject,
  "-1"
]

const byRole: Readonly<Record<StreamRole, ReadonlyArray<Rule>>> = {
  log: [
    discardNew,
    ["retention", (config) => config.retention === "limits", (config) => config.retention, "limits"],
    ["max_msgs", (config) => (config.max_msgs ?? -1) === -1, (config) => config.max_msgs, "-1"],
    allOfSubject,
    ["deny_purge", (config) => config.deny_purge !== true, (config) => config.deny_purge, "false"]
  ],
  snapshots: [
    discardNew,
    leaderAlone,
    ["retention", (config) => config.retention === "limits", (config) => config.retention, "limits"],
    ["deny_purge", (config) => config.deny_purge !== true, (config) => config.deny_purge, "false"]
  ],
  keys: [
    discardNew,
    leaderAlone,
    ["retention", (config) => config.retention === "limits", (config) => config.retention, "limits"],
    [
      "max_msgs_per_subject",
      (config) => (config.max_msgs_per_subject ?? -1) > 1,
      (config) => config.max_msgs_per_subject,
      "64"
    ]
  ],
  queue: [
    discardNew,
    leaderAlone,
    allOfSubject,
    ["retention", (config) => config.retention === "workqueue", (config) => config.retention, "workqueue"]
  ],
  deadLetters: [
    leaderAlone,
    ["retention", (config) => config.retention === "limits", (config) => config.retention, "limits"]
  ]
}

export interface StreamDemand {
  readonly role: StreamRole
  readonly isClustered: boolean
  readonly duplicateWindowMs: number
}

const nanosPerMs = 1_000_000

const rulesOf = (demand: StreamDemand): ReadonlyArray<Rule> => {
  const replicas = demand.isClustered ? replicasWhenClustered : 1
  const windowNanos = demand.duplicateWindowMs * nanosPerMs
  return [
    ...always,
    ...byRole[demand.role],
    [
      "num_replicas",
      (config) => (config.num_replicas ?? 1) >= replicas,
      (config) => config.num_replicas,
      String(replicas),
      true
    ],
    [
      "duplicate_window",
      (config) => (config.duplicate_window ?? 0) >= windowNanos,
      (config) => config.duplicate_window,
      `${windowNanos} (nanoseconds)`
    ]
  ]
}

/** Every setting that is judged, so that a test can say that it tried each. */
export const streamSettings = (role: StreamRole): ReadonlyArray<string> =>
  rulesOf({ role, isClustered: true, duplicateWindowMs: 1 }).map(([setting]) => setting)

export const ofStream = (config: Partial<StreamConfig>, demand: StreamDemand): ReadonlyArray<Finding> => {
  const rules = rulesOf(demand)
  const name = config.name ?? "?"
  return rules.flatMap(([setting, isKept, found, required, isWaived]) =>
    isKept(config)
      ? []
      : [
          {
            where: `stream ${name}`,
            setting,
            found: String(found(config) ?? "nothing"),
            required,
            change: `nats stream edit ${name} with ${setting}: ${required} (storage, retention and persist_mode need a new stream)`,
            isWaivedByProcessCrashOnly: isWaived ?? false
          }
        ]
  )
}

type ConsumerRule = readonly [
  setting: string,
  isKept: (config: Partial<ConsumerConfig>) => boolean,
  found: (config: Partial<ConsumerConfig>) => unknown,
  required: string
]

const consumerRules: ReadonlyArray<ConsumerRule> = [
  ["ack_policy", (config) => config.ack_policy === "explicit", (config) => config.ack_policy, "explicit"],
  ["max_deliver", (config) => (config.max_deliver ?? -1) === -1, (config) => config.max_deliver, "-1"],
  ["mem_storage", (config) => config.mem_storage !== true, (config) => config.mem_storage, "false"],
  [
    "inactive_threshold",
    (config) => (config.inactive_threshold ?? 0) === 0,
    (config) => config.inactive_threshold,
    "0"
  ],
  [
    "deliver_subject",
    (config) => config.deliver_subject === undefined,
    (config) => config.deliver_subject,
    "none (a pull consumer)"
  ]
]

export const consumerSettings: ReadonlyArray<string> = consumerRules.map(([setting]) => setting)

export const ofConsumer = (stream: string, config: Partial<ConsumerConfig>): ReadonlyArray<Finding> => {
  const name = config.durable_name ?? config.name ?? "?"
  return consumerRules.flatMap(([setting, isKept, found, required]) =>
    isKept(config)
      ? []
      : [
          {
            where: `consumer ${name} of stream ${stream}`,
            setting,
            found: String(found(config) ?? "nothing"),
            required,
            change: `nats consumer rm ${stream} ${name}: Millrace makes it anew with ${setting}: ${required}`,
            isWaivedByProcessCrashOnly: false
          }
        ]
  )
}

export const sentence = ({ where, setting, found, required, change }: Finding): string =>
  `${where} has ${setting} = ${found} and Millrace needs ${required}: ${change}`

/** What is left to refuse. */
export const refused = (
  findings: ReadonlyArray<Finding>,
  durability: "power-loss" | "process-crash-only"
): ReadonlyArray<Finding> =>
  durability === "power-loss" ? findings : findings.filter((finding) => !finding.isWaivedByProcessCrashOnly)
