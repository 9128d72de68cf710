/**
 * Speed of the buffer machine alone: steps per second of processor time in steady state, with 100 and with 100,000
 * pending requests.
 *
 * One version, two tenants, eight workers with four slots each. In each round a request arrives and another is
 * answered, so the backlog stays as it is. The mix per 16 requests: 16 arrivals, 16 answers (a quarter of them announced
 * by a start first), one flush and one confirmation of what was ordered to be written, a heartbeat of each worker every
 * 64 requests, a tick. A tenth of the requests are asynchronous, so their ends are written, told and later forgotten.
 * Times are of the size of today's.
 *
 * Events depend on commands, so some rounds are played first, and then a twin of the machine that has come the same way
 * goes through the same events alone: that is measured, and it must arrive at the same place. Measured is `advance`, as
 * the planes and the simulation run it, and `step`, which leaves the old state as it was, as laws and lookahead want it.
 *
 * @module
 */
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Command, Event, RecordRef } from "../src/core/buffer/BufferEvent.ts"
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import type { Bench } from "./Bench.ts"
import { median, round } from "./Statistics.ts"

const measuredMs = 1_000
/**
 * Played, then measured: few, so that their events are as young as a shell's for the collector, and still near for the
 * processor. With four times as many every step began by waiting for its event to come from memory.
 */
const roundsAtOnce = 16
const workerCount = 8
const slotsPerWorker = 4

type Machine = typeof Buffer.step

const empty = () => Buffer.empty({ ...defaults, pendingCountMax: 200_000, resultRetentionMs: 50 })

/** A shard owner that does nothing but hand events to the machine. */
class Shard {
  readonly #machine: Machine
  #state = empty()
  #twin = empty()
  #sequence = 0
  #nowMs = 1_790_000_000_000
  #queue: Array<RecordRef> = []
  /** Leases in the order in which they were given: the oldest is answered next. */
  #leases: Array<{ readonly sequence: number; readonly workerId: string; readonly token: number }> = []
  #leasesDone = 0
  /** That the twin has not seen. */
  #events: Array<Event> = []

  constructor(pendingCount: number, machine: Machine) {
    this.#machine = machine
    this.#send({ _tag: "Recovered", nowMs: this.#nowMs, epoch: 1 })
    for (let worker = 0; worker < workerCount; worker++) {
      const workerId = `worker-${worker}`
      const version = versionId
      const of = { workerId, instanceId: workerId, version, slots: slotsPerWorker, holds: [] }
      this.#send({ _tag: "WorkerJoined", nowMs: this.#nowMs, ...of })
    }
    // Written as they come: a log that has a hundred thousand records in one batch is no log.
    for (let i = 1; i <= pendingCount + workerCount * slotsPerWorker; i++) {
      this.#arrive()
      if (i % 16 === 0) this.#flush()
    }
    this.#flush()
    this.#follow()
  }

  /** 16 requests come and 16 are answered. */
  round(): void {
    this.#nowMs += 1
    const nowMs = this.#nowMs
    for (let i = 0; i < 16; i++) {
      this.#arrive()
      this.#answer(i % 4 === 0)
    }
    this.#flush()
    const beat = (this.#sequence / 16) % 4
    for (let i = 0; i < workerCount; i += 4) {
      this.#send({ _tag: "WorkerHeard", nowMs, workerId: `worker-${(beat + i) % workerCount}` })
    }
    const dueMs = Buffer.nextDueMs(this.#state)
    if (dueMs !== undefined && dueMs <= nowMs) this.#send({ _tag: "Ticked", nowMs })
  }

  /** Steps and processor milliseconds of some rounds for the machine alone. */
  measure(): { readonly steps: number; readonly ms: number } {
    for (let i = 0; i < roundsAtOnce; i++) this.round()
    const steps = this.#events.length
    const startedMs = usedMs()
    this.#follow()
    const ms = usedMs() - startedMs
    const isSame =
      this.#twin.lastSequence === this.#state.lastSequence && this.#twin.nextToken === this.#state.nextToken
    if (!isSame) throw new Error("the same events led to another state")
    return { steps, ms }
  }

  #follow(): void {
    const machine = this.#machine
    let twin = this.#twin
    for (const event of this.#events) twin = machine(twin, event)[0]
    this.#twin = twin
    this.#events = []
  }

  get pendingCount(): number {
    return Buffer.demand(this.#state, versionId).pending
  }

  #arrive(): void {
    const sequence = ++this.#sequence
    const nowMs = this.#nowMs
    this.#send({
      _tag: "Arrived",
      nowMs,
      sequence,
      requestId: `0194c0de-0000-7000-8000-${sequence}`,
      tenant: sequence % 2 === 0 ? "9f0c1d2e-tenant-even" : "9f0c1d2e-tenant-odd",
      version: versionId,
      mode: sequence % 10 === 0 ? "async" : "sync",
      durability: "accepted",
      deadlineMs: nowMs + 1_200_000,
      sizeBytes: 1_024,
      maxAttempts: 3
    })
  }

