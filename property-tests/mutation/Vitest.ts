/**
 * What the tests of the core use of vitest, for `Runner.ts`: tests are collected under the file that is being loaded, and
 * run by the runner, again and again in one process.
 *
 * @module
 */
import { assert, expect } from "chai"

export { assert, expect }

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
export const it = (name: string, ...rest: readonly [Run] | readonly [object, Run] | readonly [Run, number]): void => {
  const run = rest.find((each) => typeof each === "function") as Run
  collected.push({ file, name: [...titles, name].join(" > "), run })
}
