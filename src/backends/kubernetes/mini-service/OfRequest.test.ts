import { describe, expect, it } from "vitest"
import { cluster, request, spec } from "../../../../tests/backends/kubernetes/objects.ts"
import * as Names from "../Names.ts"
import * as MiniService from "./MiniService.ts"
import { chartStateOf, miniServiceOf } from "./OfRequest.ts"

const chart = { manifests: "kind: Pod", serviceName: "front", servicePort: 80 }
const made = (change: object = {}) => {
  const { name, uid } = request()
  const resource = miniServiceOf({
    cluster,
    namespace: "millrace",
    request: { name, uid },
    spec: spec(),
    chart: { ...chart, ...change }
  })
  const metadata = { uid: "u", resourceVersion: "1", generation: 1, creationTimestamp: "2026-01-01T00:00:00Z" }
  // What was made is an object with metadata.
  const whole = resource as { readonly metadata: object }
  return MiniService.decode({ ...whole, metadata: { ...whole.metadata, ...metadata } })
}

describe("the MiniService of a request", () => {
  it("is named after this life of the request, with the chart, its GPUs, and its worker alone as a caller", () => {
    const { name, uid } = request()
    const one = made()
    expect(one?.name).toBe(Names.chartName(name, uid))
    expect(one?.name.length).toBeLessThanOrEqual(63)
    expect(one?.spec).toMatchObject({
      namespace: one?.name,
      icmsRequestName: name,
      gpuCount: 2,
      gpuKind: "H100",
      helmChartConfig: chart,
      workers: { namespace: "millrace", labels: { [Names.instanceLabel]: "i-1" } }
    })
    expect(made({ manifests: undefined, url: "u", values: { a: 1 } })?.spec.helmChartConfig).toMatchObject({
      url: "u",
      values: { a: 1 }
    })
  })

  it.each([
    [{}, "installing"],
    [{ phase: "Installing" }, "installing"],
    [{ phase: "Installed", revision: 1 }, "installed"],
    [{ phase: "Running", revision: 1 }, "installed"],
    // Of what was never applied the chart itself is wrong; what was applied may go well another time.
    [{ phase: "InstallFailed" }, "refused"],
    [{ phase: "InstallFailed", revision: 1 }, "failed"],
    [{ phase: "Failed", revision: 1 }, "failed"]
  ] as const)("%j is %s", (status, is) => {
    const one = made()
    if (one === undefined) throw new Error("it cannot be read back")
    const phase = "phase" in status ? status.phase : ""
    expect(chartStateOf({ ...one, status, phase })?.is).toBe(is)
    expect(chartStateOf({ ...one, status, phase, isDeleting: true })?.is).toBe("ending")
  })

  it("without one there is no state", () => expect(chartStateOf(undefined)).toBeUndefined())
})
