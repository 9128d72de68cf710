/**
 * `Headers` as the Fetch standard has it, on a plain list and without loading Node's.
 *
 * Names are kept in lower case; iteration is sorted and combined, `set-cookie` stays apart; bad names and values throw
 * `TypeError`. A law compares it with Node's own class.
 *
 * @module
 */
import type { HeaderList } from "../protocol/WorkerMessage.ts"
import { descendFrom, isNative } from "./NativeFetch.ts"

type Pair = readonly [name: string, value: string]

const namePattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const lowerCasePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const badValuePattern = /[\0\r\n]|[^\0-\xff]/
const plainValuePattern = /^[!-~](?:[ -~]*[!-~])?$/

const nameOf = (value: unknown): string => {
  const name = String(value)
  if (lowerCasePattern.test(name)) return name
  if (!namePattern.test(name)) throw new TypeError(`${JSON.stringify(name)} is an invalid header name`)
  return name.toLowerCase()
}

const valueOf = (value: unknown): string => {
  const raw = String(value)
  if (plainValuePattern.test(raw)) return raw
  const text = raw.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "")
  if (badValuePattern.test(text)) throw new TypeError(`${JSON.stringify(text)} is an invalid header value`)
  return text
}

export class LightHeaders implements Headers {
  #list: Array<Pair> = []

  constructor(init?: ConstructorParameters<typeof Headers>[0]) {
    if (init === undefined) return
    if (init === null || typeof init !== "object") {
      throw new TypeError("Headers: expected a list of pairs or a record of names to values")
    }
    if (#list in init) {
      this.#list = init.#list.slice()
      return
    }
    if (Symbol.iterator in init) {
      for (const pair of init) {
        const entry = Array.isArray(pair) ? pair : [...pair]
        if (entry.length !== 2) throw new TypeError("Headers: each entry must be a pair of name and value")
        this.append(String(entry[0]), String(entry[1]))
      }
      return
    }
    for (const name of Object.keys(init)) this.append(name, String(Reflect.get(init, name)))
  }

  /** Takes a list as it came over the wire: names in lower case, values checked by the HTTP parser before. */
  static fromList(list: HeaderList): LightHeaders {
    const headers = new LightHeaders()
    headers.#list = list.slice()
    return headers
  }

  /** The entries of any headers object, repeated `set-cookie` kept apart. */
  static listOf(headers: Headers): HeaderList {
    return #list in headers ? headers.#list : [...headers]
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && (#list in value || isNative("Headers", value))
  }

  append(name: string, value: string): void {
    this.#list.push([nameOf(name), valueOf(value)])
  }

  delete(name: string): void {
    const key = nameOf(name)
    this.#list = this.#list.filter((pair) => pair[0] !== key)
  }

  get(name: string): string | null {
    const key = nameOf(name)
    let found: string | null = null
    for (const pair of this.#list) {
      if (pair[0] === key) found = found === null ? pair[1] : `${found}, ${pair[1]}`
    }
    return found
  }

  has(name: string): boolean {
    const key = nameOf(name)
    return this.#list.some((pair) => pair[0] === key)
  }

  set(name: string, value: string): void {
    const key = nameOf(name)
    const text = valueOf(value)
    const at = this.#list.findIndex((pair) => pair[0] === key)
    if (at < 0) this.#list.push([key, text])
    else this.#list = this.#list.filter((pair, index) => index <= at || pair[0] !== key).with(at, [key, text])
  }

  getSetCookie(): Array<string> {
    return this.#list.filter((pair) => pair[0] === "set-cookie").map((pair) => pair[1])
  }

  forEach(run: (value: string, key: string, parent: Headers) => void, thisArgument?: unknown): void {
    if (typeof run !== "function") throw new TypeError("Headers.forEach: expected a function")
    for (const [name, value] of this) run.call(thisArgument, value, name, this)
  }

  *entries(): Generator<[string, string], undefined> {
    // Read again at each step: the standard lets a loop change the headers that it walks over.
    for (let index = 0; ; index++) {
      const pair = sorted(this.#list)[index]
      if (pair === undefined) return undefined
      yield [pair[0], pair[1]]
    }
  }

  *keys(): Generator<string, undefined> {
    for (const [name] of this.entries()) yield name
    return undefined
  }

  *values(): Generator<string, undefined> {
    for (const [, value] of this.entries()) yield value
    return undefined
  }

  [Symbol.iterator](): Generator<[string, string], undefined> {
    return this.entries()
  }

  get [Symbol.toStringTag](): string {
    return "Headers"
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Headers ${JSON.stringify(Object.fromEntries(sorted(this.#list)))}`
  }
}

const sorted = (list: ReadonlyArray<Pair>): ReadonlyArray<Pair> => {
  const combined = new Map<string, string>()
  const cookies: Array<Pair> = []
  for (const pair of list) {
    if (pair[0] === "set-cookie") cookies.push(pair)
    else {
      const before = combined.get(pair[0])
      combined.set(pair[0], before === undefined ? pair[1] : `${before}, ${pair[1]}`)
    }
  }
  return [...combined, ...cookies].sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0))
}

descendFrom("Headers", LightHeaders.prototype)
