import { describe, expect, it } from "vitest"
import { launchedAtMs, pod, request, running, terminated, waiting } from "../../../tests/backends/kubernetes/objects.ts"
import type { InstanceRequest } from "./InstanceRequest.ts"
import { type Action, type ChartState, type Facts, forceAfterMs, type Plan, plan, unfinishedLaunchMs } from "./Plan.ts"
import { thresholdsDefault } from "./PodState.ts"
import type { PodView } from "./PodView.ts"

const hour = 3_600_000

const planAt = (ms: number, one: InstanceRequest, its?: PodView, facts: Partial<Facts> = {}): Plan =>
  plan(one, its, {
    nowMs: launchedAtMs + ms,
    thresholds: thresholdsDefault,
    suspicion: undefined,
    isPodGone: false,
    lastPod: undefined,
    failureKeptMs: hour,
    chart: undefined,
    ...facts
  })

const tags = ({ actions }: Plan) => actions.map((action) => action._tag)
const written = (actions: ReadonlyArray<Action>) =>
  actions.flatMap((action) => (action._tag === "WriteStatus" ? [action.status] : []))[0]

/** What the request is after its status was written. */
const carriedOut = (one: InstanceRequest, { actions }: Plan): InstanceRequest => {
  const status = written(actions)
  return status === undefined ? one : { ...one, phase: status.phase, instance: status.instance }
}

describe("the plan for a request", () => {
  it("nothing is done about a launch whose secrets are not in, until it is given up", () => {
    const one = request({ phase: "" })
    expect(tags(planAt(0, one))).toEqual([])
    expect(planAt(0, one).wakeAtMs).toBe(launchedAtMs + unfinishedLaunchMs)
    expect(tags(planAt(unfinishedLaunchMs, one))).toEqual(["Release"])
  })

  it("R1: a request that was never carried out gets a Pod, once", () => {
    expect(tags(planAt(0, request()))).toEqual(["CreatePod"])
    expect(tags(planAt(0, request({ instance: { podUid: "pod-1" } })))).toEqual(["ConfirmPodGone"])
  })

  it("R1: a Pod of a stranger under its name is left alone, and said", () => {
    const stranger = planAt(0, request(), pod({ ownerUid: "other", labels: {} }))
    expect(tags(stranger)).toEqual(["WriteStatus"])
    expect(written(stranger.actions)?.instance.end?.cause).toBe("name-taken")
  })

  it("R1: a Pod of an earlier life is ended before the next one is made", () => {
    expect(tags(planAt(0, request(), pod({ ownerUid: "earlier" })))).toEqual(["DeletePod"])
    expect(tags(planAt(0, request(), pod({ ownerUid: "earlier", deletionAtSeconds: 1 })))).toEqual([])
  })

  it("R4: what was written is not written again", () => {
    const one = request()
    const its = pod({ status: running(3) })
    const first = planAt(10_000, one, its)
    expect(written(first.actions)).toMatchObject({
      phase: "RequestCompleted",
      instance: { status: "running", node: "node-1" }
    })
    expect(tags(planAt(11_000, carriedOut(one, first), its))).toEqual([])
  })

  it("R2: an end by itself is written, then the Pod goes, then the failure is kept for an hour", () => {
    const one = request()
    const its = pod({ status: terminated({ exitCode: 7 }) })
    const first = planAt(10_000, one, its)
    expect(tags(first)).toEqual(["WriteStatus"])
    expect(written(first.actions)).toMatchObject({ phase: "RequestFailed", instance: { end: { requested: false } } })
    const ended = carriedOut(one, first)
    expect(tags(planAt(10_000, ended, its))).toEqual(["DeletePod"])
    const acknowledged = planAt(10_000, ended)
    expect(written(acknowledged.actions)?.phase).toBe("RequestFailureAcknowledged")
    expect(tags(planAt(20_000, carriedOut(ended, acknowledged)))).toEqual([])
    expect(tags(planAt(10_000 + hour, carriedOut(ended, acknowledged)))).toEqual(["Release"])
  })

  it("work that is done with code 0 is completed and released", () => {
    const one = request()
    const first = planAt(10_000, one, pod({ status: terminated({ exitCode: 0 }, "Succeeded") }))
    expect(written(first.actions)?.phase).toBe("RequestCompleted")
    expect(tags(planAt(10_000, carriedOut(one, first)))).toEqual(["Release"])
  })

  it("an order to end asks with its grace in whole seconds, once, and again only for a shorter one", () => {
    const deletes = (graceMs: number, deletionAtSeconds?: number) =>
      planAt(10_000, request({ graceMs, instance: { startedAtMs: launchedAtMs + 3_000 } }), {
        ...pod({ status: running(3), ...(deletionAtSeconds === undefined ? {} : { deletionAtSeconds }) })
      }).actions.flatMap((action) => (action._tag === "DeletePod" ? [action.graceSeconds] : []))
    expect(deletes(1_500)).toEqual([2])
    expect(deletes(0)).toEqual([1])
    expect(deletes(600_000, 610)).toEqual([])
    expect(deletes(0, 610)).toEqual([1])
  })

  it("a Pod whose node does not answer is forgotten only long after its grace", () => {
    const one = request({ graceMs: 0, instance: { startedAtMs: launchedAtMs + 3_000 } })
    const its = pod({ status: running(3), deletionAtSeconds: 5 })
    expect(planAt(6_000, one, its).wakeAtMs).toBe(launchedAtMs + 5_000 + forceAfterMs)
    expect(planAt(5_000 + forceAfterMs, one, its).actions).toEqual([
      { _tag: "DeletePod", uid: "pod-1", graceSeconds: 0 }
    ])
  })

  it("R3: that a Pod is gone is asked before it is believed, and its end is the last that was seen", () => {
    const one = request({ graceMs: 100, instance: { podUid: "pod-1", startedAtMs: launchedAtMs } })
    expect(tags(planAt(10_000, one))).toEqual(["ConfirmPodGone"])
    const lastPod = pod({ status: terminated({ exitCode: 0 }), deletionAtSeconds: 9 })
    const gone = planAt(10_000, one, undefined, { isPodGone: true, lastPod })
    expect(written(gone.actions)?.instance.end).toMatchObject({ exit: { kind: "code", code: 0 }, requested: true })
    const vanished = planAt(10_000, request({ instance: { podUid: "pod-1" } }), undefined, { isPodGone: true })
    expect(written(vanished.actions)?.instance.end).toMatchObject({ cause: "instance-not-found", requested: false })
  })

  it("what lasted too long is decided, ended, and told for its cause and not for how it was killed", () => {
    const one = request({ spec: { startDeadlineMs: 30_000 } })
    const its = pod({ status: waiting("ContainerCreating") })
    expect(tags(planAt(30_999, one, its))).toEqual(["WriteStatus"])
    const first = planAt(31_000, one, its)
    expect(tags(first)).toEqual(["WriteStatus", "DeletePod"])
    const decided = carriedOut(one, first)
    expect(decided.instance?.terminationCause).toBe("start-deadline")
    const killed = planAt(
      31_000,
      decided,
      pod({ status: terminated({ exitCode: 137, startedAt: null }), deletionAtSeconds: 31 })
    )
    expect(written(killed.actions)?.instance.end?.exit).toMatchObject({
      kind: "start-failed",
      error: { _tag: "StartDeadlineExceeded", phase: "image", startDeadlineMs: 30_000 }
    })
  })

  it("a request that is deleted by hand ends its instance with the instance's own grace", () => {
    const one = request({ isDeleting: true, instance: { startedAtMs: launchedAtMs } })
    expect(planAt(10_000, one, pod({ status: running(0) })).actions.at(-1)).toMatchObject({
      _tag: "DeletePod",
      graceSeconds: 3
    })
  })

  it("one that is ended before its Pod was made has an end and no Pod", () => {
    const first = planAt(10, request({ graceMs: 0 }))
    expect(written(first.actions)?.instance.end).toMatchObject({ exit: { kind: "lost" }, requested: true })
  })
})

