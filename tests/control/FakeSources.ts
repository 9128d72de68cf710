/**
 * The running platform as the control API sees it, made of plain values that a test sets.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { LogLine } from "../../src/backends/ComputeBackend.ts"
import type { InstanceReport } from "../../src/planes/compute/AgentMessage.ts"
import { DeadLetterIncomplete, DeadLetterNotFound } from "../../src/planes/control/ControlErrors.ts"
import type * as ControlSources from "../../src/planes/control/ControlSources.ts"
import type {
  ClusterView,
  ControlView,
  DeploymentStatus,
  ScaleDecision,
  StartTimeline
} from "../../src/planes/control/ControlView.ts"
import type { DeadLetterContent, DeadLetterDirectory } from "../../src/planes/invocation/DeadLetterDirectory.ts"
import type { DeadLetter } from "../../src/planes/invocation/DeadLetters.ts"
import type { BacklogFigures, RequestDirectory, RequestView } from "../../src/planes/invocation/RequestDirectory.ts"

export class FakeRequestDirectory implements RequestDirectory {
  readonly requests = new Map<string, RequestView>()
  figures: ReadonlyArray<BacklogFigures> = []
  staleMessages = 0

  list: RequestDirectory["list"] = (filter) =>
    [...this.requests.values()]
      .filter((request) => filter.tenant === undefined || request.tenant === filter.tenant)
      .filter((request) => filter.functionId === undefined || request.functionId === filter.functionId)
      .filter((request) => filter.versionId === undefined || request.versionId === filter.versionId)
      .filter((request) => filter.state === undefined || request.state === filter.state)
      .toSorted((left, right) => right.arrivedAtMs - left.arrivedAtMs)
      .slice(0, filter.limit)

  get: RequestDirectory["get"] = (requestId) => this.requests.get(requestId)

  cancel: RequestDirectory["cancel"] = (requestId) => {
    const request = this.requests.get(requestId)
    if (request === undefined) return "unknown"
    if (request.endedAtMs !== null) return "ended"
    this.requests.set(requestId, { ...request, state: "cancelled", endedAtMs: request.arrivedAtMs + 1 })
    return "cancelled"
  }

  backlog = () => this.figures
  staleMessagesRefused = () => this.staleMessages
}

/** Letters by request id, without order. */
export class FakeDeadLetters implements DeadLetterDirectory {
  readonly letters = new Map<string, DeadLetterContent>()

  list: DeadLetterDirectory["list"] = (filter) => {
    const items = [...this.letters.values()]
      .filter((letter) => filter.functionId === undefined || letter.functionId === filter.functionId)
      .filter((letter) => filter.replayed === undefined || (letter.replay !== null) === filter.replayed)
      .map(({ headers: _headers, body: _body, history: _history, ...letter }): DeadLetter => letter)
    return { items: items.slice(0, filter.limit), next: null }
  }

  get: DeadLetterDirectory["get"] = (_, requestId) =>
    Effect.suspend(() => {
      const letter = this.letters.get(requestId)
      return letter === undefined ? Effect.fail(new DeadLetterNotFound({ requestId })) : Effect.succeed(letter)
    })

  replay: DeadLetterDirectory["replay"] = (tenant, requestId) =>
    Effect.gen({ self: this }, function* () {
      const letter = yield* this.get(tenant, requestId)
      if (letter.replay !== null) return { ...letter.replay, isNew: false }
      if (!letter.bodyKept) return yield* new DeadLetterIncomplete({ requestId })
      const replay = { requestId: `${requestId}-again`, atMs: 3_000 }
      this.letters.set(requestId, { ...letter, replay })
      return { ...replay, isNew: true }
    })

  drop: DeadLetterDirectory["drop"] = (tenant, requestId) =>
    Effect.map(this.get(tenant, requestId), () => {
      this.letters.delete(requestId)
    })
}

export class FakeControlView implements ControlView {
  readonly reports = new Map<string, InstanceReport>()
  readonly statuses = new Map<string, DeploymentStatus>()
  readonly timelines = new Map<string, StartTimeline>()
  readonly waiting = new Map<string, string>()
  clusterViews: ReadonlyArray<ClusterView> = []
  scaleDecisions: ReadonlyArray<ScaleDecision> = []

