/**
 * One timer for all versions that must be looked at again at some time: a storm of starts sets and moves several for each
 * life, and most are moved before they are due.
 *
 * @module
 */
import * as DueHeap from "../../core/collections/DueHeap.ts"
import type { ControllerTime } from "./ControllerTimers.ts"

export interface ControllerWakes<A extends DueHeap.Due> {
  /** At `atMs`, or at an earlier time that was set before. */
  readonly set: (item: A, atMs: number) => void
  readonly clear: (item: A) => void
  readonly close: () => void
}

/** `onDue`: it is due, and not set any more. */
export const make = <A extends DueHeap.Due>(time: ControllerTime, onDue: (item: A) => void): ControllerWakes<A> => {
  const heap = new DueHeap.DueHeap<A>()
  let timer: { readonly atMs: number; readonly cancel: () => void } | undefined

  const arm = () => {
    const { first } = heap
    // One that rings too early finds nothing and is set again; a later one is not worth a new timer.
    if (first === undefined || (timer !== undefined && timer.atMs <= first.dueMs)) return
    timer?.cancel()
    timer = { atMs: first.dueMs, cancel: time.after(first.dueMs - time.nowMs(), ring) }
  }

  const ring = () => {
    timer = undefined
    for (let { first } = heap; first !== undefined && first.dueMs <= time.nowMs(); { first } = heap) {
      heap.remove(first)
      onDue(first)
    }
    arm()
  }

  return {
    set: (item, atMs) => {
      if (item.duePlace >= 0 && item.dueMs <= atMs) return
      heap.set(item, atMs)
      arm()
    },
    clear: (item) => heap.remove(item),
    close: () => timer?.cancel()
  }
}
