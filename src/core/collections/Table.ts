/**
 * Persistent table of rows that have a name for outsiders and a number for insiders: numbers are cheap to keep in
 * other structures and cheap to look up. A number is never used twice within the life of a table.
 *
 * @module
 */
import * as HashMap from "effect/HashMap"
import * as IntMap from "./IntMap.ts"

export interface Table<Row> {
  readonly numbers: HashMap.HashMap<string, number>
  readonly rows: IntMap.IntMap<Row>
  readonly next: number
}

export const empty = <Row>(): Table<Row> => ({ numbers: HashMap.empty(), rows: IntMap.empty(), next: 0 })

/** Number of the row with this name. */
export const find = <Row>(table: Table<Row>, name: string): number | undefined => {
  const found = HashMap.get(table.numbers, name)
  return found._tag === "Some" ? found.value : undefined
}

export const row = <Row>(table: Table<Row>, number: number): Row | undefined => IntMap.get(table.rows, number)

/** `name` must not be in the table; the row gets the number `table.next`. */
export const add = <Row>(table: Table<Row>, name: string, row: Row): Table<Row> => ({
  numbers: HashMap.set(table.numbers, name, table.next),
  rows: IntMap.set(table.rows, table.next, row),
  next: table.next + 1
})

export const replace = <Row>(table: Table<Row>, number: number, row: Row): Table<Row> => ({
  numbers: table.numbers,
  rows: IntMap.set(table.rows, number, row),
  next: table.next
})

export const drop = <Row>(table: Table<Row>, name: string, number: number): Table<Row> => ({
  numbers: HashMap.remove(table.numbers, name),
  rows: IntMap.remove(table.rows, number),
  next: table.next
})

export const count = <Row>(table: Table<Row>): number => table.rows.size
