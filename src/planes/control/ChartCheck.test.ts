import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Chart } from "../../core/chart/Chart.ts"
import * as ChartCheck from "./ChartCheck.ts"

const entry = { serviceName: "front", servicePort: 80 }
const front = "{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {selector: {a: b}, ports: [{port: 80}]}}"
const pod = (more: string) =>
  `{apiVersion: v1, kind: Pod, metadata: {name: model, labels: {a: b}}, spec: {containers: [{name: one, ports: [{containerPort: 80}], ${more}}]}}`
const safe =
  "securityContext: {readOnlyRootFilesystem: true, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}}"

const issuesOf = (chart: Partial<Chart>) => ChartCheck.issuesOf({ ...entry, ...chart })

describe("the check of charts", () => {
  it.effect("nothing is said of a version without a chart, and of a chart that keeps the rules", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ChartCheck.issuesOf(undefined), [])
      assert.deepStrictEqual(yield* issuesOf({ manifests: `${front}\n---\n${pod(safe)}` }), [])
      assert.deepStrictEqual(yield* issuesOf({ url: "oci://charts.example/model-1.2.3.tgz" }), [])
    })
  )

  it.effect("each thing that is wrong is an issue of its own, with its object; a policy says what is wrong", () =>
    Effect.gen(function* () {
      const manifests = `${front}\n---\n${pod("securityContext: {privileged: true}")}`
      const issues = yield* issuesOf({ manifests })
      assert.isAtLeast(issues.length, 5)
      assert.isTrue(
        issues.every(({ path, message }) => path === "chart.manifests" && message.startsWith("Pod model: "))
      )
      assert.deepStrictEqual(yield* issuesOf({ manifests, validationPolicy: { name: "Unrestricted" } }), [])
    })
  )

  it.effect("of very many the first fifty are told, and how many there are", () =>
    Effect.gen(function* () {
      const manifests = Array.from({ length: 60 }, (_, i) => `{apiVersion: a/v1, kind: B, metadata: {name: b${i}}}`)
      const issues = yield* issuesOf({ manifests: manifests.join("\n---\n") })
      assert.strictEqual(issues.length, 51)
      assert.match(issues.at(-1)?.message ?? "", /^and \d+ more$/)
    })
  )

  it.effect("what cannot be read, and an address that cannot be a chart's, are refused", () =>
    Effect.gen(function* () {
      assert.match((yield* issuesOf({ manifests: "a: [" }))[0]?.message ?? "", /cannot be read/)
      assert.match((yield* issuesOf({ manifests: "" }))[0]?.message ?? "", /no object/)
      const issues = yield* issuesOf({ url: "http://charts.example/model-1.2.3.tgz" })
      assert.deepStrictEqual(
        issues.map(({ path }) => path),
        ["chart.url"]
      )
    })
  )
})
