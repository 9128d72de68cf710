/**
 * One setting of the configuration file: its Effect Schema, what people read about it, and how a word of the command line
 * or of the environment becomes its value.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

export interface Setting<A> {
  readonly _tag: "Setting"
  readonly schema: Schema.Codec<A, unknown>
  /** What stands where nothing is said; undefined = nothing. */
  readonly otherwise: A
  readonly about: string
  /** What is taken, with unit and bounds, as in `1,000 to 60,000 ms`. */
  readonly expected: string
  /** Variable of the environment; absent = `MILLRACE_` and the path. */
  readonly variable?: string
  /** Never shown. */
  readonly isSecret: boolean
  /** Undefined: these words are no such value. */
  readonly parse: (text: string) => unknown
}

interface Given<A> {
  readonly about: string
  readonly otherwise: A
  readonly variable?: string
}

const grouped = (value: number) => value.toLocaleString("en-US")

const number = (text: string): unknown => (/^-?\d{1,16}$/.test(text.trim()) ? Number(text) : undefined)

const of = <A>(
  given: Given<A>,
  rest: {
    readonly schema: Schema.Codec<A, unknown>
    readonly expected: string
    readonly parse: (text: string) => unknown
  }
): Setting<A> => ({ _tag: "Setting", isSecret: false, ...given, ...rest })

export const port = (given: Given<number>): Setting<number> =>
  of(given, {
    schema: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 })),
    expected: "a port, 0 to 65,535; 0 = any free one",
    parse: number
  })

export const milliseconds = (
  given: Given<number> & { readonly minimum: number; readonly maximum: number }
): Setting<number> => {
  const { minimum, maximum, ...rest } = given
  return of(rest, {
    schema: Schema.Int.check(Schema.isBetween({ minimum, maximum })),
    expected: `${grouped(minimum)} to ${grouped(maximum)} ms`,
    parse: number
  })
}

export const count = (
  given: Given<number> & { readonly minimum: number; readonly maximum: number }
): Setting<number> => {
  const { minimum, maximum, ...rest } = given
  return of(rest, {
    schema: Schema.Int.check(Schema.isBetween({ minimum, maximum })),
    expected: `${grouped(minimum)} to ${grouped(maximum)}`,
    parse: number
  })
}

interface Pattern {
  readonly pattern: RegExp
  readonly expected: string
}

const anyText: Pattern = { pattern: /^[^\p{Cc}]{1,4096}$/u, expected: "text" }

export const text = (given: Given<string> & Partial<Pattern>): Setting<string> => {
  const { pattern = anyText.pattern, expected = anyText.expected, ...rest } = given
  return of(rest, { schema: Schema.String.check(Schema.isPattern(pattern)), expected, parse: (word) => word })
}

export const maybeText = (
  given: Omit<Given<undefined>, "otherwise"> & Partial<Pattern> & { readonly isSecret?: boolean }
): Setting<string | undefined> => {
  const { pattern = anyText.pattern, expected = anyText.expected, isSecret = false, ...rest } = given
  const schema: Schema.Codec<string | undefined, unknown> = Schema.String.check(Schema.isPattern(pattern))
  return {
    ...of<string | undefined>({ otherwise: undefined, ...rest }, { schema, expected, parse: (word) => word }),
    isSecret
  }
}

export const oneOf = <const A extends string>(given: Given<A> & { readonly of: ReadonlyArray<A> }): Setting<A> => {
  const { of: choices, ...rest } = given
  return of<A>(rest, {
    schema: Schema.Literals(choices),
    expected: `one of ${choices.join(", ")}`,
    parse: (word) => word
  })
}

/** In words: with commas between. */
export const texts = (
  given: Omit<Given<ReadonlyArray<string>>, "otherwise"> &
    Pattern & { readonly countMax: number; readonly isSecret?: boolean }
): Setting<ReadonlyArray<string>> => {
  const { pattern, expected, countMax, isSecret = false, ...rest } = given
  return {
    ...of<ReadonlyArray<string>>(
      { otherwise: [], ...rest },
      {
        schema: Schema.Array(Schema.String.check(Schema.isPattern(pattern))).check(Schema.isMaxLength(countMax)),
        expected: `at most ${countMax}: ${expected}`,
        parse: (words) => words.split(",").flatMap((word) => (word.trim() === "" ? [] : [word.trim()]))
      }
    ),
    isSecret
  }
}

/** Undefined: it is not what the setting takes. */
export const decode = <A>(setting: Setting<A>, value: unknown): Result.Result<A, undefined> =>
  Result.mapError(Schema.decodeUnknownResult(setting.schema)(value), () => undefined)
