/**
 * The laws that are told and the laws that are tried are the same: each number of `docs/guarantees.md` begins the name of
 * a property, each number of a series that is told there is told itself, and what a property kills is named as well.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "../..")
const tests = join(root, "property-tests")

/** `L13, L19` and `T1 to T9` and `I1-I6` as single numbers. */
const numbersIn = (text: string): ReadonlyArray<string> => {
  const ranges = [...text.matchAll(/\b([A-Z])(\d+)(?: to |-)(?:\1)(\d+)\b/g)].flatMap(([, series, from, to]) =>
    Array.from({ length: Number(to) - Number(from) + 1 }, (_, index) => `${series}${Number(from) + index}`)
  )
  return [...new Set([...ranges, ...[...text.matchAll(/\b[A-Z]\d+\b/g)].map(([number]) => number)])]
}

const names = readdirSync(tests)
  .filter((file) => file.endsWith(".laws.test.ts"))
  .flatMap((file) => [...readFileSync(join(tests, file), "utf8").matchAll(/\bit\(\s*["'`]([^\n]*?)["'`],/g)])
  .map(([, name = ""]) => name)

/** What stands before the sentence: `L4`, `L1, L18`, `T1 to T9`; `undefined`: the name has no number. */
const leading = (name: string): string | undefined =>
  /^((?:[A-Z]\d+(?:, | to |-|$)?)+)(?::| hold| kills?:)/.exec(name)?.[1]

const isKill = (name: string): boolean => /^[A-Z0-9, ]+ kills?:/.test(name)

const numbersOf = (chosen: ReadonlyArray<string>) => new Set(chosen.flatMap((name) => numbersIn(leading(name) ?? "")))

const held = numbersOf(names.filter((name) => !isKill(name)))
const killing = numbersOf(names.filter(isKill))
const guarantees = readFileSync(join(root, "docs/guarantees.md"), "utf8")
const told = new Set(
  [...guarantees.matchAll(/^- \*\*([A-Z0-9-]+)\*\* \S+/gm)].flatMap(([, numbers = ""]) => numbersIn(numbers))
)

const byNumber = (one: string, other: string): number =>
  one.charCodeAt(0) - other.charCodeAt(0) || Number(one.slice(1)) - Number(other.slice(1))

describe("the laws", () => {
  it("reads a plausible number of names", () => {
    expect(names.length).toBeGreaterThan(200)
    expect(numbersIn("L13, L19 and T1 to T3, I5-I6").toSorted(byNumber)).toEqual([
      "I5",
      "I6",
      "L13",
      "L19",
      "T1",
      "T2",
      "T3"
    ])
    expect([...held, ...killing].length).toBeGreaterThan(50)
  })

  it("are told in docs/guarantees.md, L1 to L20 and more", () => {
    const wanted = Array.from({ length: 20 }, (_, index) => `L${index + 1}`)
    expect(wanted.filter((number) => !told.has(number))).toEqual([])
  })

  it("have a property each, where they are told", () => {
    expect([...told].filter((number) => !held.has(number)).toSorted(byNumber)).toEqual([])
  })

  it("are told, where a property of their series is tried", () => {
    // Numbers of a policy, of a trace or of the lab are told in their own files.
    const series = /^[LIDEBGT]\d/
    const untold = [...held, ...killing].filter((number) => series.test(number) && !told.has(number))
    expect(untold.toSorted(byNumber)).toEqual([])
  })

  it("have a wrong machine each that they kill, L1 to L20", () => {
    const wanted = Array.from({ length: 20 }, (_, index) => `L${index + 1}`)
    expect(wanted.filter((number) => !killing.has(number))).toEqual([])
  })
})
