/**
 * A cluster of nodes with GPUs, for a backend that has none: which node an instance gets, how long each phase of its start
 * takes, and what breaks. Who really runs behind an instance, if anybody, is the caller's business: it is told when to
 * begin (`Began`) and says when it is over (`ProcessEnded`).
 *
 * Laws (`property-tests/GpuCluster.laws.test.ts`): M1 no GPU and no slot is handed out twice, and all that is not in use, broken
 * or on a node that is down is free. M2 as many more are accepted as `room` says. M3 every accepted instance ends once, and
 * begins at most once, before that. M4 the same seed and events give the same commands. M5 nothing runs on a node that is
 * down.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as DueMap from "../collections/DueMap.ts"
import { invariant } from "../collections/invariant.ts"
import * as Table from "../collections/Table.ts"
import * as Instances from "./GpuClusterInstance.ts"
import * as NodePacking from "./NodePacking.ts"
import * as Random from "./Random.ts"
import * as StartModel from "./StartModel.ts"

export interface NodeGroup extends NodePacking.Nodes {
  /** `none`: nodes without GPUs. */
  readonly gpuKind: string
}

/** What goes wrong by itself. Shares 0 to 1 of all starts; rates per hour of one GPU or one node. */
export interface FaultRates {
  readonly imagePullShare: number
  readonly outOfMemoryShare: number
  readonly slowStartShare: number
  readonly xidPerGpuHour: number
  readonly nodeLossPerNodeHour: number
  readonly spotLossPerNodeHour: number
}

export const noFaults: FaultRates = {
  imagePullShare: 0,
  outOfMemoryShare: 0,
  slowStartShare: 0,
  xidPerGpuHour: 0,
  nodeLossPerNodeHour: 0,
  spotLossPerNodeHour: 0
}

export interface Options {
  readonly seed: number
  readonly groups: ReadonlyArray<NodeGroup>
  /** Of instances without and with GPUs. */
  readonly start: StartModel.StartModel
  readonly gpuStart: StartModel.StartModel
  readonly rates: FaultRates
}

/** What a person or a script breaks. `group` and `node` count from 0. */
export type Fault =
  /** The next `count` starts cannot have their image, or run out of memory when they began. */
  | { readonly kind: "image-pull" | "out-of-memory"; readonly count: number }
  /** A GPU under this instance breaks; of some numbers it stays broken until its node is repaired. */
  | { readonly kind: "xid"; readonly instanceId: string; readonly xid: number }
  | { readonly kind: "node-loss" | "spot-loss"; readonly group: number; readonly node: number }
  | { readonly kind: "node-repaired"; readonly group: number; readonly node: number }
  /** Starts from now on take `factor` times as long; 1 ends it. */
  | { readonly kind: "slow-start"; readonly factor: number }

/** After these the GPU is of no use until somebody looks at it. Source: NVIDIA XID Errors, actions of the catalogue. */
const lastingXids = new Set([48, 64, 74, 79, 95, 119])
/** "GPU has fallen off the bus", the one that rates draw. */
const commonXid = 79
const slowFactor = 10
const memoryFaultAfterMs = 500
const hourMs = 3_600_000
const nodeReturnMs = 10 * 60_000

export type Cause =
  | { readonly kind: "image-pull" | "out-of-memory" }
  | { readonly kind: "xid"; readonly xid: number; readonly node: string }
  | { readonly kind: "spot-loss" | "node-loss"; readonly node: string }

export interface State {
  readonly options: Options
  readonly packings: ReadonlyArray<NodePacking.NodePacking>
  readonly instances: Table.Table<Instances.Row>
  readonly due: DueMap.DueMap<number>
  /** By number of the node over all groups: what happens to it by itself, and when. */
  readonly nodeDue: DueMap.DueMap<Instances.NodeFate>
  readonly down: ReadonlySet<number>
  /** GPUs that stay broken, by number of the node. */
  readonly broken: ReadonlyMap<number, number>
  readonly slowness: number
  readonly imagePullsToFail: number
  readonly memoriesToFail: number
  /** What the generators of instances are split from; never drawn from. */
  readonly random: Random.Random
}

