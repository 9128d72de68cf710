/**
 * Persistent map from names to whole numbers, for names that are asked for far more often than they change.
 *
 * The newest map has a table, in which the engine finds a name by the hash that the text carries anyway; every map that
 * it was made from knows what one name was before. An older map that is asked takes the table over, at the price of the
 * updates between the two.
 *
 * Law: C7 it is the same as a list of pairs, and an update leaves every older map unchanged.
 *
 * @module
 */

type Table = Map<string, number>

/** What there was under a name (`undefined`: nothing) that is different in `newer`. */
interface Difference {
  readonly newer: NameMap
  readonly name: string
  readonly number: number | undefined
}

export class NameMap {
  // Private, because they change though the content does not. One of the two is there.
  #table: Table | null
  #difference: Difference | null = null

  constructor(table: Table) {
    this.#table = table
  }

  table(): Table {
    return this.#table ?? this.#takeOver()
  }

  /** The map in which this name has another number (`undefined`: none). This one stays as it was. */
  with(name: string, number: number | undefined): NameMap {
    const table = this.table()
    const newer = new NameMap(table)
    this.#giveTo(newer, name, table.get(name))
    put(table, name, number)
    return newer
  }

  #giveTo(newer: NameMap, name: string, number: number | undefined): void {
    this.#table = null
    this.#difference = { newer, name, number }
  }

  #takeOver(): Table {
    const path: Array<Difference> = []
    const older: Array<NameMap> = []
    let map: NameMap = this
    while (map.#difference !== null) {
      older.push(map)
      path.push(map.#difference)
      map = map.#difference.newer
    }
    // No difference: it has the table.
    const table = map.#table!
    for (let index = path.length - 1; index >= 0; index--) {
      const { name, number } = path[index]!
      map.#giveTo(older[index]!, name, table.get(name))
      put(table, name, number)
      map = older[index]!
    }
    this.#table = table
    this.#difference = null
    return table
  }
}

const put = (table: Table, name: string, number: number | undefined): void => {
  if (number === undefined) table.delete(name)
  else table.set(name, number)
}

/** A table of its own: what is made from it shares one. */
export const empty = (): NameMap => new NameMap(new Map())

export const get = (map: NameMap, name: string): number | undefined => map.table().get(name)

export const set = (map: NameMap, name: string, number: number): NameMap => map.with(name, number)

/** The same map when the name is not there. */
export const remove = (map: NameMap, name: string): NameMap => (map.table().has(name) ? map.with(name, undefined) : map)

/** How many names there are. */
export const count = (map: NameMap): number => map.table().size
