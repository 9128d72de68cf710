/**
 * The opening of one shard in this process. It may begin while the lease of an owner that is gone runs out: then all is
 * read by the time that the shard is this process's own, and only what came since is left.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type * as LogFence from "./LogFence.ts"
import type { OpenShard } from "./OpenShard.ts"
import { nowMs } from "./PlaneClock.ts"

type Failure = FabricUnavailable | OutcomeUnknown

interface Begun {
  readonly fiber: Fiber.Fiber<OpenShard, Failure>
  /** Its logs are this process's own from now on. */
  readonly own: () => void
}

export class ShardOpening {
  readonly #open: (turn: LogFence.Turn) => Effect.Effect<OpenShard, Failure>
  #ahead: Begun | undefined
  #finishing: Begun["fiber"] | undefined

  /** `open`: reads what is there, and goes on in its turn. */
  constructor(open: (turn: LogFence.Turn) => Effect.Effect<OpenShard, Failure>) {
    this.#open = open
  }

  /** Reads ahead, if it does not yet. */
  begin(): void {
    this.#ahead ??= this.#begin()
  }

  /** What was read ahead is worth nothing: another had the shard meanwhile, or it is not wanted here. */
  drop(): void {
    const ahead = this.#ahead
    this.#ahead = undefined
    if (ahead !== undefined) Effect.runFork(Fiber.interrupt(ahead.fiber))
  }

  /** It is owned: goes on with what was read ahead, or begins. `tookMs`: since then. */
  finish(done: (exit: Exit.Exit<OpenShard, Failure>, tookMs: number) => void): void {
    const sinceMs = nowMs()
    // One that has ended before its turn has failed.
    if (this.#ahead?.fiber.pollUnsafe() !== undefined) this.#ahead = undefined
    const { fiber, own } = this.#ahead ?? this.#begin()
    this.#ahead = undefined
    this.#finishing = fiber
    own()
    fiber.addObserver((exit) => {
      if (this.#finishing !== fiber) return
      this.#finishing = undefined
      done(exit, nowMs() - sinceMs)
    })
  }

  /** Nobody waits for it any more. */
  abandon(): void {
    this.drop()
    const finishing = this.#finishing
    this.#finishing = undefined
    if (finishing !== undefined) Effect.runFork(Fiber.interrupt(finishing))
  }

  #begin(): Begun {
    let own = () => {}
    const owned = new Promise<void>((resolve) => {
      own = resolve
    })
    return { fiber: Effect.runFork(this.#open(Effect.promise(() => owned))), own }
  }
}
