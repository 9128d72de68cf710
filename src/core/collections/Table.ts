/**
 * Persistent table of rows that have a name for outsiders and a number for insiders: numbers are cheap to keep in
 * other structures and cheap to look up. A number is never used twice within the life of a table.
 *
 * @module
 */
import * as IntMap from "./IntMap.ts"
import * as NameMap from "./NameMap.ts"

export interface Table<Row> {
  readonly numbers: NameMap.NameMap
  readonly rows: IntMap.IntMap<Row>
  readonly next: number
}

export const empty = <Row>(): Table<Row> => ({ numbers: NameMap.empty(), rows: IntMap.empty(), next: 0 })

/** Number of the row with this name. */
export const find = <Row>(table: Table<Row>, name: string): number | undefined => NameMap.get(table.numbers, name)

export const row = <Row>(table: Table<Row>, number: number): Row | undefined => IntMap.get(table.rows, number)

/** `name` must not be in the table; the row gets the number `table.next`. `edit`: see `IntMap`. */
export const add = <Row>(table: Table<Row>, name: string, row: Row, edit = 0): Table<Row> => ({
  numbers: NameMap.set(table.numbers, name, table.next),
  rows: IntMap.set(table.rows, table.next, row, edit),
  next: table.next + 1
})

/** Not when the row is gone. `edit`: see `IntMap`. */
export const replace = <Row>(table: Table<Row>, number: number, row: Row, edit = 0): Table<Row> => ({
  numbers: table.numbers,
  rows: IntMap.replace(table.rows, number, row, edit),
  next: table.next
})

/** `edit`: see `IntMap`. */
export const drop = <Row>(table: Table<Row>, name: string, number: number, edit = 0): Table<Row> => ({
  numbers: NameMap.remove(table.numbers, name),
  rows: IntMap.remove(table.rows, number, edit),
  next: table.next
})

export const count = <Row>(table: Table<Row>): number => IntMap.size(table.rows)
