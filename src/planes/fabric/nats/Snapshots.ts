/**
 * Snapshots of all shards in one stream: parts first, then a head that names them.
 *
 * Laws: H1 a reader sees the last head whose parts are all there, whole. H2 an older snapshot never replaces a newer one, so
 * a deposed owner cannot take back what the log no longer holds. H3 what no head names is removed by the next save.
 *
 * @module
 */
import { nuid } from "@nats-io/transport-node"
import type { Snapshot } from "../Log.ts"
import * as Names from "./Names.ts"
import { NatsFailureError } from "./NatsFailureError.ts"
import { type Published, publish } from "./Publish.ts"
import * as StreamReader from "./StreamReader.ts"
import { type Streams, snapshotStream } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

const partBytes = 256 * 1024
const partsAtOnce = 4
/** A head may be replaced between its reading and that of its parts, but not for ever. */
const loadTries = 5

interface Head {
  readonly sequence: number
  readonly position: number
  readonly id: string
  readonly partCount: number
  readonly byteCount: number
}

/** What became of a save; the port's errors are made of it. */
export type Saved = Exclude<Published, { readonly _tag: "Conflict" }>

export class Snapshots {
  readonly #supervisor: Supervisor
  readonly #streams: Streams
  readonly #spec: ReturnType<typeof snapshotStream>
  readonly #root: string

  constructor(supervisor: Supervisor, streams: Streams) {
    this.#supervisor = supervisor
    this.#streams = streams
    this.#spec = snapshotStream(supervisor.options.prefix)
    this.#root = `${supervisor.options.prefix}.snapshot`
  }

  async save(shard: string, snapshot: Snapshot): Promise<Saved> {
    await this.#streams.ensure(this.#spec)
    const before = await this.#head(shard)
    if (before !== undefined && before.position > snapshot.position) {
      const reason = `a snapshot at ${before.position} is there, and this one is at ${snapshot.position}`
      return { _tag: "Refused", reason, retryable: false }
    }
    const id = nuid.next()
    const partCount = Math.ceil(snapshot.bytes.byteLength / partBytes)
    for (let first = 0; first < partCount; first += partsAtOnce) {
      const indexes = Array.from({ length: Math.min(partsAtOnce, partCount - first) }, (_, index) => first + index)
      const answers = await Promise.all(indexes.map((index) => this.#savePart(shard, id, index, snapshot.bytes)))
      const failed = answers.find((answer) => answer._tag !== "Stored")
      // Nothing names the parts, so nothing happened.
      if (failed !== undefined) {
        const reason = "reason" in failed ? failed.reason : "a part is there already"
        return { _tag: "Refused", reason, retryable: true }
      }
    }
    const published = await publish(this.#supervisor, {
      subject: this.#headSubject(shard),
      data: Buffer.from(
        JSON.stringify({ position: snapshot.position, id, partCount, byteCount: snapshot.bytes.byteLength })
      ),
      headers: {},
      messageId: `${id}.head`,
      expectedLastOfSubject: before?.sequence ?? 0
    })
    if (published._tag === "Conflict") {
      const now = await this.#head(shard)
      if (now?.id === id) return { _tag: "Stored", sequence: now.sequence, isDuplicate: true }
      return { _tag: "Refused", reason: "another owner saved a snapshot at the same time", retryable: false }
    }
    if (published._tag === "Stored") await this.#removeOthers(shard, id).catch(() => undefined)
    return published
  }

  async load(shard: string): Promise<Snapshot | undefined> {
    for (let round = 0; round < loadTries; round++) {
      const head = await this.#head(shard)
      if (head === undefined) return undefined
      const parts: Array<Uint8Array> = []
      for (let index = 0; index < head.partCount; index++) {
        const part = await this.#message(`${this.#partSubject(shard, head.id)}.${index}`)
        if (part === undefined) break
        parts.push(part.data)
      }
      const bytes = Buffer.concat(parts)
      if (bytes.byteLength === head.byteCount) return { position: head.position, bytes }
    }
    throw new NatsFailureError({ _tag: "Refused", reason: `the snapshot of ${shard} is not there whole` })
  }

  #headSubject(shard: string): string {
    return `${this.#root}.${Names.token(shard)}.head`
  }

  #partSubject(shard: string, id: string): string {
    return `${this.#root}.${Names.token(shard)}.part.${id}`
  }

  #savePart(shard: string, id: string, index: number, bytes: Uint8Array): Promise<Published> {
    return publish(this.#supervisor, {
      subject: `${this.#partSubject(shard, id)}.${index}`,
      data: bytes.subarray(index * partBytes, (index + 1) * partBytes),
      headers: {},
      messageId: `${id}.${index}`
    })
  }

  async #message(subject: string): Promise<StreamReader.StoredMessage | undefined> {
    return StreamReader.message(this.#supervisor, this.#spec.name, { last_by_subj: subject })
  }

  async #head(shard: string): Promise<Head | undefined> {
    if ((await this.#streams.look(this.#spec)) === undefined) return undefined
    const message = await this.#message(this.#headSubject(shard))
    if (message === undefined) return undefined
    const { position, id, partCount, byteCount } = JSON.parse(Buffer.from(message.data).toString())
    return {
      sequence: message.sequence,
      position: Number(position),
      id: String(id),
      partCount: Number(partCount),
      byteCount: Number(byteCount)
    }
  }

  /** H3. */
  async #removeOthers(shard: string, id: string): Promise<void> {
    const { streams } = this.#supervisor.link.manager
    const filter = `${this.#root}.${Names.token(shard)}.part.>`
    const info = await streams.info(this.#spec.name, { subjects_filter: filter })
    const place = filter.split(".").length - 1
    const ids = new Set(Object.keys(info.state.subjects ?? {}).map((subject) => subject.split(".")[place]!))
    ids.delete(id)
    for (const other of ids) await streams.purge(this.#spec.name, { filter: `${this.#partSubject(shard, other)}.>` })
  }
}