export type Event = Data.TaggedEnum<{
  /** Refused when there is no room, and when the id is there already. */
  Asked: { readonly nowMs: number; readonly instanceId: string; readonly gpuKind: string; readonly gpuCount: number }
  /** Its room is free at once: of one that began, its process has ended. */
  ProcessEnded: { readonly nowMs: number; readonly instanceId: string }
  Ticked: { readonly nowMs: number }
  Faulted: { readonly nowMs: number; readonly fault: Fault }
}>
export const Event = Data.taggedEnum<Event>()

export type Command = Data.TaggedEnum<{
  Refuse: { readonly instanceId: string }
  EnterPhase: { readonly instanceId: string; readonly phase: string }
  Began: { readonly instanceId: string; readonly node: string }
  /** Whatever runs behind it must be ended, if anything does. */
  Ended: { readonly instanceId: string; readonly cause: Cause }
}>
export const Command = Data.taggedEnum<Command>()

type Step = readonly [State, ReadonlyArray<Command>]

/** `nowMs`: from here on nodes may be lost. */
export const make = (options: Options, nowMs: number): State => {
  const empty: State = {
    options,
    packings: options.groups.map(NodePacking.make),
    instances: Table.empty(),
    due: DueMap.empty(),
    nodeDue: DueMap.empty(),
    down: new Set(),
    broken: new Map(),
    slowness: 1,
    imagePullsToFail: 0,
    memoriesToFail: 0,
    random: Random.split(Random.make(options.seed), "instance")
  }
  const count = options.groups.reduce((sum, group) => sum + group.nodes, 0)
  const numbers = Array.from({ length: count }, (_, number) => number)
  return numbers.reduce((state, number) => withFate(state, number, nowMs), empty)
}

/** See `IntMap`: of a state that nobody else holds, whatever was made by this edit can be written to. */
const ownEdit = 1

/**
 * `isOwn`: nobody else holds `state` nor one before it, and it must not be used again: what starts and ends is then written
 * into its maps and its figures of the nodes, which are copied otherwise.
 */
export const step = (state: State, event: Event, isOwn = false): Step => {
  const edit = isOwn ? ownEdit : 0
  switch (event._tag) {
    case "Asked":
      return ask(state, event, edit)
    case "ProcessEnded":
      return [leave(state, event.instanceId, edit), none]
    case "Ticked":
      return tick(state, event.nowMs, edit)
    case "Faulted":
      return applyFault(state, event.nowMs, event.fault)
    default:
      return Instances.unreachable(event)
  }
}

const none: ReadonlyArray<Command> = []

// --- queries ---------------------------------------------------------------------------------------------------------

/** Instances of so many GPUs of this kind that would be accepted now. */
export const room = (state: State, gpuKind: string, gpuCount: number): number =>
  state.packings.reduce(
    (sum, packing, group) =>
      gpuCount === 0 || state.options.groups[group]!.gpuKind === gpuKind
        ? sum + NodePacking.room(packing, gpuCount)
        : sum,
    0
  )

/** When a `Ticked` changes something; undefined: never. */
export const wakeAtMs = (state: State): number | undefined => {
  const instances = DueMap.nextMs(state.due)
  const nodes = DueMap.nextMs(state.nodeDue)
  return instances === undefined ? nodes : nodes === undefined ? instances : Math.min(instances, nodes)
}

/** Where it is: for people. */
export const nodeOf = (state: State, instanceId: string): string | undefined => {
  const row = rowOf(state, instanceId)
  return row === undefined ? undefined : nodeName(state, row.group, row.node)
}

export const nodeName = ({ options }: State, group: number, node: number): string => {
  const { gpuKind } = options.groups[group]!
  return `${gpuKind === "none" ? "cpu" : gpuKind.toLowerCase()}-${node}`
}

// --- lives -----------------------------------------------------------------------------------------------------------

