/**
 * The look at everything that exists before anything is served: servers, account, streams and their consumers.
 *
 * @module
 */
import type { ConsumerInfo, StreamInfo } from "@nats-io/jetstream"
import { UnsafeServer } from "../FabricError.ts"
import * as Safety from "./Safety.ts"
import * as ServerSettings from "./ServerSettings.ts"
import {
  deadLetterStream,
  keyStream,
  logStream,
  orderStreams,
  type Streams,
  snapshotStream,
  workStream
} from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

const roleOf = (supervisor: Supervisor, name: string): Safety.StreamRole | undefined => {
  const { prefix } = supervisor.options
  if (name === keyStream(prefix).name) return "keys"
  if (name === snapshotStream(prefix).name) return "snapshots"
  if (name === deadLetterStream(prefix).name) return "deadLetters"
  if (name === workStream(prefix).name || orderStreams(prefix).some((one) => one.name === name)) return "queue"
  return name.startsWith(logStream(prefix, "").name) ? "log" : undefined
}

const all = async <A>(lister: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const items: Array<A> = []
  for await (const item of lister) items.push(item)
  return items
}

export interface Checked {
  /** What `process-crash-only` lets through, as sentences. */
  readonly waived: ReadonlyArray<string>
  /** Names of servers that did not answer, and were not judged. */
  readonly silent: ReadonlyArray<string>
}

/** Rejects with `UnsafeServer`. */
export const run = async (supervisor: Supervisor, streams: Streams): Promise<Checked> => {
  const { durability, logBytesMax } = supervisor.options
  const { manager } = supervisor.link
  const findings: Array<Safety.Finding> = []
  const { servers, unreadable, silent } = await ServerSettings.read(supervisor)
  for (const server of servers) {
    for (const finding of Safety.ofServer(server)) {
      const isUnread = server.jetStream === undefined && finding.setting.includes("sync_interval")
      findings.push(isUnread ? { ...finding, found: `${finding.found} (${unreadable})` } : finding)
    }
  }
  const { limits } = await manager.getAccountInfo()
  findings.push(...Safety.ofAccount({ storageBytesMax: limits?.max_storage ?? -1 }, logBytesMax))
  for (const stream of await all<StreamInfo>(manager.streams.list())) {
    const role = roleOf(supervisor, stream.config.name)
    if (role === undefined) continue
    findings.push(...Safety.ofStream(stream.config, streams.demand(role)))
    if (role !== "queue") continue
    for (const consumer of await all<ConsumerInfo>(manager.consumers.list(stream.config.name))) {
      findings.push(...Safety.ofConsumer(stream.config.name, consumer.config))
    }
  }
  const refused = Safety.refused(findings, durability)
  if (refused.length > 0) throw UnsafeServer.of(refused.map(Safety.sentence))
  return { waived: findings.map(Safety.sentence), silent }
}

export interface Late {
  /** What would have been refused, as sentences. */
  readonly unsafe: ReadonlyArray<string>
  readonly silent: ReadonlyArray<string>
}

/** Judges those of these servers that answer by now. */
export const late = async (supervisor: Supervisor, names: ReadonlyArray<string>): Promise<Late> => {
  const { servers } = await ServerSettings.read(supervisor)
  const answered = servers.filter(({ name }) => names.includes(name))
  const findings = Safety.refused(answered.flatMap(Safety.ofServer), supervisor.options.durability)
  const silent = names.filter((name) => !answered.some((server) => server.name === name))
  return { unsafe: findings.map(Safety.sentence), silent }
}