  #answer(announced: boolean): void {
    const lease = this.#leases[this.#leasesDone++]
    if (lease === undefined) return
    // Written out: a spread would cost as much as a part of what is measured.
    const nowMs = this.#nowMs
    const { sequence, workerId, token } = lease
    if (announced) this.#send({ _tag: "ResponseStarted", nowMs, sequence, workerId, token })
    this.#send({ _tag: "ResponseEnded", nowMs, sequence, workerId, token, resultBytes: 100 })
    if (this.#leasesDone < 4_096) return
    this.#leases = this.#leases.slice(this.#leasesDone)
    this.#leasesDone = 0
  }

  #flush(): void {
    const records = this.#queue
    this.#queue = []
    this.#send({ _tag: "FlushStarted", records })
    this.#send({ _tag: "Persisted", nowMs: this.#nowMs, records })
  }

  #send(event: Event): void {
    const [state, commands] = Buffer.advance(this.#state, event)
    this.#state = state
    this.#events.push(event)
    for (const command of commands) this.#carryOut(command)
  }

  #carryOut(command: Command): void {
    if (command._tag === "Append") this.#queue.push(command.ref)
    else if (command._tag === "Assign") {
      this.#leases.push({ sequence: command.sequence, workerId: command.workerId, token: command.token })
    }
  }
}

const versionId = "7f6f2f0c-3b52-4f0e-9a55-5d0a3a1f2b6e"

/** Processor time of all threads, collector included: what other processes do at the same time does not count. */
const usedMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** Steps a second. */
const measure = (shard: Shard): number => {
  let [steps, ms] = [0, 0]
  while (ms < measuredMs) {
    const more = shard.measure()
    steps += more.steps
    ms += more.ms
  }
  return (steps * 1_000) / ms
}

export const core: Bench = async ({ repetitions, say }) => {
  const few = new Shard(100, Buffer.advance)
  const many = new Shard(100_000, Buffer.advance)
  const pure = new Shard(100_000, Buffer.step)
  const shards = [few, many, pure]
  // All, so that none is measured with code that was compiled for another alone.
  for (const shard of [...shards, ...shards]) measure(shard)
  const perS = new Map<Shard, Array<number>>(shards.map((shard) => [shard, []]))
  for (let index = 1; index <= repetitions; index++) {
    for (const shard of shards) perS.get(shard)?.push(measure(shard))
    const [withFew, withMany, purely] = shards.map((shard) => Math.round(perS.get(shard)?.at(-1) ?? 0))
    say(
      `round ${index}: ${withFew} steps/s with ${few.pendingCount} pending, ${withMany} with ${many.pendingCount}, ` +
        `${purely} when the old state stays as it was`
    )
  }
  const [few_per_s = 0, many_per_s = 0, pure_per_s = 0] = shards.map((shard) => median(perS.get(shard) ?? []))
  return {
    figures: {
      steps_per_s_100: Math.round(few_per_s),
      steps_per_s_100k: Math.round(many_per_s),
      pure_steps_per_s_100k: Math.round(pure_per_s),
      ratio_cost: round(few_per_s / many_per_s)
    },
    budgets: [
      { figure: "steps_per_s_100k", atLeast: 500_000 },
      { figure: "ratio_cost", atMost: 2 }
    ]
  }
}
