/**
 * The dead letters of all shards: listed, shown, replayed, dropped.
 *
 * A replay is a request like any other, under an idempotency key that no caller can send, so that a replay whose answer
 * was lost finds its request. It is on stable storage before the letter is marked; a crash between the two is made good
 * at the next start (`Shards`), from the id of the letter that is stored with the request.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import {
  DeadLetterIncomplete,
  DeadLetterNotFound,
  FunctionNotFound,
  NotDeployed,
  ReplayRefused,
  VersionNotFound,
  VersionOfAnotherFunction
} from "../control/ControlErrors.ts"
import type { Route, RoutingTable } from "../control/RoutingTable.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import { type Body, chunks, emptyBytes } from "./Body.ts"
import type { DeadLetterContent, DeadLetterDirectory, DeadLetterFilter } from "./DeadLetterDirectory.ts"
import type { DeadLetter, DeadLetters, LetterContent } from "./DeadLetters.ts"
import type { Entry } from "./Entry.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Problem from "./Problem.ts"
import { redeliveryOf } from "./Redelivery.ts"
import * as RequestId from "./RequestId.ts"
import type { Shard } from "./Shard.ts"
import type { Shards } from "./Shards.ts"
import { SideLogFailed } from "./SideLog.ts"

const shownBodyBytesMax = 64 * 1024
const hiddenHeaders = new Set(["authorization", "proxy-authorization", "cookie", "x-api-key"])

export interface DeadLetterBookParts {
  readonly shards: Shards
  readonly routes: RoutingTable
  readonly blobs: BlobStore["Service"]
}

interface Target {
  readonly route: Route
  readonly deployment: NonNullable<Route["deployment"]>
}

type Replayed = Effect.Success<ReturnType<DeadLetterDirectory["replay"]>>
type ReplayFailure = Effect.Error<ReturnType<DeadLetterDirectory["replay"]>>

export class DeadLetterBook implements DeadLetterDirectory {
  readonly #parts: DeadLetterBookParts
  /** Replays on their way, so that two at the same time are one. */
  readonly #replaying = new Map<string, Promise<Replayed>>()

  constructor(parts: DeadLetterBookParts) {
    this.#parts = parts
  }

  readonly list: DeadLetterDirectory["list"] = (filter) => {
    const after = cursorOf(filter.after)
    const fitting = this.#parts.shards.all
      .flatMap(({ deadLetters }) => deadLetters.all())
      .filter((letter) => fits(letter, filter) && (after === undefined || latestFirst(after, letter) < 0))
      .sort(latestFirst)
    const items = fitting.slice(0, filter.limit)
    const last = fitting.length > items.length ? items.at(-1) : undefined
    return { items, next: last === undefined ? null : `${last.deadAtMs}.${last.requestId}` }
  }

  readonly get: DeadLetterDirectory["get"] = (tenant, requestId) =>
    Effect.gen({ self: this }, function* () {
      const { shard, letter } = yield* this.#find(tenant, requestId)
      return yield* Effect.tryPromise({
        try: async () => {
          const content = await shard.deadLetters.load(requestId)
          if (content === undefined) throw new DeadLetterNotFound({ requestId })
          return await this.#shown(letter, content)
        },
        catch: readFailure
      })
    })

  readonly replay: DeadLetterDirectory["replay"] = (tenant, requestId, versionId) =>
    Effect.gen({ self: this }, function* () {
      const { shard, letter } = yield* this.#find(tenant, requestId)
      if (letter.replay !== null) return { ...letter.replay, isNew: false }
      if (!letter.bodyKept) return yield* new DeadLetterIncomplete({ requestId })
      const target = yield* this.#target(letter, versionId)
      return yield* Effect.tryPromise({
        try: () => this.#replayOnce(shard.deadLetters, letter, target),
        catch: writeFailure
      })
    })

  readonly drop: DeadLetterDirectory["drop"] = (tenant, requestId) =>
    Effect.gen({ self: this }, function* () {
      const { shard } = yield* this.#find(tenant, requestId)
      const isDropped = yield* Effect.tryPromise({
        try: () => shard.deadLetters.drop(requestId),
        catch: (error) => storeFailure("drop", error)
      })
      if (!isDropped) return yield* new DeadLetterNotFound({ requestId })
    })

  #find(tenant: string, requestId: string) {
    return Effect.suspend(() => {
      for (const shard of this.#parts.shards.all) {
        const letter = shard.deadLetters.get(requestId)
        if (letter?.tenant === tenant) return Effect.succeed({ shard, letter })
      }
      return Effect.fail(new DeadLetterNotFound({ requestId }))
    })
  }

  #target(letter: DeadLetter, versionId: string | undefined) {
    return Effect.gen({ self: this }, function* () {
      const { routes } = this.#parts
      const { functionId } = letter
      const route = versionId === undefined ? routes.byFunctionId(functionId) : routes.byVersionId(versionId)
      if (route === undefined) {
        return yield* versionId === undefined
          ? new FunctionNotFound({ reference: letter.functionName })
          : new VersionNotFound({ versionId })
      }
      if (route.functionId !== functionId) {
        return yield* new VersionOfAnotherFunction({ versionId: route.versionId, functionId })
      }
      const { deployment } = route
      if (deployment === undefined) return yield* new NotDeployed({ versionId: route.versionId })
      return { route, deployment }
    })
  }

  #replayOnce(letters: DeadLetters, letter: DeadLetter, target: Target): Promise<Replayed> {
    const running = this.#replaying.get(letter.requestId)
    if (running !== undefined) return running.then((replay) => ({ ...replay, isNew: false }))
    const replaying = this.#submit(letters, letter, target).finally(() => this.#replaying.delete(letter.requestId))
    this.#replaying.set(letter.requestId, replaying)
    return replaying
  }

  async #submit(letters: DeadLetters, letter: DeadLetter, { route, deployment }: Target): Promise<Replayed> {
    const content = await letters.load(letter.requestId)
    if (content === undefined) throw new DeadLetterNotFound({ requestId: letter.requestId })
    const atMs = nowMs()
    const { shards } = this.#parts
    const index = shards.indexOf(route.versionId)
    const shard = shards.at(index)
    if (shard === undefined)
      throw new ReplayRefused({ requestId: letter.requestId, reason: Problem.shardMoving().detail })
    const newId = RequestId.make(atMs, index)
    const body = await this.#copy(content, newId)
    const requestId = await accepted(shard, {
      requestId: newId,
      tenant: letter.tenant,
      functionId: route.functionId,
      functionName: route.functionName,
      versionId: route.versionId,
      mode: "async",
      durability: route.version.durability,
      deadlineMs: atMs + letter.timeoutMs,
      maxAttempts: deployment.spec.maxAttempts,
      resultRetentionMs: deployment.spec.resultRetentionMs,
      redelivery: redeliveryOf(deployment.spec),
      receivedMs: atMs,
      head: content.head,
      body,
      sizeBytes: letter.bodyBytes + content.head.headers.length * 48,
      // A caller's key has no control characters.
      idempotencyKey: `\u0001replay ${letter.requestId}`,
      fingerprint: undefined,
      replayOf: letter.requestId
    })
    const replay = { requestId, atMs }
    await letters.markReplayed(letter.requestId, replay)
    return { ...replay, isNew: true }
  }

  /** The new request owns its body: the letter may be dropped while it waits. */
  async #copy({ body }: LetterContent, requestId: string): Promise<Body> {
    if (body.kind !== "blob") return { kind: "inline", bytes: body.kind === "none" ? emptyBytes : body.bytes }
    const id = `${requestId}.call`
    const writer = await this.#parts.blobs.create(id)
    try {
      for await (const bytes of this.#parts.blobs.read(body.id)) await writer.write(bytes)
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
    return { kind: "blob", id }
  }

  async #shown(letter: DeadLetter, { head, body, history }: LetterContent): Promise<DeadLetterContent> {
    const headers = head.headers.map(([name, value]) => [name, hiddenHeaders.has(name) ? "(hidden)" : value] as const)
    if (body.kind === "none") return { ...letter, headers, history, body: null }
    const parts: Array<Uint8Array> = []
    let count = 0
    for await (const bytes of chunks(this.#parts.blobs, body)) {
      parts.push(bytes)
      count += bytes.length
      if (count > shownBodyBytesMax) break
    }
    const bytes = Buffer.concat(parts).subarray(0, shownBodyBytesMax)
    const text = bytes.toString("utf8")
    const isText = Buffer.from(text, "utf8").equals(bytes)
    return {
      ...letter,
      headers,
      history,
      body: {
        encoding: isText ? "utf8" : "base64",
        content: isText ? text : bytes.toString("base64"),
        isTruncated: letter.bodyBytes > bytes.length
      }
    }
  }
}

