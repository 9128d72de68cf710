/**
 * A worker process: connects to whoever owns its shard, runs what it is given, and dies, falls silent, answers late with
 * old tokens and says things twice. What it runs is written into the history.
 *
 * @module
 */
import type { Answer } from "../../history/History.ts"
import type { CallFacts } from "./CallFacts.ts"
import { Connection } from "./Connection.ts"
import type { FromWorker, ServingShard } from "./ServingShard.ts"
import type { Shard, World } from "./World.ts"

export interface Assignment {
  readonly requestId: string
  readonly token: number
  readonly attempt: number
  readonly call: CallFacts
  readonly plane: string
}

interface Run extends Assignment {
  readonly run: string
  answer: Answer | undefined
}

const heartbeatMs = 150
const reconnectMs = 40

export class SimulatedWorker {
  readonly id: string
  readonly version: string
  readonly slots: number
  readonly #world: World
  readonly #shard: Shard
  readonly #running = new Map<string, Run>()
  readonly #cancelled = new Set<string>()
  isAlive = true
  #stalledUntilMs = 0
  #backlog: Array<() => void> = []
  #connection: Connection | undefined
  #serving: ServingShard | undefined
  #runs = 0
  /** Heard of no more once it is connected again. */
  #session = 0

  constructor(world: World, shard: Shard, options: { readonly id: string; readonly version: string }) {
    this.#world = world
    this.#shard = shard
    this.id = options.id
    this.version = options.version
    this.slots = world.dice.between(1, 3)
    this.#connect()
  }

  // --- what happens to it ------------------------------------------------------------------------------------------

  /** `isSeen`: its agent tells that the process ended; else only the connection is gone. */
  die(isSeen: boolean): void {
    if (!this.isAlive) return
    this.isAlive = false
    this.#backlog = []
    this.#connection?.drop()
    if (isSeen) {
      this.#world.timeline.after(this.#world.dice.between(1, 100), () => {
        for (const gateway of this.#world.gateways) {
          const end = gateway.end(() => undefined)
          end.receive(() => gateway.serving(this.#shard)?.workerLost(this.id))
        }
      })
    }
    this.#world.workerDied(this)
  }

  stall(forMs: number): void {
    const { timeline } = this.#world
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, timeline.nowMs + forMs)
    timeline.after(forMs, () => {
      if (timeline.nowMs < this.#stalledUntilMs) return
      const backlog = this.#backlog
      this.#backlog = []
      for (const action of backlog) this.#act(action)
    })
  }

  drain(): void {
    this.#say((serving) => serving.workerDraining(this.id))
  }

  dropConnection(): void {
    this.#connection?.drop()
  }

  // --- what it is told ---------------------------------------------------------------------------------------------

  assigned(assignment: Assignment): void {
    const { timeline } = this.#world
    const { requestId, token, attempt, call, plane } = assignment
    const isCancelled = this.#cancelled.has(`${requestId} ${token}`)
    if (isCancelled || timeline.nowMs >= call.deadlineMs) return
    const run: Run = { ...assignment, run: `${this.id}#${++this.#runs}`, answer: undefined }
    this.#running.set(`${requestId} ${token}`, run)
    const { item, body, tenant } = call
    this.#world.see({ _tag: "Attempted", run: run.run, item, body, requestId, tenant, attempt, token, plane })
    if (call.work === "poison") {
      return timeline.after(Math.ceil(call.workMs / 2), () => this.#act(() => this.die(this.#world.dice.chance(0.5))))
    }
    if (call.work === "streams") {
      timeline.after(Math.ceil(call.workMs / 2), () => this.#act(() => this.#head(run)))
    }
    timeline.after(call.workMs, () => this.#act(() => this.#finish(run)))
  }

  /** It may be at it all the same, and answer. */
  cancel(requestId: string, token: number): void {
    const key = `${requestId} ${token}`
    this.#cancelled.add(key)
    if (this.#world.dice.chance(0.7)) this.#running.delete(key)
  }

  // --- work --------------------------------------------------------------------------------------------------------

  #head({ requestId, token }: Run): void {
    if (!this.#running.has(`${requestId} ${token}`)) return
    this.#say((serving) => serving.responseStarted(this.id, { requestId, token }))
  }

  #finish(run: Run): void {
    const { requestId, token, attempt, call } = run
    if (!this.#running.has(`${requestId} ${token}`)) return
    const isFailing = call.work === "fails" || (call.work === "flickers" && attempt === 1)
    if (!isFailing) {
      const { item, tenant } = call
      const digest = `digest of ${run.run}`
      run.answer = { item, requestId, tenant, token, run: run.run, digest }
      this.#world.see({ _tag: "Effected", run: run.run, digest })
    }
    const isLate = this.#world.isFaulty && this.#world.dice.chance(0.05)
    // Later than any lease.
    if (isLate) this.#world.timeline.after(1_000, () => this.#act(() => this.#tell(run)))
    else this.#tell(run)
  }

  #tell(run: Run): void {
    const from: FromWorker = { requestId: run.requestId, token: run.token }
    const { answer } = run
    const say = () =>
      this.#say((serving) => {
        if (answer === undefined) serving.attemptFailed(this.id, from, run.call.work === "flickers")
        else serving.responseEnded(this.id, from, answer)
      })
    // Without a connection it says it to the next owner.
    if (this.#connection?.isOpen !== true) return this.#world.timeline.after(60, () => this.#act(() => this.#tell(run)))
    this.#running.delete(`${from.requestId} ${from.token}`)
    say()
    if (this.#world.isFaulty && this.#world.dice.chance(0.1)) say()
  }

  // --- its connection ----------------------------------------------------------------------------------------------

  #act(action: () => void): void {
    if (!this.isAlive) return
    if (this.#world.timeline.nowMs < this.#stalledUntilMs) this.#backlog.push(action)
    else action()
  }

  #say(message: (serving: ServingShard) => void): void {
    const serving = this.#serving
    if (serving !== undefined) this.#connection?.toServer(() => message(serving))
  }

  #connect(): void {
    const { timeline, weather, dice } = this.#world
    const session = ++this.#session
    const again = () =>
      timeline.after(reconnectMs + dice.between(0, reconnectMs), () => this.#act(() => this.#connect()))
    const found = this.#world.ownerOf(this.#shard)
    if (found === undefined) return again()
    const { gateway, serving } = found
    const connection: Connection = new Connection(timeline, this.#world.networkDice, weather, [
      {
        receive: (action) => this.#act(action),
        gone: () => {
          if (session === this.#session) this.#connect()
        }
      },
      gateway.end(() => serving.workerDisconnected(this.id, connection))
    ])
    this.#connection = connection
    this.#serving = serving
    serving.track(connection)
    const running = [...this.#running.values()].filter(({ answer }) => answer === undefined)
    const holds = running.map(({ requestId, token }) => ({ requestId, token }))
    connection.toServer(() => serving.workerReady(this, connection, holds))
    this.#beat(session)
  }

  #beat(session: number): void {
    this.#world.timeline.after(heartbeatMs, () =>
      this.#act(() => {
        if (session !== this.#session || this.#connection?.isOpen !== true) return
        this.#say((serving) => serving.workerHeard(this.id))
        this.#beat(session)
      })
    )
  }
}
