/**
 * The small live picture on a terminal: functions, backlog, instances, the last decision with its reason.
 *
 * @module
 */
import type { InstanceReport } from "../../planes/compute/AgentMessage.ts"
import type { ControlView } from "../../planes/control/ControlView.ts"
import type { RequestDirectory } from "../../planes/invocation/RequestDirectory.ts"

export interface ViewedFunction {
  readonly name: string
  readonly versionId: string
}

const redrawMs = 250
const escape = "\u001b["
const dim = (text: string) => `${escape}2m${text}${escape}22m`
const bold = (text: string) => `${escape}1m${text}${escape}22m`

const symbols: Readonly<Record<InstanceReport["state"], string>> = {
  requested: "◌",
  starting: "◔",
  ready: "●",
  draining: "◑",
  stopped: "○",
  failed: "✗"
}

/** The lines of the picture, without any terminal control but bold and dim; `columns` cuts them. */
export const lines = (
  functions: ReadonlyArray<ViewedFunction>,
  control: ControlView,
  directory: RequestDirectory,
  columns: number
): ReadonlyArray<string> => {
  const backlog = new Map(directory.backlog().map((figures) => [figures.versionId, figures]))
  const width = Math.max(8, ...functions.map(({ name }) => name.length))
  const rows = [dim(`${"function".padEnd(width)}  pending  leased  instances`)]
  for (const { name, versionId } of functions) {
    const figures = backlog.get(versionId)
    const live = control.instances({ versionId }).filter(({ state }) => state !== "stopped" && state !== "failed")
    const shown = live
      .slice(0, 12)
      .map(
        ({ state, phase }) => `${symbols[state]} ${state}${state === "starting" && phase !== "" ? ` (${phase})` : ""}`
      )
    const more = live.length > 12 ? [`and ${live.length - 12} more`] : []
    const states = live.length === 0 ? dim("zero") : [...shown, ...more].join("  ")
    rows.push(
      `${bold(name.padEnd(width))}  ${String(figures?.pending ?? 0).padStart(7)}  ${String(figures?.leased ?? 0).padStart(6)}  ${states}`
    )
  }
  const [decision] = control.decisions({ limit: 1 })
  if (decision !== undefined) {
    const name = functions.find(({ versionId }) => versionId === decision.versionId)?.name ?? decision.versionId
    rows.push(dim(`last decision: ${name} ${decision.from} → ${decision.to}: ${decision.reason}`))
  }
  return rows.map((row) => cut(row, columns))
}

/** Control sequences take no column. */
const cut = (row: string, columns: number): string => {
  let visible = 0
  let out = ""
  for (let at = 0; at < row.length; at++) {
    if (row.startsWith(escape, at)) {
      const end = row.indexOf("m", at)
      out += row.slice(at, end + 1)
      at = end
      continue
    }
    if (visible === columns - 1) return `${out}…${escape}0m`
    out += row[at]
    visible++
  }
  return out
}

/** Draws below whatever was printed before, in place, until `stop` is called. */
export const start = (
  output: NodeJS.WriteStream,
  functions: () => ReadonlyArray<ViewedFunction>,
  control: ControlView,
  directory: RequestDirectory
): { readonly stop: () => void; readonly print: (text: string) => void } => {
  let drawn: ReadonlyArray<string> = []
  const erase = () => (drawn.length === 0 ? "" : `${escape}${drawn.length}A${escape}0J`)
  const draw = () => {
    const next = lines(functions(), control, directory, output.columns ?? 80)
    if (next.length === drawn.length && next.every((row, at) => row === drawn[at])) return
    output.write(`${erase()}${next.join("\n")}\n`)
    drawn = next
  }
  const timer = setInterval(draw, redrawMs)
  draw()
  return {
    stop: () => clearInterval(timer),
    print: (text) => {
      output.write(`${erase()}${text}\n`)
      drawn = []
      draw()
    }
  }
}
