/**
 * A caller with one piece of work: calls, waits or leaves, calls again with its key when it does not know, asks for what
 * it was promised, cancels. What it sees is written into the history.
 *
 * @module
 */
import type { Answer, Terminal } from "../../history/History.ts"
import type { CallFacts } from "./CallFacts.ts"
import { Connection } from "./Connection.ts"
import type { Entry, Reply } from "./ServingShard.ts"
import type { Shard, World } from "./World.ts"

export interface Patience {
  /** It leaves after so long without a word. */
  readonly leavesAfterMs: number
  /** Of its calls with a key. */
  readonly callsMax: number
  readonly cancels: boolean
  /** Its key is another's, with another body. */
  readonly isForger: boolean
}

export class SimulatedCaller {
  /** What it was promised. */
  readonly promised: Set<string>
  readonly call: CallFacts
  readonly #world: World
  readonly #shard: Shard
  readonly #patience: Patience
  #calls = 0
  isDone = false

  constructor(world: World, shard: Shard, call: CallFacts, patience: Patience, promised: Set<string>) {
    this.#world = world
    this.#shard = shard
    this.call = call
    this.#patience = patience
    this.promised = promised
    this.#begin()
  }

  #begin(): void {
    const { timeline, weather, dice } = this.#world
    const found = this.#world.ownerOf(this.#shard)
    if (found === undefined) return timeline.after(30 + dice.between(0, 60), () => this.#begin())
    const { gateway, serving } = found
    const { item, tenant, body, deadlineMs } = this.call
    // What it sends is no promise to be found again by that key.
    const key = this.#patience.isForger ? undefined : this.call.key
    const name = `${item}/${++this.#calls}`
    this.#world.see({ _tag: "Called", call: name, tenant, item, body, key, lane: undefined, deadlineAtMs: deadlineMs })
    let isOpen = true
    const outcome = (tell: () => void) => {
      if (!isOpen) return
      isOpen = false
      tell()
      connection.drop()
    }
    const unsure = () =>
      outcome(() => {
        this.#world.see({ _tag: "Unknown", call: name })
        this.#again(0.9)
      })
    let entry: Entry | undefined
    const connection: Connection = new Connection(timeline, this.#world.networkDice, weather, [
      { receive: (action) => action(), gone: unsure },
      gateway.end(() => {
        if (entry !== undefined) serving.left(entry, reply)
      })
    ])
    const parts = new Set<number>()
    const reply: Reply = {
      accepted: (requestId) =>
        connection.toClient(() =>
          outcome(() => {
            this.#world.see({ _tag: "Accepted", call: name, requestId })
            this.promised.add(requestId)
            if (this.#patience.cancels) this.#cancel(requestId)
            this.#again(0.2)
          })
        ),
      part: (token) => connection.toClient(() => parts.add(token)),
      answered: (requestId, answer) =>
        connection.toClient(() => outcome(() => this.#answered(name, requestId, answer, parts))),
      ended: (requestId, terminal) => connection.toClient(() => outcome(() => this.#ended(name, requestId, terminal))),
      refused: (status) =>
        connection.toClient(() =>
          outcome(() => {
            this.#world.see({ _tag: "Refused", call: name, status })
            this.#again(0.7)
          })
        ),
      unsure: () => connection.toClient(unsure)
    }
    serving.track(connection)
    connection.toServer(() => {
      entry = serving.submit(this.call, reply)
      // Not an owner any more: nothing was enqueued.
      if (entry === undefined) reply.refused(503)
    })
    timeline.after(this.#patience.leavesAfterMs, unsure)
    this.#world.connections.add(connection)
  }

  #answered(call: string, requestId: string, answer: Answer, parts: ReadonlySet<number>): void {
    this.#world.see({ _tag: "Answered", call, requestId, answer })
    const isOne = [...parts].every((token) => token === answer.token)
    this.#shard.invariants.expect(
      "L9",
      isOne,
      () => `${requestId} is answered by ${answer.token} after parts of ${[...parts]}`
    )
    if (this.call.key !== undefined && !this.#patience.isForger) this.promised.add(requestId)
    this.#again(0.2)
  }

  #ended(call: string, requestId: string, terminal: Terminal): void {
    this.#world.see({ _tag: "Ended", call, requestId, terminal })
    if (this.call.key !== undefined && !this.#patience.isForger) this.promised.add(requestId)
    this.#again(0.2)
  }

  #cancel(requestId: string): void {
    const { timeline, dice } = this.#world
    timeline.after(dice.between(1, 60), () => {
      const found = this.#world.ownerOf(this.#shard)
      found?.gateway.end(() => undefined).receive(() => found.serving.cancel(requestId))
    })
  }

  /** Only who has a key can ask again. */
  #again(share: number): void {
    const { timeline, dice } = this.#world
    const mayCall =
      this.call.key !== undefined &&
      !this.#patience.isForger &&
      this.#calls < this.#patience.callsMax &&
      dice.chance(share)
    if (mayCall && timeline.nowMs < this.call.deadlineMs) timeline.after(dice.between(1, 200), () => this.#begin())
    else this.isDone = true
  }
}
