/**
 * One watch of keys: a follower, what it makes up for after it was cut off, and where it stands.
 *
 * Laws: K4 and K6 of `KeyValue`. W1 a position is told only while nothing is known that may be gone: all that was missed has
 * been delivered and compared.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { ReportFault } from "../embedded/ReportFault.ts"
import type { Change, WatchOptions, WatchPosition } from "../KeyValue.ts"
import type { Follower, Following } from "./Follower.ts"
import * as KeySweep from "./KeySweep.ts"
import * as Retry from "./Retry.ts"
import type { Supervisor } from "./Supervisor.ts"
import * as WatchMark from "./WatchMark.ts"

const makeUpPauseMs = 1_000

export interface KeyFollowing extends Partial<Pick<Following, "onMessage" | "onResumed" | "headersOnly" | "behind">> {
  readonly onChange: (change: Change) => void
}

/** How the keys under the prefix are read. */
export interface Reading {
  readonly supervisor: Supervisor
  readonly makeFollower: (following: KeyFollowing) => Follower
  readonly keys: () => Promise<ReadonlyArray<string>>
  readonly report: ReportFault
}

/** `ground`: of those that can say where they stand. `mark`: it goes on from there. */
export interface Beginning {
  readonly ground: WatchMark.Ground | undefined
  readonly mark: WatchMark.Mark | undefined
}

export interface Watching {
  readonly prefix: string
  readonly onChange: (change: Change) => void
  readonly known: WatchOptions["known"]
  readonly beginning: Beginning
}

export const begin = async (
  supervisor: Supervisor,
  prefix: string,
  { known, goOn }: WatchOptions
): Promise<Beginning> => {
  // Who cannot say what it has is not told of removals that were swept, and so never stands anywhere for certain.
  if (known === undefined) return { ground: undefined, mark: undefined }
  const ground = await WatchMark.look(supervisor, prefix)
  const mark = goOn === undefined ? undefined : await WatchMark.standing(supervisor, ground, goOn.from)
  return { ground, mark }
}

export class KeyWatch {
  readonly #reading: Reading
  readonly #watching: Watching
  readonly #follower: Follower
  /** Put while what is there is compared with what is known: of each comparison, since one may begin beside another. */
  readonly #comparisons = new Set<Set<string>>()
  #newest: WatchMark.Mark["newest"] | undefined
  #isCaughtUp = false

  constructor(reading: Reading, watching: Watching) {
    const { mark } = watching.beginning
    this.#reading = reading
    this.#watching = watching
    this.#newest = mark?.newest
    this.#follower = reading.makeFollower({
      onChange: (change) => {
        this.#isCaughtUp ||= change._tag === "CaughtUp"
        this.#deliver(change)
      },
      onMessage: ({ sequence, storedAtMs }) => {
        this.#newest = { sequence, storedAtMs }
      },
      onResumed: (behind) => {
        if (watching.known !== undefined) void this.#makeUp(behind, watching.known)
      },
      behind: mark?.through
    })
  }

  get started(): Promise<void> {
    return this.#follower.started
  }

  stop(): void {
    this.#follower.stop()
  }

  /** W1. */
  position(): WatchPosition | undefined {
    const { ground, mark } = this.#watching.beginning
    const newest = this.#newest
    const isWhole = this.#isCaughtUp && !this.#follower.isResuming && this.#comparisons.size === 0
    if (ground === undefined || newest === undefined || !isWhole) return undefined
    const through = Math.max(newest.sequence, mark?.through ?? ground.sweptThrough)
    return WatchMark.positionOf({ created: ground.created, through, newest })
  }

  #deliver(change: Change): void {
    const { prefix, onChange } = this.#watching
    if (change._tag === "Put") for (const since of this.#comparisons) since.add(change.entry.key)
    try {
      onChange(change)
    } catch (error) {
      this.#reading.report(`a watcher of ${prefix} threw`, error)
    }
  }

  /** Tells of keys whose removal was swept before it was heard of. */
  async #makeUp(behind: number, known: () => Iterable<string>): Promise<void> {
    const { supervisor, keys, report } = this.#reading
    const { prefix } = this.#watching
    const since = new Set<string>()
    this.#comparisons.add(since)
    while (!this.#follower.isStopped && !supervisor.isClosed) {
      since.clear()
      try {
        const revision = await Retry.ask(supervisor, () => KeySweep.sweptThrough(supervisor, prefix))
        if (revision <= behind) break
        const there = new Set(await keys())
        const gone = [...known()].filter((key) => !there.has(key) && !since.has(key))
        if (!this.#follower.isStopped) for (const key of gone) this.#deliver({ _tag: "Deleted", key, revision })
        break
      } catch (error) {
        report(`a watcher of ${prefix} was cut off and cannot yet compare what it knows with what is there`, error)
        await sleep(makeUpPauseMs)
      }
    }
    this.#comparisons.delete(since)
  }
}
