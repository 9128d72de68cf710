/**
 * The buffer machine of one shard as it runs: takes in what happened, has its orders carried out, and tells it the time when
 * something is due.
 *
 * H1 events are stepped one after another, also when carrying out a command causes the next one.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { Command, Event } from "../../core/buffer/BufferEvent.ts"
import { nowMs } from "./PlaneClock.ts"

export interface ShardMachineInit {
  /** What recovery found. */
  readonly state: Buffer_.State
  readonly carryOut: (command: Command) => void
  /** False: nobody can tell whose the shard is, and no time passes for it. */
  readonly isActing: () => boolean
  readonly defect: (error: unknown) => void
}

/** Between two looks whether the lease is back. */
const heldLookMs = 50
/** Node fires at once above 2^31 ms; waking early costs one tick that does nothing. */
const sleepMsMax = 3_600_000

export class ShardMachine {
  readonly #init: ShardMachineInit
  #state: Buffer_.State
  #queue: Array<Event> = []
  #isStepping = false
  /** The state was given away to be read: the next event leaves it as it is. */
  #isFrozen = false
  #isStopped = false
  #timer: NodeJS.Timeout | undefined
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(init: ShardMachineInit) {
    this.#init = init
    this.#state = init.state
  }

  get state(): Buffer_.State {
    return this.#state
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  send(event: Event): void {
    if (this.#isStopped) return
    if (this.#isStepping) {
      this.#queue.push(event)
      return
    }
    this.#isStepping = true
    try {
      let current: Event | undefined = event
      while (current !== undefined) {
        const move = this.#isFrozen ? Buffer_.step : Buffer_.advance
        const [state, commands] = move(this.#state, current)
        if (state !== this.#state) this.#isFrozen = false
        this.#state = state
        for (const command of commands) this.#attempt(command)
        current = this.#queue.shift()
      }
    } finally {
      this.#isStepping = false
    }
    this.arm()
  }

  /** The state of this moment, which stays as it is. Undefined within a step, and when its store failed. */
  freeze(): Buffer_.State | undefined {
    if (this.#isStepping || this.#state.storeFailed) return undefined
    this.#isFrozen = true
    return this.#state
  }

  /** Looks when something is due: by itself after each event. */
  arm(): void {
    const dueMs = Buffer_.nextDueMs(this.#state)
    if (dueMs === undefined || dueMs >= this.#timerAtMs) return
    clearTimeout(this.#timer)
    this.#timerAtMs = dueMs
    const delayMs = Math.min(Math.max(1, Math.ceil(dueMs - nowMs())), sleepMsMax)
    const tick = () => {
      if (!this.#init.isActing()) {
        this.#timer = setTimeout(tick, heldLookMs).unref()
        return
      }
      this.#timerAtMs = Number.POSITIVE_INFINITY
      this.send({ _tag: "Ticked", nowMs: nowMs() })
    }
    this.#timer = setTimeout(tick, delayMs)
    this.#timer.unref()
  }

  /** For good: what is said from now on is not heard. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  /** A defect in carrying out one order must not swallow the ones after it. */
  #attempt(command: Command): void {
    try {
      this.#init.carryOut(command)
    } catch (error) {
      this.#init.defect(error)
    }
  }
}