  instances: ControlView["instances"] = (filter) =>
    [...this.reports.values()].filter(
      ({ versionId }) => filter?.versionId === undefined || filter.versionId === versionId
    )
  instance: ControlView["instance"] = (instanceId) => this.reports.get(instanceId)
  clusters = () => this.clusterViews
  deploymentStatus: ControlView["deploymentStatus"] = (versionId) =>
    this.statuses.get(versionId) ?? {
      versionId,
      status: "idle",
      detail: "at zero, wakes with the next request",
      desired: 0,
      starting: 0,
      ready: 0,
      draining: 0
    }
  decisions: ControlView["decisions"] = (filter) =>
    this.scaleDecisions
      .filter(({ versionId }) => filter?.versionId === undefined || filter.versionId === versionId)
      .slice(0, filter?.limit)
  startTimeline: ControlView["startTimeline"] = (instanceId) => this.timelines.get(instanceId)
  whyWaiting: ControlView["whyWaiting"] = (versionId) => this.waiting.get(versionId)
  onDecision = () => () => {}
  onInstance = () => () => {}
}

export class FakeLogs {
  readonly kept = new Map<string, ReadonlyArray<LogLine>>()
  readonly followers = new Set<(instanceId: string, line: LogLine) => void>()

  write = (instanceId: string, line: LogLine) => {
    this.kept.set(instanceId, [...(this.kept.get(instanceId) ?? []), line])
    for (const follower of this.followers) follower(instanceId, line)
  }

  readonly source: typeof ControlSources.LogsSource.Service = {
    logs: (instanceId) => Effect.sync(() => this.kept.get(instanceId) ?? []),
    followLogs: (onLine) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => this.followers.add(onLine)),
          () => Effect.sync(() => this.followers.delete(onLine))
        )
      )
  }
}

export const requestView = (given: Partial<RequestView> & { readonly requestId: string }): RequestView => ({
  tenant: "default",
  functionId: "00000000-0000-4000-8000-000000000001",
  functionName: "hello",
  versionId: "00000000-0000-4000-8000-000000000002",
  method: "POST",
  path: "/",
  mode: "sync",
  durability: "accepted",
  state: "pending",
  attempt: 0,
  maxAttempts: 3,
  arrivedAtMs: 1_000,
  deadlineMs: 61_000,
  endedAtMs: null,
  keepUntilMs: null,
  position: 2,
  cause: "an instance is starting",
  reason: null,
  message: null,
  instanceId: null,
  stored: true,
  resultKept: false,
  progress: null,
  phases: { admit: 0.4, queue: 12 },
  history: [{ atMs: 1_000, what: "arrived" }],
  replayOf: null,
  ...given
})

export const deadLetter = (given: Partial<DeadLetterContent> & { readonly requestId: string }): DeadLetterContent => ({
  tenant: "default",
  functionId: "00000000-0000-4000-8000-000000000001",
  functionName: "hello",
  versionId: "00000000-0000-4000-8000-000000000002",
  method: "POST",
  path: "/",
  mode: "async",
  durability: "accepted",
  attempts: 3,
  maxAttempts: 3,
  reason: "attempts-exhausted",
  message: null,
  arrivedAtMs: 1_000,
  deadAtMs: 2_000,
  keepUntilMs: 600_000,
  timeoutMs: 60_000,
  bodyBytes: 4,
  bodyKept: true,
  replay: null,
  headers: [["content-type", "text/plain"]],
  body: { encoding: "utf8", content: "body", isTruncated: false },
  history: [{ atMs: 1_000, what: "arrived (async)" }],
  ...given
})

export const instanceReport = (given: Partial<InstanceReport> & { readonly instanceId: string }): InstanceReport => ({
  functionId: "00000000-0000-4000-8000-000000000001",
  versionId: "00000000-0000-4000-8000-000000000002",
  generation: 1,
  cluster: "local",
  state: "ready",
  phase: "ready",
  requestedAtMs: 1_000,
  startedAtMs: 1_050,
  readyAtMs: 1_100,
  endedAtMs: null,
  pid: 4711,
  detail: "",
  retryable: true,
  ...given
})
