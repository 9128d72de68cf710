/**
 * The streams of Millrace: how each is made, and that none is used whose settings are unsafe.
 *
 * Laws: T1 a stream that is there is never changed, only judged. T2 one that is missing is made as it must be. T3 no stream
 * is used before it was judged.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { StreamConfig, StreamInfo } from "@nats-io/jetstream"
import { nanos } from "@nats-io/transport-node"
import { UnsafeServer } from "../FabricError.ts"
import * as Names from "./Names.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { defaultPrefix } from "./NatsOptions.ts"
import * as Retry from "./Retry.ts"
import * as Safety from "./Safety.ts"
import type { Supervisor } from "./Supervisor.ts"

/** Of the streams beside the logs. */
const sideBytesMax = 4 * 1024 * 1024 * 1024
/** A watcher may lag so many changes of one key and still hear of each; the most that KV clients know. */
export const historyPerKey = 64
const deadLettersPerQueueMax = 10_000
const createTries = 3
const createPauseMs = 50

export interface StreamSpec {
  readonly name: string
  readonly role: Safety.StreamRole
  readonly subjects: ReadonlyArray<string>
}

export const logStream = (prefix: string, shard: string): StreamSpec => ({
  name: `${prefix}-log-${Names.token(shard)}`,
  role: "log",
  subjects: [`${prefix}.log.${Names.token(shard)}`]
})

export const snapshotStream = (prefix: string): StreamSpec => ({
  name: `${prefix}-snapshots`,
  role: "snapshots",
  subjects: [`${prefix}.snapshot.>`]
})

/** As the clients of NATS's own key-value store expect it. */
export const keyStream = (prefix: string): StreamSpec => ({
  name: `KV_${prefix}`,
  role: "keys",
  subjects: [`$KV.${prefix}.>`]
})

export const workStream = (prefix: string): StreamSpec => ({
  name: `${prefix}-work`,
  role: "queue",
  subjects: [`${prefix}.work.>`]
})

/** A stream of queues that others know by its name. */
export interface OrderStream extends StreamSpec {
  /** Of the queues in it, dot included. */
  readonly queues: string
  /** Which token of a queue is the cluster, from 0. */
  readonly clusterAt: number
  /** What stands before the name of a queue in its subject. */
  readonly root: string
}

/**
 * Orders to agents, as NVCF names them. Under another prefix than the default one these names carry it too: two
 * installations on one account must not take each other's orders.
 */
export const orderStreams = (prefix: string): ReadonlyArray<OrderStream> => {
  const isPlain = prefix === defaultPrefix
  const root = isPlain ? "" : `${prefix}.`
  const of = (name: string, queues: string, clusterAt: number): OrderStream => ({
    name: isPlain ? name : `${prefix}-${name}`,
    role: "queue",
    subjects: [`${root}${queues}>`],
    queues,
    clusterAt,
    root
  })
  return [of("CreateNvcaFunctionTaskStream", "Create.NVCA.", 3), of("TerminateNvcaStream", "Terminate.NVCA.", 2)]
}

export const deadLetterStream = (prefix: string): StreamSpec => ({
  name: `${prefix}-dead`,
  role: "deadLetters",
  subjects: [`${prefix}.dead.>`]
})

export class Streams {
  readonly #supervisor: Supervisor
  readonly #judged = new Map<string, Promise<StreamInfo>>()
  readonly isClustered: boolean

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor
    // Told only by servers that are part of a cluster.
    this.isClustered = supervisor.link.connection.info?.cluster !== undefined
  }

  demand(role: Safety.StreamRole): Safety.StreamDemand {
    return { role, isClustered: this.isClustered, duplicateWindowMs: this.#supervisor.options.duplicateWindowMs }
  }

  config(spec: StreamSpec): Partial<StreamConfig> & { readonly name: string } {
    const { options } = this.#supervisor
    // A reservation counts against the disk of each server, and small logs need no large snapshots.
    const sideBytes = Math.min(sideBytesMax, (spec.role === "snapshots" ? 16 : 4) * options.logBytesMax)
    return {
      name: spec.name,
      subjects: [...spec.subjects],
      storage: "file",
      retention: spec.role === "queue" ? "workqueue" : "limits",
      discard: spec.role === "deadLetters" ? "old" : "new",
      num_replicas: this.isClustered && options.durability === "power-loss" ? Safety.replicasWhenClustered : 1,
      duplicate_window: nanos(options.duplicateWindowMs),
      max_bytes: spec.role === "log" ? options.logBytesMax : sideBytes,
      max_msgs_per_subject:
        spec.role === "keys"
          ? historyPerKey
          : spec.role === "snapshots"
            ? 1
            : spec.role === "deadLetters"
              ? deadLettersPerQueueMax
              : -1,
      // A log is read by many messages at once, of any server that has them; where it ends its leader alone says.
      allow_direct: spec.role === "log",
      allow_rollup_hdrs: spec.role === "keys",
      deny_delete: spec.role === "log" || spec.role === "keys"
    }
  }

  /** What is there, judged; `undefined` when there is none. Rejects with `UnsafeServer`. */
  async look(spec: StreamSpec): Promise<StreamInfo | undefined> {
    try {
      const info = await Retry.beside(() => this.#supervisor.link.manager.streams.info(spec.name))
      this.#judge(spec, info)
      return info
    } catch (error) {
      const failure = NatsFailure.of(error)
      if (failure._tag === "Api" && failure.code === NatsFailure.codes.streamNotFound) return undefined
      throw error
    }
  }

  /** There when it resolves. Asked once for each stream, as long as it succeeds. */
  ensure(spec: StreamSpec): Promise<StreamInfo> {
    const known = this.#judged.get(spec.name)
    if (known !== undefined) return known
    const made = this.#make(spec)
    this.#judged.set(spec.name, made)
    made.catch(() => this.#judged.delete(spec.name))
    return made
  }

  async #make(spec: StreamSpec): Promise<StreamInfo> {
    for (let round = 1; ; round++) {
      const info = await this.look(spec)
      if (info !== undefined) return info
      try {
        const made = await this.#supervisor.link.manager.streams.add(this.config(spec))
        this.#judge(spec, made)
        return made
      } catch (error) {
        // Another process may have made it at the same time, or a try whose answer got lost; or the server was removing
        // the folder of all streams together with the last one.
        if (round >= createTries || error instanceof UnsafeServer) throw error
        await sleep(createPauseMs)
      }
    }
  }

  #judge(spec: StreamSpec, info: StreamInfo): void {
    const findings = Safety.refused(
      Safety.ofStream(info.config, this.demand(spec.role)),
      this.#supervisor.options.durability
    )
    if (findings.length > 0) throw UnsafeServer.of(findings.map(Safety.sentence))
  }
}
