/**
 * All that Millrace keeps, in a folder and back: logs of shards and their snapshots, specs and ownership, and bodies.
 *
 * Laws: B1 a folder without its list (`backup.json`, written last) is no backup. B2 what is restored is what was saved,
 * byte for byte, or nothing is. B3 a snapshot of a shard and its log fit: none was saved between them. B4 nothing is
 * restored beside what is there. Orders to agents are not kept: the control plane gives them anew.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import type { JetStreamManager } from "@nats-io/jetstream"
import type { NatsConnection } from "@nats-io/transport-node"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Safety from "./Safety.ts"
import * as StreamCopy from "./StreamCopy.ts"
import { keyStream, logStream, snapshotStream } from "./Streams.ts"

export interface Place {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  readonly prefix: string
  /** Where bodies lie: `state` of the gateways. */
  readonly state: string
  readonly say: (line: string) => void
}

export interface Summary {
  readonly streams: number
  readonly messages: number
  readonly bytes: number
  readonly bodies: number
}

/** What cannot be done, in a sentence for whoever asked. */
export class BackupRefused extends Error {}

const listName = "backup.json"
const bodies = "blobs"
/** A shard's snapshot is saved every some thousand records. */
const triesMax = 10

const Saved = Schema.Struct({
  name: Schema.String,
  file: Schema.String,
  bytes: Schema.Int,
  sha256: Schema.String,
  /** As the server described it. */
  config: Schema.Record(Schema.String, Schema.Unknown),
  state: Schema.Record(Schema.String, Schema.Unknown)
})
const List = Schema.Struct({
  format: Schema.Literal(1),
  prefix: Schema.String,
  savedAt: Schema.String,
  streams: Schema.Array(Saved)
})
const readList = Schema.decodeUnknownResult(Schema.fromJsonString(List))

const isThere = (path: string) =>
  fs.access(path).then(
    () => true,
    () => false
  )

/** Names on the server; logs last, behind the snapshots that they begin at. */
const streamsOf = async ({ manager, prefix }: Place): Promise<ReadonlyArray<string>> => {
  const logs = logStream(prefix, "").name
  const found = { first: [] as Array<string>, logs: [] as Array<string> }
  for await (const name of manager.streams.names()) {
    if (name.startsWith(logs)) found.logs.push(name)
    else if (name === keyStream(prefix).name || name === snapshotStream(prefix).name) found.first.push(name)
  }
  return [...found.first.sort(), ...found.logs.sort()]
}

/** Bodies that are not there yet; undefined folder: there were never any. */
const copyBodies = async (from: string, to: string): Promise<number> => {
  if (!(await isThere(from))) return 0
  await fs.mkdir(to, { recursive: true, mode: 0o700 })
  const there = new Set(await fs.readdir(to))
  for (const name of await fs.readdir(from)) {
    if (there.has(name)) continue
    // One that was removed meanwhile was wanted by nobody any more.
    await fs.copyFile(join(from, name), join(to, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error
    })
  }
  return (await fs.readdir(to)).length
}

