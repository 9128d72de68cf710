/**
 * One run over its time: what came, what was wanted, what was there, what waited.
 *
 * @module
 */
import type { Picture } from "../../core/simulation/Timeline.ts"
import * as Svg from "./Svg.ts"

const width = 860
const left = 74
const plotWidth = width - left - 24
const arrivalsHeight = 70
const instancesHeight = 120
const backlogHeight = 56
const gap = 26
const axisHeight = 24

export const draw = (picture: Picture, spanMs: number, colour: string): string => {
  const { columnMs, arrivals, means } = picture
  const x = Svg.linear(0, spanMs, left, left + plotWidth)
  const perSecond = arrivals.map((count) => (count * 1_000) / columnMs)
  const there = means.ready.map((ready, index) => ready + (means.starting[index] ?? 0))
  const panels = [
    { title: "arrivals a second", height: arrivalsHeight, top: maximum(perSecond) },
    { title: "instances", height: instancesHeight, top: maximum([...means.desired, ...there]) },
    { title: "backlog", height: backlogHeight, top: maximum(means.backlog) }
  ]
  let top = 18
  const drawn: Array<string> = []
  for (const [index, panel] of panels.entries()) {
    const scale = Svg.ticks(panel.top, index === 1 ? 4 : 2)
    const y = Svg.linear(0, scale.at(-1) ?? 1, top + panel.height, top)
    for (const tick of scale) {
      drawn.push(Svg.line(left, y(tick), left + plotWidth, y(tick), "grid"))
      drawn.push(Svg.text(left - 8, y(tick) + 4, Svg.figure(tick), { anchor: "end" }))
    }
    drawn.push(Svg.text(left, top - 6, panel.title, { kind: "title" }))
    const area = (values: ReadonlyArray<number>, kind: string, fill?: string) =>
      `<path d="${steps(values, columnMs, x, y)}L${Svg.place(x(values.length * columnMs))} ${Svg.place(y(0))}L${left} ${Svg.place(y(0))}Z" class="${kind}"${fill === undefined ? "" : ` fill="${fill}"`}/>`
    if (index === 0) drawn.push(area(perSecond, "arrivals"))
    else if (index === 1) {
      drawn.push(area(there, "starting", colour), area(means.ready, "ready", colour))
      drawn.push(`<path d="${steps(means.desired, columnMs, x, y)}" class="desired"/>`)
    } else drawn.push(area(means.backlog, "backlog"))
    drawn.push(Svg.line(left, y(0), left + plotWidth, y(0), "axis"))
    top += panel.height + gap
  }
  const bottom = top - gap
  for (const tick of Svg.timeTicks(spanMs))
    drawn.push(Svg.text(x(tick), bottom + 18, Svg.time(tick), { anchor: "middle" }))
  const height = bottom + axisHeight
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Arrivals, instances and backlog over time">${drawn.join("")}</svg>`
}

export const legend = (colour: string): string =>
  `<p class="legend"><span><i class="swatch" style="background:${colour};opacity:.55"></i>ready</span>` +
  `<span><i class="swatch" style="background:${colour};opacity:.22"></i>starting</span>` +
  `<span><i class="swatch rule"></i>desired</span></p>`

const maximum = (values: ReadonlyArray<number>): number => values.reduce((most, value) => Math.max(most, value), 0)

/** A line that keeps its height over each column; a column as high as the one before it adds nothing. */
const steps = (
  values: ReadonlyArray<number>,
  columnMs: number,
  x: (ms: number) => number,
  y: (value: number) => number
): string => {
  let path = ""
  let last = ""
  values.forEach((value, index) => {
    const height = Svg.place(y(value))
    if (height === last) return
    const from = Svg.place(x(index * columnMs))
    path += index === 0 ? `M${from} ${height}` : `L${from} ${last}V${height}`
    last = height
  })
  return `${path}L${Svg.place(x(values.length * columnMs))} ${last}`
}
