/**
 * The MiniService of a Helm function's instance, and what its state means for the instance. Pure.
 *
 * @module
 */
import type { Chart } from "../../../core/chart/Chart.ts"
import type { InstanceSpec } from "../../ComputeBackend.ts"
import type { InstanceRequest } from "../InstanceRequest.ts"
import * as Names from "../Names.ts"
import type { ChartState } from "../Plan.ts"
import type { MiniService } from "./MiniService.ts"

export interface Translation {
  readonly cluster: string
  /** Where the workers are. */
  readonly namespace: string
  readonly request: Pick<InstanceRequest, "name" | "uid">
  readonly spec: Pick<InstanceSpec, "instanceId" | "functionId" | "versionId" | "gpu">
  readonly chart: Chart
}

export const miniServiceOf = ({ cluster, namespace, request, spec, chart }: Translation): unknown => {
  const { url, manifests, values, serviceName, servicePort, validationPolicy } = chart
  const name = Names.chartName(request.name, request.uid)
  const instance = { ...Names.labelsOfCluster(cluster), [Names.instanceLabel]: Names.labelOf(spec.instanceId) }
  return {
    apiVersion: Names.apiVersion,
    kind: "MiniService",
    metadata: {
      name,
      labels: {
        ...instance,
        [Names.functionLabel]: Names.labelOf(spec.functionId),
        [Names.versionLabel]: Names.labelOf(spec.versionId)
      }
    },
    spec: {
      namespace: name,
      icmsRequestName: request.name,
      gpuCount: spec.gpu.count,
      ...(spec.gpu.count === 0 ? {} : { gpuKind: spec.gpu.kind }),
      workers: { namespace, labels: instance },
      helmChartConfig: {
        ...(url === undefined ? { manifests } : { url, ...(values === undefined ? {} : { values }) }),
        serviceName,
        servicePort
      },
      ...(validationPolicy === undefined ? {} : { validationPolicy })
    }
  }
}

/** `service`: undefined when there is none. */
export const chartStateOf = (service: MiniService | undefined): ChartState | undefined => {
  if (service === undefined) return undefined
  const { phase, isDeleting, status } = service
  const detail = status.conditions?.find((one) => one.status === "False")?.message ?? phase
  if (isDeleting) return { is: "ending", detail }
  if (phase === "" || phase === "Installing") return { is: "installing", detail }
  if (phase !== "InstallFailed") return { is: phase === "Failed" ? "failed" : "installed", detail }
  // Nothing of it was ever applied: the chart itself is wrong.
  return { is: status.revision === undefined ? "refused" : "failed", detail }
}