const rowOf = (state: State, instanceId: string): Instances.Row | undefined => {
  const number = Table.find(state.instances, instanceId)
  return number === undefined ? undefined : Table.row(state.instances, number)
}

const ask = (
  state: State,
  { nowMs, instanceId, gpuKind, gpuCount }: Extract<Event, { readonly _tag: "Asked" }>,
  edit: number
): Step => {
  const group = state.packings.findIndex(
    (packing, index) =>
      (gpuCount === 0 || state.options.groups[index]!.gpuKind === gpuKind) && NodePacking.room(packing, gpuCount) > 0
  )
  if (group < 0 || Table.find(state.instances, instanceId) !== undefined)
    return [state, [Command.Refuse({ instanceId })]]
  const { options } = state
  const random = Random.split(state.random, state.instances.next)
  const model = gpuCount === 0 ? options.start : options.gpuStart
  const isSlow = Random.uniform(random) < options.rates.slowStartShare
  const failsImage = state.imagePullsToFail > 0 || Random.uniform(random) < options.rates.imagePullShare
  const failsMemory = state.memoriesToFail > 0 || Random.uniform(random) < options.rates.outOfMemoryShare
  const gpuHours = options.rates.xidPerGpuHour * gpuCount
  const slowness = state.slowness * (isSlow ? slowFactor : 1)
  const node = NodePacking.freeNode(state.packings[group]!, gpuCount)
  const row: Instances.Row = {
    instanceId,
    group,
    node,
    gpuCount,
    phases: model.phases.map(({ name }) => name),
    phaseMs: StartModel.drawPhases(random, model).map((ms) => ms * slowness),
    phase: -1,
    failsImage,
    failsMemory,
    // Drawn for every instance, so that a rate of one fault changes no other.
    xidAfterMs: Random.exponential(random, gpuHours > 0 ? hourMs / gpuHours : Number.POSITIVE_INFINITY),
    dueMs: nowMs
  }
  const placed: State = {
    ...state,
    packings: withTaken(state.packings, row, 1, edit),
    instances: Table.add(state.instances, instanceId, row, edit),
    due: DueMap.set(state.due, state.instances.next, nowMs, nowMs, edit),
    imagePullsToFail: Math.max(0, state.imagePullsToFail - 1),
    memoriesToFail: failsImage ? state.memoriesToFail : Math.max(0, state.memoriesToFail - 1)
  }
  return advance(placed, state.instances.next, nowMs, edit)
}

/** What is due for it at `nowMs`: its next phase, its begin, or its end. */
const advance = (state: State, number: number, nowMs: number, edit: number): Step => {
  const row = Table.row(state.instances, number)
  invariant(row !== undefined, "an instance for which something is due is there")
  const { instanceId } = row
  if (Instances.isRunning(row)) {
    const cause: Cause = row.failsMemory
      ? { kind: "out-of-memory" }
      : { kind: "xid", xid: commonXid, node: nodeName(state, row.group, row.node) }
    return end(state, row, cause)
  }
  // A pull that fails has taken the time of one that does not.
  if (row.phase >= 0 && row.failsImage) return end(state, row, { kind: "image-pull" })
  const phase = row.phase + 1
  if (phase < row.phases.length) {
    const dueMs = nowMs + row.phaseMs[phase]!
    const next = put(state, number, { ...row, phase, dueMs }, edit)
    return [next, [Command.EnterPhase({ instanceId, phase: row.phases[phase]! })]]
  }
  const dueMs = nowMs + (row.failsMemory ? memoryFaultAfterMs : row.xidAfterMs)
  const next = put(state, number, { ...row, phase, dueMs }, edit)
  return [next, [Command.Began({ instanceId, node: nodeName(state, row.group, row.node) })]]
}

const put = (state: State, number: number, row: Instances.Row, edit: number): State => ({
  ...state,
  instances: Table.replace(state.instances, number, row, edit),
  due: DueMap.set(state.due, number, row.dueMs, row.dueMs, edit)
})

