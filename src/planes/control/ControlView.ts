/**
 * What the scaling side of the control plane can tell: for the control API, receipts, the CLI and the live view. Reads
 * are synchronous and cheap.
 *
 * @module
 */
import type { InstanceReport } from "../compute/AgentMessage.ts"

export interface ScaleDecision {
  /** Unix ms. */
  readonly atMs: number
  readonly versionId: string
  readonly from: number
  readonly to: number
  readonly policy: string
  /** A sentence with its figures. */
  readonly reason: string
  readonly inputs: Readonly<Record<string, number | string | null>>
}

export interface ClusterView {
  readonly name: string
  readonly region: string
  readonly group?: string
  readonly attributes?: ReadonlyArray<string>
  readonly compliance?: ReadonlyArray<string>
  readonly backend: string
  readonly isolation: string
  readonly state: "healthy" | "unreachable"
  /** It takes no new instances. */
  readonly cordoned: boolean
  /** And those that it has leave. */
  readonly draining: boolean
  readonly lastHeardAtMs: number
  readonly instanceTypes: ReadonlyArray<{
    readonly name: string
    readonly gpuKind: string
    readonly gpuCount: number
    readonly total: number
    readonly free: number
  }>
}

export interface DeploymentStatus {
  readonly versionId: string
  /** `idle`: at zero on purpose. */
  readonly status: "idle" | "scaling" | "ready" | "degraded" | "failed" | "undeployed"
  readonly detail: string
  readonly desired: number
  readonly starting: number
  readonly ready: number
  readonly draining: number
}

/** When the parts of the latest start of an instance happened, for the receipt of the request that waited for it. */
export interface StartTimeline {
  readonly instanceId: string
  /** Why its cluster was chosen; absent where that is not known. */
  readonly placement?: string | undefined
  /** Demand arrived at the scaling machine. */
  readonly demandAtMs: number
  readonly createdAtMs: number
  readonly startedAtMs: number | null
  readonly readyAtMs: number | null
  readonly phases: { readonly processMs: number; readonly initialiseMs: number; readonly connectMs: number } | null
}

export interface ControlView {
  readonly instances: (filter?: { readonly versionId?: string }) => ReadonlyArray<InstanceReport>
  readonly instance: (instanceId: string) => InstanceReport | undefined
  readonly clusters: () => ReadonlyArray<ClusterView>
  readonly deploymentStatus: (versionId: string) => DeploymentStatus
  /** Newest first, bounded. */
  readonly decisions: (filter?: {
    readonly versionId?: string
    readonly limit?: number
  }) => ReadonlyArray<ScaleDecision>
  readonly startTimeline: (instanceId: string) => StartTimeline | undefined
  /** Why nothing runs for this version at the moment, as a sentence; undefined when a free slot exists. */
  readonly whyWaiting: (versionId: string) => string | undefined
  readonly onDecision: (listener: (decision: ScaleDecision) => void) => () => void
  readonly onInstance: (listener: (instance: InstanceReport) => void) => () => void
}