/** Resolves with the id of the request when it is on stable storage. */
const accepted = (shard: Shard, call: Parameters<Shard["submit"]>[0]): Promise<string> =>
  new Promise((resolve, reject) => {
    const refuse = ({ detail }: Problem.Problem) =>
      reject(new ReplayRefused({ requestId: call.replayOf ?? "", reason: detail }))
    // Its key makes it the same replay again.
    const moved = () => refuse(Problem.ownerChanging())
    shard.submit(call, {
      accepted: () => resolve(call.requestId),
      refused: refuse,
      joined: (original: Entry) => {
        original.onStored(() => resolve(original.requestId))
        original.onEnd(() => {
          if (original.hasMoved) moved()
        })
      },
      moved,
      // Nobody waits for the answer: it is kept for a claim.
      head: () => {},
      chunk: () => true,
      done: () => {},
      whole: () => {},
      ended: ({ terminal }) =>
        reject(new ReplayRefused({ requestId: call.replayOf ?? "", reason: `the new request ended as ${terminal}` }))
    })
  })

/** Latest death first; ids decide between deaths in the same millisecond. */
const latestFirst = (
  left: Pick<DeadLetter, "deadAtMs" | "requestId">,
  right: Pick<DeadLetter, "deadAtMs" | "requestId">
): number =>
  right.deadAtMs - left.deadAtMs || (left.requestId < right.requestId ? 1 : left.requestId > right.requestId ? -1 : 0)

