/**
 * What was generated: how many inputs, how many of them are sequences, how long these are and what happens in them.
 *
 * A sequence is a list of things that happen. Such a thing is known by its name (`_tag`, `kind`), by being a command or a
 * function of the time, or by a step of time. Lists of other things, like the members of a fleet, are inputs alone.
 *
 * @module
 */
export interface Mix {
  readonly inputs: number
  readonly sequences: number
  /** Sum of the lengths of all sequences, and the greatest. */
  readonly length: number
  readonly longest: number
  readonly kinds: Readonly<Record<string, number>>
}

export const none: Mix = { inputs: 0, sequences: 0, length: 0, longest: 0, kinds: {} }

export const sum = (one: Mix, other: Mix): Mix => {
  const kinds: Record<string, number> = { ...one.kinds }
  for (const [kind, count] of Object.entries(other.kinds)) kinds[kind] = (kinds[kind] ?? 0) + count
  return {
    inputs: one.inputs + other.inputs,
    sequences: one.sequences + other.sequences,
    length: one.length + other.length,
    longest: Math.max(one.longest, other.longest),
    kinds
  }
}

export class Counter {
  #inputs = 0
  #sequences = 0
  #length = 0
  #longest = 0
  readonly #kinds = new Map<string, number>()

  add(input: unknown): void {
    this.#inputs += 1
    const happened = sequenceIn(input, 3)
    if (happened === undefined) return
    this.#sequences += 1
    this.#length += happened.length
    this.#longest = Math.max(this.#longest, happened.length)
    for (const kind of happened) this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1)
  }

  get mix(): Mix {
    return {
      inputs: this.#inputs,
      sequences: this.#sequences,
      length: this.#length,
      longest: this.#longest,
      kinds: Object.fromEntries(this.#kinds)
    }
  }
}

/** Kinds of what happens in the longest sequence of an input, looking into it so deep. */
const sequenceIn = (value: unknown, depth: number): ReadonlyArray<string> | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  // fast-check's commands are no array. Nothing else is walked through: a stream of it has no end.
  const given = "commands" in value ? value.commands : value
  const list: ReadonlyArray<unknown> | undefined = Array.isArray(given) ? given : undefined
  let longest: ReadonlyArray<string> | undefined
  if (depth > 0) {
    for (const part of list ?? Object.values(value)) {
      const found = sequenceIn(part, depth - 1)
      if (found !== undefined && found.length > (longest?.length ?? 0)) longest = found
    }
  }
  // The arguments of a law are a list of lists, which is shorter than the longest of them.
  if (list === undefined || list.length <= (longest?.length ?? 0)) return longest
  const kinds = list.flatMap((each) => kindOf(each, 2) ?? [])
  return kinds.length === list.length ? kinds : longest
}

const steps = ["byMs", "ms", "gapMs", "gap", "afterMs", "atMs", "laterMs", "stepMs", "waitMs"]

const kindOf = (thing: unknown, depth: number): string | undefined => {
  if (typeof thing === "function") return kindOfMade(() => thing(0))
  if (typeof thing !== "object" || thing === null) return undefined
  // Where fast-check wraps a command.
  if ("cmd" in thing) return kindOf(thing.cmd, depth)
  if ("action" in thing) return kindOf(thing.action, depth)
  if ("_tag" in thing && typeof thing._tag === "string") return thing._tag
  if ("kind" in thing && typeof thing.kind === "string") return thing.kind
  if (depth > 0) {
    for (const part of Object.values(thing)) {
      const kind = typeof part === "function" || Array.isArray(thing) ? kindOf(part, depth - 1) : undefined
      if (kind !== undefined) return kind
    }
  }
  return !Array.isArray(thing) && steps.some((key) => key in thing) ? "a step in time" : undefined
}

/** Functions of the time give an event; others are no things that happen. */
const kindOfMade = (make: () => unknown): string | undefined => {
  try {
    return kindOf(make(), 0)
  } catch {
    return undefined
  }
}