const end = (state: State, row: Instances.Row, cause: Cause): Step => {
  const { instanceId } = row
  const left = leave(state, instanceId)
  return [breaksGpu(row, cause) ? breakGpu(left, row) : left, [Command.Ended({ instanceId, cause })]]
}

const leave = (state: State, instanceId: string, edit = 0): State => {
  const number = Table.find(state.instances, instanceId)
  const row = number === undefined ? undefined : Table.row(state.instances, number)
  if (number === undefined || row === undefined) return state
  return {
    ...state,
    packings: withTaken(state.packings, row, -1, edit),
    instances: Table.drop(state.instances, instanceId, number, edit),
    due: DueMap.remove(state.due, number, edit)
  }
}

const withTaken = (
  packings: ReadonlyArray<NodePacking.NodePacking>,
  { group, node, gpuCount }: Instances.Row,
  sign: 1 | -1,
  edit: number
) => {
  if (edit !== 0) {
    NodePacking.take(packings[group]!, node, gpuCount, sign)
    return packings
  }
  const next = NodePacking.copyToTake(packings[group]!, gpuCount)
  NodePacking.take(next, node, gpuCount, sign)
  return packings.with(group, next)
}

const withChanged = (
  packings: ReadonlyArray<NodePacking.NodePacking>,
  group: number,
  change: (packing: NodePacking.NodePacking) => void
) =>
  packings.map((packing, index) => {
    if (index !== group) return packing
    const next = NodePacking.copy(packing)
    change(next)
    return next
  })

const tick = (state: State, nowMs: number, edit: number): Step => {
  const [due, numbers] = DueMap.takeDue(state.due, nowMs, (dueMs) => dueMs, edit)
  const [nodeDue, nodes] = DueMap.takeDue(state.nodeDue, nowMs, (fate) => fate.atMs)
  let next: State = { ...state, due, nodeDue }
  const commands: Array<Command> = []
  for (const number of numbers.toSorted((one, other) => one - other)) {
    const [after, more] = advance(next, number, nowMs, edit)
    next = after
    commands.push(...more)
  }
  for (const number of nodes.toSorted((one, other) => one - other)) {
    const fate = DueMap.get(next.nodeDue, number)
    invariant(fate !== undefined, "a node whose fate is due has one")
    const { group, node } = placeOf(next, number)
    const [after, more] = applyFault(next, nowMs, { kind: fate.kind, group, node })
    next = after
    commands.push(...more)
  }
  return [next, commands]
}

// --- faults ----------------------------------------------------------------------------------------------------------

const applyFault = (state: State, nowMs: number, fault: Fault): Step => {
  switch (fault.kind) {
    case "image-pull":
      return [{ ...state, imagePullsToFail: state.imagePullsToFail + Math.max(0, fault.count) }, []]
    case "out-of-memory":
      return [{ ...state, memoriesToFail: state.memoriesToFail + Math.max(0, fault.count) }, []]
    case "slow-start":
      return [{ ...state, slowness: Math.max(0, fault.factor) }, []]
    case "xid": {
      const row = rowOf(state, fault.instanceId)
      if (row === undefined || row.gpuCount === 0) return [state, []]
      const cause: Cause = { kind: "xid", xid: fault.xid, node: nodeName(state, row.group, row.node) }
      return end(state, row, cause)
    }
    case "node-loss":
    case "spot-loss":
      return loseNode(state, nowMs, fault)
    case "node-repaired":
      return [repair(state, nowMs, fault), []]
    default:
      return Instances.unreachable(fault)
  }
}

const breaksGpu = ({ gpuCount }: Instances.Row, cause: Cause): boolean =>
  cause.kind === "xid" && gpuCount > 0 && lastingXids.has(cause.xid)

/** One of the GPUs that the instance gave back is out of use. */
const breakGpu = (state: State, { group, node }: Instances.Row): State => {
  const number = numberOf(state, group, node)
  return {
    ...state,
    broken: new Map(state.broken).set(number, (state.broken.get(number) ?? 0) + 1),
    packings: withChanged(state.packings, group, (packing) => NodePacking.take(packing, node, 1, 1))
  }
}

