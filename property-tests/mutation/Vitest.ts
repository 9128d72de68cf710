/**
 * What the tests of the core use of vitest, for `Runner.ts`: tests are collected under the file that is being loaded, and
 * run by the runner, again and again in one process.
 *
 * @module
 */
import { format } from "node:util"
import { Assertion, assert, expect } from "chai"

export { assert, expect }

// What the tests use of vitest's `expect` and chai's lacks. To chai a property that is undefined is one all the same.
const also = {
  toBe: (value: Chai.Assertion, expected: unknown) => value.equal(expected),
  toEqual: (value: Chai.Assertion, expected: unknown) => value.eql(expected),
  toHaveLength: (value: Chai.Assertion, expected: number) => value.lengthOf(expected),
  toMatch: (value: Chai.Assertion, expected: RegExp) => value.match(expected)
}
for (const [name, has] of Object.entries(also)) {
  // Where vitest itself was loaded it is there already.
  if (name in Assertion.prototype) continue
  Assertion.addMethod(name, function (expected) {
    // At run time it is one, whose expectations of these names take one value each.
    has(this as object as Chai.Assertion, expected as never)
  })
}

export interface Test {
  readonly file: string
  readonly name: string
  readonly run: () => unknown
}

export const collected: Array<Test> = []

let file = ""
let titles: ReadonlyArray<string> = []

/** What is registered from here on belongs to this file. */
export const begin = (of: string): void => {
  file = of
}

export const describe = (title: string, body: () => void): void => {
  const around = titles
  titles = [...around, title]
  body()
  titles = around
}

type Run = () => unknown

/** With or without options, which are about how long a test may take. */
const register = (name: string, ...rest: readonly [Run] | readonly [object, Run] | readonly [Run, number]): void => {
  const run = rest.find((each) => typeof each === "function") as Run
  collected.push({ file, name: [...titles, name].join(" > "), run })
}

/** A test for each row; what is in a row are the arguments, and what the title is formatted with. */
const each =
  <Row>(rows: ReadonlyArray<Row>) =>
  (title: string, run: (...row: ReadonlyArray<unknown>) => unknown): void => {
    for (const row of rows) {
      const values: ReadonlyArray<unknown> = Array.isArray(row) ? row : [row]
      register(titleOf(title, values), () => run(...values))
    }
  }

/** Formatted as by `util.format`, without the values that the title does not ask for. */
const titleOf = (title: string, values: ReadonlyArray<unknown>): string =>
  format(title, ...values.slice(0, title.match(/%[sdifjoOc]/g)?.length ?? 0))

export const it = Object.assign(register, { each })
