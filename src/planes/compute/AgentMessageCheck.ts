/**
 * Reads the messages of `AgentMessage` that come with every start and every change of demand. What is as its schema
 * says is known by a check written by hand, at a tenth of the price; all else goes to the schema, which has the last word
 * and says what is wrong. No bytes go unchecked: these messages also come from other processes.
 *
 * Laws (`tests/compute/AgentMessageCheck.laws.test.ts`): D1 what the check takes, the schema takes, as the same value but for
 * fields that nobody knows. D2 what the schema writes, the check takes, but for orders with a chart or a health path.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Message, type Read } from "../fabric/Message.ts"
import {
  AgentReport,
  CreateInstance,
  DemandReport,
  DemandSnapshot,
  Drain,
  type InstanceReport,
  TerminateInstance,
  WorkerReport
} from "./AgentMessage.ts"

const text = new TextDecoder()

/** `isAsWritten`: the check that spares the schema; absent where messages are rare. */
export const reader = <A, I>(schema: Schema.Codec<A, I>, isAsWritten?: (value: unknown) => value is A): Read<A> => {
  const decode = Schema.decodeUnknownResult(schema)
  const read: Read<A> = (payload) => {
    if (payload instanceof Message) {
      const told = payload.valueFor(read)
      return told === undefined ? read(payload.bytes) : Result.succeed(told)
    }
    let value: unknown
    try {
      value = JSON.parse(text.decode(payload))
    } catch (cause) {
      return Result.fail(`it is no JSON: ${String(cause)}`)
    }
    return isAsWritten?.(value) === true ? Result.succeed(value) : Result.mapError(decode(value), String)
  }
  return read
}

type Fields = Readonly<Record<string, unknown>>

/** No array: whether one passes for a record is the schema's to say. */
const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isText = (value: unknown): value is string => typeof value === "string"
const isInt = (value: unknown): value is number => Number.isSafeInteger(value)
const isNumber = (value: unknown): value is number => typeof value === "number"
const isNumberOrNull = (value: unknown): boolean => value === null || typeof value === "number"
const isIntOrNull = (value: unknown): boolean => value === null || Number.isSafeInteger(value)
const isIntOrAbsent = (value: unknown): boolean => value === undefined || Number.isSafeInteger(value)
const isTextOrAbsent = (value: unknown): boolean => value === undefined || typeof value === "string"

const isRecordOf = (value: unknown, isOne: (one: unknown) => boolean): boolean => {
  if (!isFields(value)) return false
  for (const key in value) if (!isOne(value[key])) return false
  return true
}

