/**
 * What the charts share: scales, ticks, words for numbers, and text that is safe in a page.
 *
 * @module
 */

/** In a page or in an attribute. */
export const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** Told apart also without colour vision (Okabe and Ito), readable on white. */
export const colours: ReadonlyArray<string> = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#8a5a9e",
  "#b8860b",
  "#56a0c8",
  "#b0437a",
  "#555555"
]

export const colour = (index: number): string => colours[index % colours.length]!

export interface Frame {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** From a value to a place, in a straight line. */
export const linear =
  (fromValue: number, toValue: number, from: number, to: number) =>
  (value: number): number =>
    toValue === fromValue ? from : from + ((value - fromValue) / (toValue - fromValue)) * (to - from)

/** About so many round numbers from 0 to beyond `most`. */
export const ticks = (most: number, count = 4): ReadonlyArray<number> => {
  if (!(most > 0)) return [0, 1]
  const rough = most / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? 10 * power
  const all: Array<number> = []
  for (let index = 0; ; index++) {
    all.push(Number((index * step).toPrecision(12)))
    if (index * step >= most) return all
  }
}

const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2 })

/** `12,345`, `0.07`. */
export const figure = (value: number): string => grouped.format(Math.abs(value) >= 100 ? Math.round(value) : value)

/** `0`, `85 ms`, `3.8 s`, `2 min`, `5 h`, `3 d`. */
export const time = (ms: number): string => {
  if (ms <= 0) return "0"
  const units = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
    [1_000, "s"]
  ] as const
  for (const [size, name] of units) {
    if (ms < (name === "d" ? 2 * size : size)) continue
    const value = ms / size
    return `${value >= 10 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${name}`
  }
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`
}

/** Round times that cut `most` into about six. */
export const timeTicks = (most: number): ReadonlyArray<number> => {
  const steps = [
    100, 500, 1e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.2e6, 1.8e6, 3.6e6, 7.2e6, 1.08e7, 2.16e7, 4.32e7, 8.64e7, 1.728e8,
    6.048e8
  ]
  const step = steps.find((each) => most / each <= 7) ?? most
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step)
}

export const text = (
  x: number,
  y: number,
  words: string,
  options: { readonly anchor?: "start" | "middle" | "end"; readonly kind?: string } = {}
): string =>
  `<text x="${place(x)}" y="${place(y)}" text-anchor="${options.anchor ?? "start"}" class="${options.kind ?? "tick"}">` +
  `${escaped(words)}</text>`

export const line = (x1: number, y1: number, x2: number, y2: number, kind: string): string =>
  `<line x1="${place(x1)}" y1="${place(y1)}" x2="${place(x2)}" y2="${place(y2)}" class="${kind}"/>`

/** Tenths of a pixel are enough. */
export const place = (value: number): string => String(Math.round(value * 10) / 10)
