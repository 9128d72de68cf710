/** `millrace backup` and `millrace restore`: all that an installation on NATS keeps, in a folder and back. @module */
import { resolve } from "node:path"
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Backup from "../../planes/fabric/nats/Backup.ts"
import { connectionOptions } from "../../planes/fabric/nats/Supervisor.ts"
import { CommandFailed, exitCodes, type Input, isSet, required, usageError } from "../Command.ts"
import * as ConfigFile from "../config/ConfigFile.ts"
import * as Output from "../Output.ts"

const run = async (
  input: Input,
  done: "saved" | "restored",
  act: (place: Backup.Place, folder: string) => Promise<Backup.Summary>
): Promise<number> => {
  const folder = resolve(required(input, 0, "the folder of the backup"))
  const { nats, state } = ConfigFile.load(input).config
  if (nats.urls.length === 0) {
    throw usageError(
      "nats.urls says nothing (--config FILE). Without NATS the platform's folder is all there is: stop it, and copy that"
    )
  }
  const credentials =
    nats.credentials === undefined
      ? ({ _tag: "Anonymous" } as const)
      : ({ _tag: "File", path: nats.credentials } as const)
  // Nobody waits for servers that are away as a service does.
  const options = { ...connectionOptions(nats.urls, credentials, "millrace backup"), maxReconnectAttempts: 0 }
  const connection = await connect(options).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error)
    throw new CommandFailed({ kind: "fabric-unavailable", message: `no NATS server took the connection: ${why}` })
  })
  try {
    const manager = await jetstreamManager(connection)
    const say = isSet(input, "json") ? () => {} : (line: string) => Output.line(line)
    const place = { connection, manager, prefix: nats.prefix, state: resolve(state), say }
    const summary = await act(place, folder)
    if (isSet(input, "json")) Output.json({ folder, ...summary })
    else {
      const { streams, messages, bytes, bodies } = summary
      Output.line(
        `${done} ${streams} streams (${messages} messages, ${bytes} bytes) and ${bodies} large bodies: ${folder}`
      )
    }
    return exitCodes.ok
  } catch (error) {
    if (error instanceof Backup.BackupRefused) {
      throw new CommandFailed({ kind: "backup-refused", message: error.message })
    }
    throw error
  } finally {
    await connection.close()
  }
}

export const save = { run: (input: Input) => run(input, "saved", Backup.save) }
export const restore = { run: (input: Input) => run(input, "restored", Backup.restore) }
