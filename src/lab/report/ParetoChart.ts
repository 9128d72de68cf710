/**
 * What each policy pays and how long its callers wait: towards the lower left is better. The line is the offline
 * optimum; nothing can be below it.
 *
 * @module
 */
import * as Svg from "./Svg.ts"

export interface Point {
  readonly name: string
  readonly waitMs: number
  readonly seconds: number
}

const width = 860
const height = 420
const frame: Svg.Frame = { left: 74, top: 18, width: width - 74 - 150, height: height - 18 - 52 }

/** Below this, waits are as good as equal: the scale is linear there and logarithmic above. */
const linearMs = 100

const bent = (waitMs: number): number => Math.log10(1 + waitMs / linearMs)

export const draw = (points: ReadonlyArray<Point>, frontier: ReadonlyArray<Omit<Point, "name">>): string => {
  const all = [...points, ...frontier]
  const waitMax = Math.max(1_000, ...all.map(({ waitMs }) => waitMs)) * 1.15
  const yTicks = Svg.ticks(Math.max(1, ...all.map(({ seconds }) => seconds)))
  const x = Svg.linear(0, bent(waitMax), frame.left, frame.left + frame.width)
  const y = Svg.linear(0, yTicks.at(-1) ?? 1, frame.top + frame.height, frame.top)
  const bottom = frame.top + frame.height
  const right = frame.left + frame.width
  const grid = yTicks.map(
    (tick) =>
      Svg.line(frame.left, y(tick), right, y(tick), "grid") +
      Svg.text(frame.left - 8, y(tick) + 4, Svg.figure(tick), { anchor: "end" })
  )
  const waits = [0, 100, 1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000].filter((tick) => tick <= waitMax)
  const axis = waits.map(
    (tick) =>
      Svg.line(x(bent(tick)), frame.top, x(bent(tick)), bottom, "grid") +
      Svg.text(x(bent(tick)), bottom + 18, Svg.time(tick), { anchor: "middle" })
  )
  const path = [...frontier]
    .sort((one, other) => one.waitMs - other.waitMs)
    .map(
      ({ waitMs, seconds }, index) => `${index === 0 ? "M" : "L"}${Svg.place(x(bent(waitMs)))} ${Svg.place(y(seconds))}`
    )
  const optimum =
    path.length < 2
      ? ""
      : `<path d="${path.join("")}" class="optimum"/>` +
        Svg.text(
          right + 8,
          y(frontier.reduce((last, each) => (each.waitMs > last.waitMs ? each : last)).seconds) + 4,
          "offline optimum",
          { kind: "label muted" }
        )
  return (
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Cost and wait of each policy">` +
    grid.join("") +
    axis.join("") +
    Svg.line(frame.left, bottom, right, bottom, "axis") +
    optimum +
    marks(points, (point) => [x(bent(point.waitMs)), y(point.seconds)]) +
    Svg.text(frame.left + frame.width / 2, height - 8, "p99 wait", { anchor: "middle", kind: "title" }) +
    `<text transform="translate(14 ${Svg.place(frame.top + frame.height / 2)}) rotate(-90)" text-anchor="middle" class="title">instance-seconds</text>` +
    "</svg>"
  )
}

/** Of the bold label, at most on average. */
const letterWidth = 8.4
const lineHeight = 15

/** Dots with their names, each name where it covers no other and no dot. */
const marks = (points: ReadonlyArray<Point>, at: (point: Point) => readonly [number, number]): string => {
  const places = points.map(at)
  const taken = places.map(([x, y]) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 }))
  return points
    .map((point, index) => {
      const [x, y] = places[index]!
      const length = point.name.length * letterWidth
      const candidates = [0, -14, 14, -28, 28, -42, 42].flatMap((shift) => [
        { left: x + 11, top: y + shift - 8 },
        { left: x - 11 - length, top: y + shift - 8 }
      ])
      const isFree = ({ left, top }: { readonly left: number; readonly top: number }) =>
        left > frame.left &&
        taken.every(
          (other, own) =>
            own === index ||
            left > other.right ||
            left + length < other.left ||
            top > other.bottom ||
            top + lineHeight < other.top
        )
      const free = candidates.find(isFree) ?? candidates[0]!
      taken.push({ left: free.left, right: free.left + length, top: free.top, bottom: free.top + lineHeight })
      const words = `${point.name}: p99 wait ${Svg.time(point.waitMs)}, ${Svg.figure(point.seconds)} instance-seconds`
      return (
        `<circle cx="${Svg.place(x)}" cy="${Svg.place(y)}" r="6" fill="${Svg.colour(index)}" class="dot">` +
        `<title>${Svg.escaped(words)}</title></circle>` +
        `<text x="${Svg.place(free.left)}" y="${Svg.place(free.top + 12)}" class="label" fill="${Svg.colour(index)}">${Svg.escaped(point.name)}</text>`
      )
    })
    .join("")
}
