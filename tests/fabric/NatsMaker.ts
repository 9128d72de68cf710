/**
 * The NATS fabric as a maker for the law suites: a place is a prefix on a real server, and a folder for the blobs.
 *
 * @module
 */
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import * as Streams from "../../src/planes/fabric/nats/Streams.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import type { RunningNats } from "../services/RunningNats.ts"
import type { FabricMaker, FabricPlace } from "./FabricMaker.ts"

/** Each stream reserves its room on the server, and the laws make hundreds. */
export const logBytesMax = 32 * 1024 * 1024

/** Everything that a process needs to open the same fabric. */
export const optionsOf = (address: string): NatsFabric.NatsFabricOptions => JSON.parse(address)

export const layer = (address: string) => NatsFabric.layer(optionsOf(address))

export const makePlace = async (server: RunningNats, prefix: string): Promise<FabricPlace> => {
  const blobDirectory = await fs.mkdtemp(path.join(os.tmpdir(), "millrace-fabric-"))
  const options: NatsFabric.NatsFabricOptions = {
    servers: [server.url],
    system: { servers: [server.systemUrl], credentials: { _tag: "Anonymous" } },
    prefix,
    logBytesMax,
    blobDirectory
  }
  return {
    address: JSON.stringify(options),
    remove: async () => {
      await fs.rm(blobDirectory, { recursive: true, force: true })
      await removeStreams(server, prefix)
    }
  }
}

const removeStreams = async (server: RunningNats, prefix: string) => {
  const connection = await connect(connectionOptions([server.url], { _tag: "Anonymous" }, "clean-up"))
  try {
    // A cluster that lost a server a moment ago takes its time.
    const { streams } = await jetstreamManager(connection, { timeout: 20_000 })
    for await (const { config } of streams.list()) {
      const isOne =
        config.name.startsWith(`${prefix}-`) ||
        config.name === `KV_${prefix}` ||
        Streams.orderStreams(prefix).some(({ name }) => name === config.name)
      if (isOne) await streams.delete(config.name)
    }
  } finally {
    await connection.close()
  }
}

/** `server`: started before the first place is made. */
export const nats = (server: () => RunningNats): FabricMaker => {
  let placeCount = 0
  return {
    name: "NATS",
    module: new URL(import.meta.url),
    layer,
    makePlace: () => makePlace(server(), `laws${process.pid}-${placeCount++}`)
  }
}
