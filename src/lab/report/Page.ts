/**
 * The report of a comparison as one page that needs nothing else: no script, no font, no picture from anywhere.
 *
 * @module
 */
import type { Outcome } from "../Experiment.ts"
import * as ParetoChart from "./ParetoChart.ts"
import * as Svg from "./Svg.ts"
import * as TimelineChart from "./TimelineChart.ts"

export interface Report {
  readonly trace: string
  readonly requests: number
  readonly functions: number
  readonly spanMs: number
  /** Sentences: what was added to the recording, which models were used. */
  readonly notes: ReadonlyArray<string>
  readonly outcomes: ReadonlyArray<Outcome>
  readonly frontier: ReadonlyArray<{ readonly waitMs: number; readonly seconds: number }>
}

export const render = (report: Report): string => {
  const { trace, outcomes } = report
  const title = `${trace}: ${outcomes.length} ${outcomes.length === 1 ? "policy" : "policies"}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${Svg.escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<p class="kind">millrace simulate</p>
<h1>${Svg.escaped(trace)}</h1>
<p>${Svg.figure(report.requests)} requests to ${Svg.figure(report.functions)} ${report.functions === 1 ? "function" : "functions"} in ${Svg.time(report.spanMs)}.</p>
</header>
${table(outcomes)}
<h2>Cost and wait</h2>
<p>Towards the lower left is better. The line is the offline optimum: the fewest instance-seconds with which no request waits longer, for somebody who knows every request in advance.</p>
${ParetoChart.draw(
  outcomes.map(({ policy, result }) => ({ name: policy, waitMs: result.wait.p99, seconds: result.instanceSeconds })),
  report.frontier
)}
<h2>Over time</h2>
${outcomes.map((outcome, index) => timeline(outcome, index)).join("\n")}
<h2>How it was made</h2>
<ul>${report.notes.map((note) => `<li>${Svg.escaped(note)}</li>`).join("")}</ul>
</main>
</body>
</html>
`
}

const table = (outcomes: ReadonlyArray<Outcome>): string => {
  const rows = outcomes.map(({ policy, result, ratio }, index) =>
    [
      `<th scope="row"><i class="swatch" style="background:${Svg.colour(index)}"></i>${Svg.escaped(policy)}</th>`,
      Svg.time(result.wait.p50),
      Svg.time(result.wait.p99),
      Svg.time(result.wait.max),
      `${(result.sloAttainment * 100).toFixed(1)} %`,
      Svg.figure(result.coldStarts),
      Svg.figure(result.instanceSeconds),
      ratio === undefined ? "" : ratio.toFixed(2),
      `${(result.busyShare * 100).toFixed(0)} %`,
      result.directionChangesPerHour.toFixed(0),
      Svg.figure(result.cost)
    ]
      .map((cell, column) => (column === 0 ? cell : `<td>${cell}</td>`))
      .join("")
  )
  return `<div class="wide"><table>
<thead><tr><th scope="col">policy</th><th scope="col">wait p50</th><th scope="col">p99</th><th scope="col">max</th><th scope="col">within SLO</th><th scope="col">cold starts</th><th scope="col">instance-s</th><th scope="col">÷ optimum</th><th scope="col">busy</th><th scope="col">turns/h</th><th scope="col">cost</th></tr></thead>
<tbody>${rows.map((row) => `<tr>${row}</tr>`).join("\n")}</tbody>
</table></div>`
}

const timeline = ({ policy, result }: Outcome, index: number): string =>
  result.picture === undefined
    ? ""
    : `<section><h3>${Svg.escaped(policy)}</h3>${TimelineChart.legend(Svg.colour(index))}` +
      `${TimelineChart.draw(result.picture, result.picture.columnMs * result.picture.arrivals.length, Svg.colour(index))}</section>`

const style = `
:root { color-scheme: light; --ink: #1c2430; --muted: #66707d; --line: #e3e7ec; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 48px 28px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 52px 0 8px; }
h3 { font-size: 16px; margin: 30px 0 0; }
p { margin: 0 0 14px; max-width: 68ch; }
.kind { color: var(--muted); font-size: 14px; margin: 0 0 4px; }
.wide { overflow-x: auto; margin: 26px 0 0; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: 7px 7px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--muted); font-weight: 500; border-bottom-color: #c3cad3; }
tbody th { font-weight: 600; }
svg { display: block; width: 100%; height: auto; margin: 8px 0 0; font-family: inherit; }
.grid { stroke: #edf0f3; stroke-width: 1; }
.axis { stroke: #9aa4b0; stroke-width: 1; }
.tick { fill: var(--muted); font-size: 12px; }
.title { fill: var(--muted); font-size: 12.5px; }
.label { font-size: 13px; font-weight: 600; }
.muted { fill: var(--muted); font-weight: 400; }
.dot { stroke: #fff; stroke-width: 1.5; }
.optimum { fill: none; stroke: #9aa4b0; stroke-width: 2; stroke-dasharray: 5 4; }
.arrivals { fill: #b9c2cd; }
.ready { fill-opacity: .55; }
.starting { fill-opacity: .22; }
.desired { fill: none; stroke: #1c2430; stroke-width: 1.3; }
.backlog { fill: #c0392b; fill-opacity: .7; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 7px; vertical-align: -1px; }
.rule { height: 0; border-top: 2px solid #1c2430; border-radius: 0; vertical-align: 4px; width: 16px; }
.legend { color: var(--muted); font-size: 13px; margin: 2px 0 0; }
.legend span { margin-right: 18px; white-space: nowrap; }
ul { padding-left: 20px; margin: 8px 0 0; color: var(--muted); font-size: 14px; max-width: 80ch; }
`
