/**
 * Every order of a few events, to a depth: breadth first, each distinct state once.
 *
 * A state is told from another by its key. Two ways to the same key are followed once, which is sound when the key holds
 * everything that the moves, their effects and the checks read: then what can follow is the same. The number of orders is
 * counted over all ways nonetheless. What fails first fails by a shortest history.
 *
 * @module
 */
export interface Move<Node> {
  readonly name: string
  /** It stands for so many moves that differ in names alone. */
  readonly times: number
  /** Leaves the node as it is, and throws what is wrong. */
  readonly next: (node: Node) => Node
}

export interface Scope<Node> {
  readonly start: () => Node
  /** What can happen; the same keys have the same moves. */
  readonly moves: (node: Node) => ReadonlyArray<Move<Node>>
  readonly key: (node: Node) => string
}

export interface Extent {
  /** Orders of events of this length, and shorter ones after which nothing can happen. */
  readonly orders: number
  readonly states: number
  /** Moves that were made and looked at: one from each state for each thing that can happen in it. */
  readonly moves: number
}

export class Counterexample extends Error {
  readonly history: ReadonlyArray<string>
  constructor(history: ReadonlyArray<string>, cause: unknown) {
    super(`${cause instanceof Error ? cause.message : String(cause)}, after: ${history.join(", ")}`, { cause })
    this.history = history
  }
}

interface Following {
  readonly key: string
  readonly times: number
}

interface Found<Node> {
  /** Until it was followed. */
  node: Node | null
  readonly history: ReadonlyArray<string>
  following: ReadonlyArray<Following> | null
}

/** Throws `Counterexample`. */
export const enumerate = <Node>({ start, moves, key: keyOf }: Scope<Node>, depth: number): Extent => {
  const found = new Map<string, Found<Node>>()
  const reach = (node: Node, history: ReadonlyArray<string>): string => {
    const name = keyOf(node)
    if (!found.has(name)) found.set(name, { node, history, following: null })
    return name
  }
  let made = 0
  const follow = (each: Found<Node>): ReadonlyArray<Following> => {
    const { node, history } = each
    if (node === null) return each.following ?? []
    const following = moves(node).map(({ name, times, next }) => {
      made += 1
      const way = [...history, name]
      try {
        return { key: reach(next(node), way), times }
      } catch (cause) {
        throw cause instanceof Counterexample ? cause : new Counterexample(way, cause)
      }
    })
    each.node = null
    each.following = following
    return following
  }
  let orders = 0
  let level = new Map([[reach(start(), []), 1]])
  for (let left = depth; left > 0; left--) {
    const next = new Map<string, number>()
    for (const [name, ways] of level) {
      const each = found.get(name)
      const following = each === undefined ? [] : follow(each)
      if (following.length === 0) orders += ways
      for (const { key, times } of following) next.set(key, (next.get(key) ?? 0) + ways * times)
    }
    level = next
  }
  for (const ways of level.values()) orders += ways
  return { orders, states: found.size, moves: made }
}
