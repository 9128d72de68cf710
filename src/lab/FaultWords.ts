/**
 * Faults by the words of `--fault`: `instance-dies@60s`, `cluster-lost@5m-7m`, `slow-start@1m-10m:2x4`. After the times
 * the number of the cluster or function (from 1; default 1), after `x` the factor.
 *
 * @module
 */
import type { Fault } from "../core/simulation/Scenario.ts"
import { parse as parseDuration } from "./Duration.ts"

const form = /^([a-z-]+)@([\d.]+[a-z]+)(?:-([\d.]+[a-z]+))?(?::(\d+))?(?:x([\d.]+))?$/

export const help =
  "KIND@TIME[-TIME][:NUMBER][xFACTOR], KIND one of instance-dies, cluster-lost, partition, slow-start, " +
  "telemetry-lost, agent-restart"

/** Undefined: it does not say a fault. */
export const parse = (words: string): Fault | undefined => {
  const parts = form.exec(words)
  if (parts === null) return undefined
  const [, kind, from, to, number, factor] = parts
  const atMs = parseDuration(from ?? "")
  const endMs = to === undefined ? undefined : parseDuration(to)
  const index = Number(number ?? "1") - 1
  if (atMs === undefined || index < 0) return undefined
  switch (kind) {
    case "instance-dies":
      return number === undefined ? { kind, atMs } : { kind, atMs, function: index }
    case "agent-restart":
      return { kind, atMs, cluster: index }
    case "cluster-lost":
    case "partition":
      return endMs === undefined ? undefined : { kind, atMs, toMs: endMs, cluster: index }
    case "slow-start":
      return endMs === undefined
        ? undefined
        : { kind, atMs, toMs: endMs, cluster: index, factor: Number(factor ?? "4") }
    case "telemetry-lost":
      return endMs === undefined ? undefined : { kind, atMs, toMs: endMs, function: index }
    default:
      return undefined
  }
}
