/**
 * One stream as a file and back, by the server's own snapshots: its messages with their sequence numbers, times and headers.
 *
 * Source: `$JS.API.STREAM.SNAPSHOT` and `$JS.API.STREAM.RESTORE` of the JetStream API (ADR-1 lists the subjects).
 *
 * @module
 */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import * as fs from "node:fs/promises"
import type { StreamConfig } from "@nats-io/jetstream"
import { createInbox, type NatsConnection } from "@nats-io/transport-node"

const chunkBytes = 128 * 1024
const answerMs = 10_000

/** What the server says of a stream, and needs to make it again. */
export interface Described {
  readonly config: StreamConfig
  readonly state: { readonly messages: number; readonly last_seq: number }
}

interface ApiAnswer extends Partial<Described> {
  readonly error?: { readonly description?: string }
  readonly deliver_subject?: string
}

const ask = async (connection: NatsConnection, subject: string, payload: object): Promise<ApiAnswer> => {
  const message = await connection.request(subject, JSON.stringify(payload), { timeout: answerMs })
  // The answers of the JetStream API are JSON.
  const answer = message.json() as ApiAnswer
  if (answer.error !== undefined) throw new Error(answer.error.description ?? "the server refused it")
  return answer
}

/** Writes the stream to `path`. */
export const save = async (
  connection: NatsConnection,
  name: string,
  path: string
): Promise<Described & { readonly sha256: string; readonly bytes: number }> => {
  const inbox = createInbox()
  const subscription = connection.subscribe(inbox)
  const file = await fs.open(path, "wx", 0o600)
  const hash = createHash("sha256")
  let bytes = 0
  let timer: NodeJS.Timeout | undefined
  let isSilent = false
  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      isSilent = true
      subscription.unsubscribe()
    }, answerMs)
  }
  try {
    const { config, state } = await ask(connection, `$JS.API.STREAM.SNAPSHOT.${name}`, {
      deliver_subject: inbox,
      no_consumers: true,
      chunk_size: chunkBytes
    })
    if (config === undefined || state === undefined) throw new Error("the server did not describe it")
    wait()
    let isWhole = false
    for await (const message of subscription) {
      wait()
      const { data, headers } = message
      if (data.byteLength === 0) {
        if (headers !== undefined && headers.code >= 300)
          throw new Error(`the server broke off: ${headers.description}`)
        isWhole = true
        break
      }
      hash.update(data)
      bytes += data.byteLength
      await file.write(data)
      // The next chunks come when these were taken.
      message.respond()
    }
    if (!isWhole) {
      throw new Error(isSilent ? `nothing came for ${answerMs / 1_000} s` : "the connection was closed in the middle")
    }
    await file.sync()
    return { config, state, sha256: hash.digest("hex"), bytes }
  } finally {
    clearTimeout(timer)
    subscription.unsubscribe()
    await file.close()
  }
}

/** Makes the stream anew from `path`; there must be none of its name. */
export const restore = async (
  connection: NatsConnection,
  { config, state }: Described,
  path: string
): Promise<void> => {
  const begun = await ask(connection, `$JS.API.STREAM.RESTORE.${config.name}`, { config, state })
  const subject = begun.deliver_subject
  if (subject === undefined) throw new Error("the server did not say where it takes the data")
  for await (const chunk of createReadStream(path, { highWaterMark: chunkBytes })) {
    // Without an encoding a file is read as buffers.
    const answer = await connection.request(subject, chunk as Buffer, { timeout: answerMs })
    if (answer.data.byteLength > 0) throw new Error(answer.string())
  }
  const last = await connection.request(subject, new Uint8Array(0), { timeout: answerMs })
  // The answers of the JetStream API are JSON.
  const { error } = last.json() as ApiAnswer
  if (error !== undefined) throw new Error(error.description ?? "the server refused it")
}
