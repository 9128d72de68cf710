/**
 * L8 as non-interference: while there is room, what one tenant is told does not depend on what another sends. Each
 * request has a fate of its own; the first tenant's life is lived with the second's and without it, and compared.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert } from "vitest"
import type { Arrived, Command, Event, RecordRef } from "../src/core/buffer/BufferEvent.ts"
import { type BufferOptions, defaults } from "../src/core/buffer/BufferOptions.ts"
import type { Machine } from "./BufferWorld.ts"

interface Call {
  readonly isFirst: boolean
  readonly mode: Arrived["mode"]
  readonly durability: Arrived["durability"]
  readonly version: string
  readonly key: string | undefined
  readonly fingerprint: string
  readonly serviceClass: "deadline" | "opportunistic"
  readonly fate: "answered" | "failed" | "retried" | "cancelled" | "left" | "detached" | "nothing"
}

const call: fc.Arbitrary<Call> = fc.record({
  isFirst: fc.boolean(),
  mode: fc.constantFrom("sync", "async"),
  durability: fc.constantFrom("accepted", "always", "memory"),
  version: fc.constantFrom("version-0", "version-1"),
  key: fc.constantFrom(undefined, "key-1", "key-2", "0/key-1"),
  fingerprint: fc.constantFrom("print-0", "print-0", "print-1"),
  serviceClass: fc.constantFrom("deadline", "opportunistic"),
  fate: fc.constantFrom("answered", "answered", "failed", "retried", "cancelled", "left", "detached", "nothing")
})

const options: BufferOptions = { ...defaults, redeliveryDelayMs: 5, resultRetentionMs: 100 }

/** What the first tenant hears, in order; tokens and workers are nobody's business. */
const heardByFirst = (machine: Machine, calls: ReadonlyArray<Call>, isAlone: boolean): ReadonlyArray<string> => {
  let state = machine.empty(options)
  let nowMs = 1_000
  const heard: Array<string> = []
  const leases = new Map<number, { readonly workerId: string; readonly token: number }>()
  const send = (event: Event): void => {
    const [next, commands] = machine.step(state, event)
    state = next
    const records: Array<RecordRef> = []
    for (const command of commands) {
      if (command._tag === "Append") records.push(command.ref)
      if (command._tag === "Assign") leases.set(command.sequence, command)
      if (isTold(command) && calls[command.sequence - 1]?.isFirst === true) {
        heard.push(JSON.stringify({ ...command, token: 0, workerId: "", instanceId: "" }))
      }
    }
    if (records.length > 0) send({ _tag: "Persisted", nowMs, records })
  }
  for (const version of ["version-0", "version-1"]) {
    const of = { workerId: `of ${version}`, instanceId: "instance", version, slots: 1_000, holds: [] }
    send({ _tag: "WorkerJoined", nowMs, ...of })
  }
  for (const [index, each] of calls.entries()) {
    nowMs += 7
    send({ _tag: "Ticked", nowMs })
    if (isAlone && !each.isFirst) continue
    const sequence = index + 1
    send(arrivedOf(each, sequence, nowMs))
    const lease = leases.get(sequence)
    if (lease !== undefined) for (const event of eventsOf(each.fate, { nowMs, sequence, ...lease })) send(event)
  }
  send({ _tag: "Ticked", nowMs: nowMs + 1_000 })
  return heard
}

type Told = Exclude<Command, { readonly _tag: "DemandChanged" | "Append" }>

const isTold = (command: Command): command is Told => command._tag !== "DemandChanged" && command._tag !== "Append"

const arrivedOf = (call: Call, sequence: number, nowMs: number): Arrived => {
  const { isFirst, mode, durability, version, serviceClass, key, fingerprint } = call
  const keyed = key === undefined ? {} : { idempotencyKey: key, fingerprint }
  return {
    _tag: "Arrived",
    nowMs,
    sequence,
    requestId: `request-${sequence}`,
    tenant: isFirst ? "tenant-0" : "tenant-1",
    version,
    mode,
    durability,
    deadlineMs: nowMs + 500,
    sizeBytes: 1,
    maxAttempts: 2,
    serviceClass,
    ...keyed
  }
}

interface Of {
  readonly nowMs: number
  readonly sequence: number
  readonly workerId: string
  readonly token: number
}

const eventsOf = (fate: Call["fate"], { nowMs, sequence, workerId, token }: Of): ReadonlyArray<Event> => {
  const of = { nowMs, sequence, workerId, token }
  switch (fate) {
    case "answered":
      return [
        { _tag: "ResponseStarted", ...of },
        { _tag: "ResponseEnded", ...of, resultBytes: 1 }
      ]
    case "failed":
      return [{ _tag: "AttemptFailed", ...of, retryable: false, message: "it threw" }]
    case "retried":
      return [{ _tag: "AttemptFailed", ...of, retryable: true, message: "it stumbled" }]
    case "cancelled":
      return [{ _tag: "CancelRequested", nowMs, sequence }]
    case "left":
      return [{ _tag: "CallerLeft", nowMs, sequence, cancel: sequence % 2 === 0 }]
    case "detached":
      return [{ _tag: "Detached", nowMs, sequence }]
    case "nothing":
      return []
  }
}

export const tenantsAreApart = (machine: Machine) =>
  fc.property(fc.array(call, { maxLength: 30, size: "max" }), (calls) => {
    assert.deepStrictEqual(heardByFirst(machine, calls, false), heardByFirst(machine, calls, true))
  })
