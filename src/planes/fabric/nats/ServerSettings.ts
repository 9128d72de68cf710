/**
 * Reads what only an operator sees: the settings of every server, from the system account or the monitoring addresses.
 *
 * @module
 */
import { connect } from "@nats-io/transport-node"
import * as NatsFailure from "./NatsFailure.ts"
import type { NatsOptions } from "./NatsOptions.ts"
import type { ServerFacts } from "./Safety.ts"
import { connectionOptions, type Supervisor } from "./Supervisor.ts"

/** All servers of a cluster answer one ping; a silence of this length ends the waiting. */
const pingStallMs = 500
const pingLimitMs = 5_000
const varzSubject = "$SYS.REQ.SERVER.PING.VARZ"
const jszSubject = "$SYS.REQ.SERVER.PING.JSZ"
const nanosPerSecond = 1_000_000_000

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  // An object has properties of unknown values, and nothing more is said here.
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {}

/** Of a `varz`: missing fields are what the server leaves out when they are zero. */
const factsOf = (varz: unknown): ServerFacts => {
  const fields = record(varz)
  const jetStream = record(fields["jetstream"])["config"]
  const config = record(jetStream)
  return {
    name: String(fields["server_name"] ?? fields["server_id"] ?? "?"),
    version: String(fields["version"] ?? "0"),
    maxPayloadBytes: Number(fields["max_payload"] ?? 0),
    jetStream:
      jetStream === undefined
        ? undefined
        : {
            isSyncAlways: config["sync_always"] === true,
            syncInterval: `${Number(config["sync_interval"] ?? 0) / nanosPerSecond}s`
          }
  }
}

interface Answered {
  readonly servers: ReadonlyArray<ServerFacts>
  /** Names of servers that the cluster counts among its own. */
  readonly known: ReadonlyArray<string>
}

/** Of a `jsz`: the leader names the others, also those that are gone. */
const namesOf = (jsz: unknown): ReadonlyArray<string> => {
  const { leader, replicas } = record(record(jsz)["meta_cluster"])
  const others: ReadonlyArray<unknown> = Array.isArray(replicas) ? replicas : []
  const names = others.map((other) => record(other)["name"])
  return (names.length === 0 ? [] : [leader, ...names]).filter((name) => typeof name === "string")
}

const fromSystemAccount = async (system: NonNullable<NatsOptions["system"]>): Promise<Answered> => {
  const connection = await connect({
    ...connectionOptions(system.servers, system.credentials, "millrace-settings"),
    reconnect: false
  })
  try {
    // One that is no part of a cluster answers alone.
    if (connection.info?.cluster === undefined) {
      const answer = await connection.request(varzSubject, "", { timeout: pingLimitMs })
      return { servers: [factsOf(record(answer.json())["data"])], known: [] }
    }
    const askAll = async (subject: string): Promise<ReadonlyArray<unknown>> => {
      const limits = { strategy: "stall", maxWait: pingLimitMs, stall: pingStallMs } as const
      const all: Array<unknown> = []
      for await (const answer of await connection.requestMany(subject, "", limits))
        all.push(record(answer.json())["data"])
      return all
    }
    const [varz, jsz] = await Promise.all([askAll(varzSubject), askAll(jszSubject)])
    return { servers: varz.map(factsOf), known: jsz.flatMap(namesOf) }
  } finally {
    await connection.close()
  }
}

const fromMonitor = async (url: string): Promise<ServerFacts> => {
  const response = await fetch(new URL("/varz", url), { signal: AbortSignal.timeout(5_000) })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  return factsOf(await response.json())
}

export interface ServerSettings {
  readonly servers: ReadonlyArray<ServerFacts>
  /** Why nothing but the greeting of one server is known. */
  readonly unreadable: string | undefined
  /** Names of servers of the cluster that did not answer. */
  readonly silent: ReadonlyArray<string>
}

export const read = async (supervisor: Supervisor): Promise<ServerSettings> => {
  const { system, monitorUrls } = supervisor.options
  const { info } = supervisor.link.connection
  const greeting: ServerFacts = {
    name: info?.server_name ?? "?",
    version: info?.version ?? "0",
    maxPayloadBytes: info?.max_payload ?? 0,
    jetStream: undefined
  }
  try {
    const { servers, known } =
      system !== undefined
        ? await fromSystemAccount(system)
        : { servers: await Promise.all(monitorUrls.map(fromMonitor)), known: [] }
    const silent = known.filter((name) => !servers.some((server) => server.name === name))
    // Servers that carry no JetStream hold nothing of Millrace.
    const holding = servers.filter((server) => server.jetStream !== undefined)
    if (holding.length > 0) return { servers: holding, unreadable: undefined, silent }
    const nobody = "no server with JetStream answered"
    return {
      servers: [greeting],
      unreadable: system === undefined && monitorUrls.length === 0 ? "nobody was asked" : nobody,
      silent
    }
  } catch (error) {
    return { servers: [greeting], unreadable: NatsFailure.reasonOf(error), silent: [] }
  }
}