const cursorOf = (after: string | undefined) => {
  if (after === undefined) return undefined
  // The id is the last 36 characters; before it a time, with a fraction.
  const deadAtMs = Number(after.slice(0, -37))
  // What is no cursor begins at the end, so that nobody reads a page twice for ever.
  return { deadAtMs: Number.isFinite(deadAtMs) ? deadAtMs : 0, requestId: after.slice(-36) }
}

const fits = (letter: DeadLetter, filter: DeadLetterFilter): boolean =>
  letter.tenant === filter.tenant &&
  (filter.functionId === undefined || letter.functionId === filter.functionId) &&
  (filter.versionId === undefined || letter.versionId === filter.versionId) &&
  (filter.replayed === undefined || (letter.replay !== null) === filter.replayed)

const unavailable = (operation: string, error: unknown): FabricUnavailable =>
  error instanceof FabricUnavailable
    ? error
    : new FabricUnavailable({
        port: "DeadLetters",
        operation,
        reason: error instanceof Error ? error.message : String(error),
        retryable: false
      })

const storeFailure = (operation: string, error: unknown): FabricUnavailable | OutcomeUnknown =>
  error instanceof SideLogFailed && error.outcome === "unknown"
    ? new OutcomeUnknown({ port: "DeadLetters", operation, reason: error.message })
    : unavailable(operation, error)

const readFailure = (error: unknown): DeadLetterNotFound | FabricUnavailable =>
  error instanceof DeadLetterNotFound ? error : unavailable("read", error)

const writeFailure = (error: unknown): ReplayFailure =>
  error instanceof DeadLetterNotFound || error instanceof ReplayRefused ? error : storeFailure("replay", error)
