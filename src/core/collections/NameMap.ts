/**
 * Persistent map from names to whole numbers.
 *
 * For names that the platform gives (ids of versions, tenants, workers): the hash looks at 16 characters at most, and a
 * name that somebody chose to collide would make its neighbours slow.
 *
 * @module
 */
import * as IntMap from "./IntMap.ts"

/** Names with the same hash share an entry. */
type Entry = ReadonlyArray<{ readonly name: string; readonly number: number }>

export type NameMap = IntMap.IntMap<Entry>

export const empty: NameMap = IntMap.empty()

export const get = (map: NameMap, name: string): number | undefined => {
  const entry = IntMap.get(map, hash(name))
  if (entry === undefined) return undefined
  for (const known of entry) if (known.name === name) return known.number
  return undefined
}

/** `edit`: see `IntMap`. */
export const set = (map: NameMap, name: string, number: number, edit = 0): NameMap => {
  const key = hash(name)
  const before = IntMap.get(map, key)
  const others = before === undefined ? none : before.filter((known) => known.name !== name)
  return IntMap.set(map, key, [...others, { name, number }], edit)
}

/** `edit`: see `IntMap`. */
export const remove = (map: NameMap, name: string, edit = 0): NameMap => {
  const key = hash(name)
  const before = IntMap.get(map, key)
  if (before === undefined) return map
  const others = before.filter((known) => known.name !== name)
  return others.length === 0 ? IntMap.remove(map, key, edit) : IntMap.set(map, key, others, edit)
}

const none: Entry = []

/** Names and their numbers, in no order. */
export const count = (map: NameMap): number => {
  let found = 0
  IntMap.forEach(map, (entry) => {
    found += entry.length
  })
  return found
}

/** Ids differ in their first or their last characters. */
const headLength = 4
const tailLength = 12

const hash = (name: string): number => {
  const { length } = name
  let sum = length
  const headEnd = Math.min(length, headLength)
  for (let i = 0; i < headEnd; i++) sum = Math.imul(sum ^ name.charCodeAt(i), 16_777_619)
  for (let i = Math.max(headEnd, length - tailLength); i < length; i++) {
    sum = Math.imul(sum ^ name.charCodeAt(i), 16_777_619)
  }
  // A bit less than there are, so that it is a small number for the engine.
  return (sum ^ (sum >>> 15)) >>> 1
}