/** Into a folder that is empty or not there yet. Everything may go on working meanwhile. */
export const save = async (place: Place, folder: string): Promise<Summary> => {
  const { connection, manager, prefix, state, say } = place
  if ((await isThere(folder)) && (await fs.readdir(folder)).length > 0) {
    throw new BackupRefused(`${folder} is not empty: a backup goes into a folder of its own`)
  }
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  const names = await streamsOf(place)
  if (names.length === 0) {
    throw new BackupRefused(`there are no streams whose names begin with ${prefix}: is nats.prefix right?`)
  }
  // Before and after the logs: whatever a log names was there at one of the two.
  await copyBodies(join(state, bodies), join(folder, bodies))
  const snapshots = snapshotStream(prefix).name
  const lastSnapshot = async () =>
    names.includes(snapshots) ? (await manager.streams.info(snapshots)).state.last_seq : 0
  for (let round = 1; ; round++) {
    const before = await lastSnapshot()
    const streams: Array<typeof Saved.Type> = []
    for (const [index, name] of names.entries()) {
      const file = `stream-${index}`
      await fs.rm(join(folder, file), { force: true })
      try {
        const saved = await StreamCopy.save(connection, name, join(folder, file))
        streams.push({ name, file, ...saved, config: { ...saved.config }, state: { ...saved.state } })
        say(`${name}: ${saved.state.messages} messages, ${saved.bytes} bytes`)
      } catch (error) {
        throw new BackupRefused(`${name} could not be saved: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    if ((await lastSnapshot()) !== before) {
      if (round === triesMax)
        throw new BackupRefused(`snapshots were saved all the time: ${triesMax} tries did not fit`)
      say("a snapshot was saved meanwhile: once more")
      continue
    }
    const bodyCount = await copyBodies(join(state, bodies), join(folder, bodies))
    const list: typeof List.Type = { format: 1, prefix, savedAt: new Date().toISOString(), streams }
    const temporary = join(folder, `${listName}.partial`)
    await fs.writeFile(temporary, `${JSON.stringify(list, null, 2)}\n`, { mode: 0o600 })
    await fs.rename(temporary, join(folder, listName))
    return {
      streams: streams.length,
      messages: streams.reduce((sum, { state }) => sum + Number(state["messages"] ?? 0), 0),
      bytes: streams.reduce((sum, { bytes }) => sum + bytes, 0),
      bodies: bodyCount
    }
  }
}

const sumOf = async (path: string): Promise<string> => {
  const hash = createHash("sha256")
  await pipeline(createReadStream(path), hash)
  return hash.digest("hex")
}

const listOf = async (folder: string): Promise<typeof List.Type> => {
  const path = join(folder, listName)
  const text = await fs.readFile(path, "utf8").catch(() => undefined)
  if (text === undefined) {
    throw new BackupRefused(`${path} is not there: ${folder} is no backup, or one that was never finished`)
  }
  const read = readList(text)
  if (Result.isFailure(read)) throw new BackupRefused(`${path} is not a list of a backup: ${read.failure.message}`)
  return read.success
}

/** On servers that hold nothing of this installation, while none of its planes runs. */
export const restore = async (place: Place, folder: string): Promise<Summary> => {
  const { connection, state, say, prefix } = place
  const { streams, prefix: saved } = await listOf(folder)
  if (saved !== prefix) {
    throw new BackupRefused(`${folder} is of an installation with nats.prefix ${saved}, and this one has ${prefix}`)
  }
  for (const { file, sha256, name } of streams) {
    const sum = await sumOf(join(folder, file)).catch(() => "missing")
    if (sum !== sha256)
      throw new BackupRefused(`${join(folder, file)} (${name}) is not what was saved: nothing was restored`)
  }
  const there = await streamsOf(place)
  if (there.length > 0) {
    throw new BackupRefused(`${there.join(", ")} are there already: a backup is restored to servers without them`)
  }
  const bodyCount = await copyBodies(join(folder, bodies), join(state, bodies))
  const isClustered = connection.info?.cluster !== undefined
  for (const { name, file, config, state: counts, bytes } of streams) {
    // As the server described them when they were saved.
    const described = { config, state: counts } as unknown as StreamCopy.Described
    const replicas = isClustered ? Math.max(described.config.num_replicas, Safety.replicasWhenClustered) : 1
    const made = { ...described, config: { ...described.config, num_replicas: replicas } }
    try {
      await StreamCopy.restore(connection, made, join(folder, file))
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new BackupRefused(`${name} could not be restored: ${why}. Remove what was restored, and try again`)
    }
    say(`${name}: ${described.state.messages} messages, ${bytes} bytes`)
  }
  return {
    streams: streams.length,
    messages: streams.reduce((sum, { state }) => sum + Number(state["messages"] ?? 0), 0),
    bytes: streams.reduce((sum, { bytes }) => sum + bytes, 0),
    bodies: bodyCount
  }
}