describe("the plan for a Helm function", () => {
  const helm = (parts: Parameters<typeof request>[0] = {}) =>
    request({ ...parts, spec: { chart: { manifests: "", serviceName: "front", servicePort: 80 } } })
  const chart = (is: ChartState["is"], detail = "") => ({ chart: { is, detail } })

  it("R5: its worker waits for its chart, as long as a start may take", () => {
    for (const facts of [{}, chart("installing")]) {
      const next = planAt(0, helm(), undefined, facts)
      expect(tags(next)).toEqual([])
      expect(next.wakeAtMs).toBe(launchedAtMs + 1_000 + helm().spec.startDeadlineMs)
    }
    expect(tags(planAt(0, helm(), undefined, chart("installed")))).toEqual(["CreatePod"])
    const late = planAt(helm().spec.startDeadlineMs + 1_000, helm())
    expect(written(late.actions)?.instance.end).toMatchObject({ cause: "start-deadline" })
  })

  it("R5: a chart that is refused is the end of its start, once the chart is gone: a bad spec with the chart's words", () => {
    const why = chart("refused", "Pod a: privileged is true")
    const first = planAt(0, helm(), undefined, why)
    const decided = carriedOut(helm(), first)
    expect(decided.instance?.end).toBeUndefined()
    expect(tags(planAt(1, decided, undefined, why))).toEqual(["DeleteChart"])
    expect(tags(planAt(2, decided, undefined, chart("ending")))).toEqual([])
    const last = planAt(3, decided)
    expect(tags(last)).toEqual(["WriteStatus"])
    const end = written(last.actions)?.instance.end
    expect(end?.exit).toMatchObject({ kind: "start-failed", error: { _tag: "BadSpec", field: "chart" } })
    expect(JSON.stringify(end)).toContain("privileged is true")
  })

  it.each([
    ["failed", chart("failed", "Deployment model: no progress"), /no progress/],
    ["deleted by somebody", {}, /its MiniService was deleted/]
  ] as const)("its worker ends with a chart that %s, and why is told", (_, facts, why) => {
    const its = pod({ status: running(3) })
    const next = planAt(10_000, helm({ instance: { podUid: its.uid } }), its, facts)
    expect(tags(next)).toEqual(["WriteStatus", "DeletePod"])
    const decided = carriedOut(helm(), next)
    const gone = planAt(11_000, decided, undefined, { isPodGone: true, lastPod: its })
    expect(written(gone.actions)?.instance.end?.exit).toMatchObject({
      kind: "lost",
      detail: expect.stringMatching(why)
    })
  })

  it("R5: asked to end, its worker goes first, then its chart, and then its end is told", () => {
    const its = pod({ status: running(3) })
    const ending = helm({ graceMs: 2_000, instance: { podUid: its.uid, phase: "running", startedAtMs: launchedAtMs } })
    expect(tags(planAt(10_000, ending, its, chart("installed")))).toContain("DeletePod")
    const gone = { isPodGone: true, lastPod: its }
    expect(tags(planAt(11_000, ending, undefined, { ...gone, ...chart("installed") }))).toEqual(["DeleteChart"])
    const waits = planAt(12_000, ending, undefined, { ...gone, ...chart("ending") })
    expect([tags(waits), Number.isFinite(waits.wakeAtMs)]).toEqual([[], true])
    expect(written(planAt(13_000, ending, undefined, gone).actions)?.instance.end).toMatchObject({ requested: true })
  })
})
