/**
 * What of a chart can be said before it runs: rendered manifests are held to the rules that the cluster's agent holds all
 * charts to, and the address of another one is looked at. What a chart renders to is known only where it is rendered.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Chart } from "../../core/chart/Chart.ts"
import * as ChartRules from "../../core/chart/ChartRules.ts"
import * as Manifests from "../../core/chart/Manifests.ts"

export interface Issue {
  readonly path: string
  readonly message: string
}

/** Of very many one sees the first, and how many there are. */
const issuesMax = 50

/** Empty = it may run. */
export const issuesOf = Effect.fnUntraced(function* (chart: Chart | undefined) {
  if (chart === undefined) return []
  const issues = (path: string, messages: ReadonlyArray<string>): ReadonlyArray<Issue> =>
    messages.map((message) => ({ path: `chart.${path}`, message }))
  if (chart.url !== undefined) {
    const wrong = ChartRules.addressViolation(chart.url)
    return wrong === undefined ? [] : issues("url", [wrong])
  }
  // Most versions have no chart, so its reader is loaded with the first.
  const { CORE_SCHEMA, loadAll } = yield* Effect.promise(() => import("js-yaml"))
  const documents = Manifests.documentsOf(chart.manifests ?? "", (text) => loadAll(text, { schema: CORE_SCHEMA }))
  if (Result.isFailure(documents)) return issues("manifests", [documents.failure])
  const objects = ChartRules.read(documents.success)
  if (typeof objects === "string") return issues("manifests", [objects])
  const { name = "Default", extraKubernetesTypes = [] } = chart.validationPolicy ?? {}
  const wrong = ChartRules.violations(objects, chart, { name, extraKubernetesTypes })
  const more = wrong.length > issuesMax ? [`and ${wrong.length - issuesMax} more`] : []
  return issues("manifests", [...wrong.slice(0, issuesMax), ...more])
})