const loseNode = (
  state: State,
  nowMs: number,
  { kind, group, node }: { readonly kind: "node-loss" | "spot-loss"; readonly group: number; readonly node: number }
): Step => {
  if (!isNode(state, group, node)) return [state, []]
  const number = numberOf(state, group, node)
  if (state.down.has(number)) return [state, []]
  const name = nodeName(state, group, node)
  const lost = Instances.onNode(state.instances, group, node)
  const emptied = lost.reduce((next, { instanceId }) => leave(next, instanceId), state)
  const packings = withChanged(emptied.packings, group, (packing) => {
    const gpus = packing.gpusFree[node]!
    if (gpus > 0) NodePacking.take(packing, node, gpus, 1)
    NodePacking.takeSlots(packing, node, packing.slotsFree[node]!)
  })
  const fate: Instances.NodeFate = { kind: "node-repaired", atMs: nowMs + nodeReturnMs }
  return [
    {
      ...emptied,
      packings,
      down: new Set(state.down).add(number),
      nodeDue: DueMap.set(emptied.nodeDue, number, fate, fate.atMs)
    },
    lost.map(({ instanceId }) => Command.Ended({ instanceId, cause: { kind, node: name } }))
  ]
}

/** All of its GPUs are good again, whether it was down or not. */
const repair = (
  state: State,
  nowMs: number,
  { group, node }: { readonly group: number; readonly node: number }
): State => {
  if (!isNode(state, group, node)) return state
  const number = numberOf(state, group, node)
  const isDown = state.down.has(number)
  const { gpusPerNode, slotsPerNode } = state.options.groups[group]!
  const back = isDown ? gpusPerNode : (state.broken.get(number) ?? 0)
  const packings = withChanged(state.packings, group, (packing) => {
    if (back > 0) NodePacking.take(packing, node, back, -1)
    if (isDown) NodePacking.takeSlots(packing, node, -slotsPerNode)
  })
  const down = new Set(state.down)
  down.delete(number)
  const broken = new Map(state.broken)
  broken.delete(number)
  return withFate({ ...state, packings, down, broken }, number, nowMs)
}

/** Draws when the node is lost by itself. */
const withFate = (state: State, number: number, nowMs: number): State => {
  const { rates, seed } = state.options
  const cleared = { ...state, nodeDue: DueMap.remove(state.nodeDue, number) }
  if (rates.nodeLossPerNodeHour + rates.spotLossPerNodeHour <= 0) return cleared
  const random = Random.split(Random.split(Random.split(Random.make(seed), "node"), number), Math.floor(nowMs))
  const within = (perHour: number) =>
    Random.exponential(random, perHour > 0 ? hourMs / perHour : Number.POSITIVE_INFINITY)
  const lossMs = within(rates.nodeLossPerNodeHour)
  const spotMs = within(rates.spotLossPerNodeHour)
  const fate: Instances.NodeFate = {
    kind: lossMs < spotMs ? "node-loss" : "spot-loss",
    atMs: nowMs + Math.min(lossMs, spotMs)
  }
  return { ...cleared, nodeDue: DueMap.set(cleared.nodeDue, number, fate, fate.atMs) }
}

// --- numbers of nodes ------------------------------------------------------------------------------------------------

const isNode = ({ options }: State, group: number, node: number): boolean => {
  const nodes = options.groups[group]?.nodes ?? 0
  return Number.isInteger(node) && node >= 0 && node < nodes
}

const numberOf = ({ options }: State, group: number, node: number): number =>
  options.groups.slice(0, group).reduce((sum, { nodes }) => sum + nodes, node)

const placeOf = ({ options }: State, number: number): { readonly group: number; readonly node: number } => {
  let node = number
  let group = 0
  while (node >= options.groups[group]!.nodes) node -= options.groups[group++]!.nodes
  return { group, node }
}