const isListOf = (value: unknown, isOne: (one: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(isOne)

const isTextsOrAbsent = (value: unknown): boolean => value === undefined || isListOf(value, isText)

export const isCreateInstance = (value: unknown): value is CreateInstance =>
  isFields(value) &&
  isText(value["instanceId"]) &&
  isText(value["tenant"]) &&
  isText(value["functionId"]) &&
  isText(value["functionName"]) &&
  isText(value["versionId"]) &&
  isInt(value["generation"]) &&
  isListOf(value["command"], isText) &&
  isTextOrAbsent(value["image"]) &&
  // Seldom, and with parts of their own: the schema's to say.
  value["health"] === undefined &&
  value["chart"] === undefined &&
  isTextOrAbsent(value["workingDirectory"]) &&
  isRecordOf(value["environment"], isText) &&
  isInt(value["concurrency"]) &&
  isFields(value["gpu"]) &&
  isText(value["gpu"]["kind"]) &&
  isInt(value["gpu"]["count"]) &&
  isText(value["instanceType"]) &&
  isInt(value["cpuMillis"]) &&
  isInt(value["memoryBytes"]) &&
  isInt(value["startDeadlineMs"]) &&
  isInt(value["graceMs"]) &&
  isNumber(value["decidedAtMs"]) &&
  isIntOrAbsent(value["epoch"]) &&
  isText(value["reason"])

export const isTerminateInstance = (value: unknown): value is TerminateInstance =>
  isFields(value) &&
  isText(value["instanceId"]) &&
  isText(value["versionId"]) &&
  isInt(value["drainMs"]) &&
  isInt(value["graceMs"]) &&
  isIntOrAbsent(value["epoch"]) &&
  isText(value["reason"])

const states: ReadonlySet<unknown> = new Set<InstanceReport["state"]>([
  "requested",
  "starting",
  "ready",
  "draining",
  "stopped",
  "failed"
])

const isInstanceReport = (value: unknown): value is InstanceReport =>
  isFields(value) &&
  isText(value["instanceId"]) &&
  isText(value["functionId"]) &&
  isText(value["versionId"]) &&
  isInt(value["generation"]) &&
  isText(value["cluster"]) &&
  states.has(value["state"]) &&
  isText(value["phase"]) &&
  isNumber(value["requestedAtMs"]) &&
  isNumberOrNull(value["startedAtMs"]) &&
  isNumberOrNull(value["readyAtMs"]) &&
  isNumberOrNull(value["endedAtMs"]) &&
  isIntOrNull(value["pid"]) &&
  isText(value["detail"]) &&
  typeof value["retryable"] === "boolean"

const isInstanceType = (value: unknown): boolean =>
  isFields(value) &&
  isText(value["name"]) &&
  isText(value["gpuKind"]) &&
  isInt(value["gpuCount"]) &&
  isInt(value["total"]) &&
  isInt(value["free"])

const isPartOrAbsent = (value: unknown): boolean =>
  value === undefined || (isFields(value) && isInt(value["index"]) && isInt(value["count"]))

export const isAgentReport = (value: unknown): value is AgentReport => {
  if (!isFields(value) || !isText(value["cluster"]) || !isIntOrAbsent(value["agentEpoch"])) return false
  if (value["_tag"] === "InstanceChanged") return isInstanceReport(value["instance"])
  return (
    value["_tag"] === "Heartbeat" &&
    isText(value["region"]) &&
    isTextOrAbsent(value["group"]) &&
    isTextsOrAbsent(value["attributes"]) &&
    isTextsOrAbsent(value["compliance"]) &&
    isText(value["backend"]) &&
    isText(value["isolation"]) &&
    isListOf(value["instanceTypes"], isInstanceType) &&
    isPartOrAbsent(value["part"]) &&
    isListOf(value["instances"], isInstanceReport)
  )
}

export const isWorkerReport = (value: unknown): value is WorkerReport => {
  if (!isFields(value) || !isText(value["instanceId"]) || !isText(value["versionId"])) return false
  switch (value["_tag"]) {
    case "WorkerReady": {
      const { slots, phases } = value
      return (
        isInt(slots) &&
        isFields(phases) &&
        isNumber(phases["processMs"]) &&
        isNumber(phases["initialiseMs"]) &&
        isNumber(phases["connectMs"])
      )
    }
    case "WorkerHolds":
      return isNumber(value["forMs"])
    default:
      return value["_tag"] === "WorkerDraining" || value["_tag"] === "WorkerGone"
  }
}

export const isDrain = (value: unknown): value is Drain =>
  isFields(value) && isText(value["instanceId"]) && isText(value["versionId"]) && isText(value["reason"])

export const isDemandReport = (value: unknown): value is DemandReport =>
  isFields(value) &&
  isText(value["shard"]) &&
  isText(value["versionId"]) &&
  isInt(value["pending"]) &&
  isInt(value["leased"]) &&
  isRecordOf(value["leasedByInstance"], isInt) &&
  isInt(value["arrivalsTotal"]) &&
  isNumberOrNull(value["oldestPendingMs"])

export const create = reader(CreateInstance, isCreateInstance)
export const terminate = reader(TerminateInstance, isTerminateInstance)
export const agentReport = reader(AgentReport, isAgentReport)
export const workerReport = reader(WorkerReport, isWorkerReport)
export const drain = reader(Drain, isDrain)
export const demandSnapshot = reader(DemandSnapshot)
export const demandReport = reader(DemandReport, isDemandReport)
