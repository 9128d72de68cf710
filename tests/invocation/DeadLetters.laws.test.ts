/**
 * Laws D2 to D4 against a map: few ids, so that about half of all drops and marks meet a letter, and every fourth
 * command closes and opens the store again.
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { type DeadLetter, DeadLetters, defaults } from "../../src/planes/invocation/DeadLetters.ts"
import * as MemoryLog from "../support/MemoryLog.ts"

const letter = (requestId: string, deadAtMs: number, bodyBytes: number): DeadLetter => ({
  requestId,
  tenant: "default",
  functionId: "f",
  functionName: "f",
  versionId: "v",
  method: "POST",
  path: "/",
  mode: "async",
  durability: "accepted",
  attempts: 1,
  maxAttempts: 1,
  reason: "attempts-exhausted",
  message: null,
  arrivedAtMs: deadAtMs - 1,
  deadAtMs,
  keepUntilMs: deadAtMs + 100,
  timeoutMs: 1_000,
  bodyBytes,
  bodyKept: true,
  replay: null
})

type Command =
  | { readonly _tag: "keep"; readonly id: string; readonly size: number }
  | { readonly _tag: "drop"; readonly id: string }
  | { readonly _tag: "replayed"; readonly id: string; readonly as: string }
  | { readonly _tag: "wait"; readonly ms: number }
  | { readonly _tag: "reopen" }

const id = fc.constantFrom("a", "b", "c", "d", "e")
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ _tag: fc.constant("keep" as const), id, size: fc.integer({ min: 0, max: 2_000 }) })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("drop" as const), id }) },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("replayed" as const), id, as: fc.constantFrom("x", "y") }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 120 }) }) },
  { weight: 3, arbitrary: fc.constant({ _tag: "reopen" as const }) }
)

const countMax = 3
const garbageBytesMax = 4_000

describe("dead letters", () => {
  it("D2 to D4: are what a map says, over every restart, and their log stays bounded", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60 }), async (commands) => {
        const log = MemoryLog.make()
        let nowMs = 1_000
        const open = () =>
          Effect.runPromise(
            DeadLetters.open({
              log: log.service,
              name: "letters",
              options: { ...defaults, countMax, garbageBytesMax },
              removeBlob: () => {},
              nowMs
            })
          )
        let letters = await open()
        const model = new Map<string, { size: number; deadAtMs: number; replay: string | null }>()
        for (const command of commands) {
          nowMs += 1
          switch (command._tag) {
            case "keep": {
              // A request dies once; the same id again is the same death after a crash.
              model.delete(command.id)
              model.set(command.id, { size: command.size, deadAtMs: nowMs, replay: null })
              const head = { method: "POST", path: "/", headers: [] }
              const body = { kind: "inline", bytes: Buffer.alloc(command.size, command.id) } as const
              await letters.keep(letter(command.id, nowMs, command.size), { head, body, history: [] })
              while (model.size > countMax) {
                const [oldest] = [...model].sort(([, left], [, right]) => left.deadAtMs - right.deadAtMs)
                if (oldest !== undefined) model.delete(oldest[0])
              }
              break
            }
            case "drop":
              assert.strictEqual(await letters.drop(command.id), model.delete(command.id))
              break
            case "replayed": {
              await letters.markReplayed(command.id, { requestId: command.as, atMs: nowMs })
              const known = model.get(command.id)
              if (known !== undefined) known.replay ??= command.as
              break
            }
            case "wait":
              nowMs += command.ms
              letters.expire(nowMs)
              for (const [known, { deadAtMs }] of model) if (deadAtMs + 100 <= nowMs) model.delete(known)
              break
            case "reopen":
              await letters.flushed()
              for (const [known, { deadAtMs }] of model) if (deadAtMs + 100 <= nowMs) model.delete(known)
              letters = await open()
          }
          const seen = letters.all().map(({ requestId, replay }) => [requestId, replay?.requestId ?? null])
          assert.sameDeepMembers(
            seen,
            [...model].map(([known, { replay }]) => [known, replay])
          )
        }
        for (const [known, { size }] of model) {
          const content = await letters.load(known)
          assert.isTrue(content?.body.kind === "inline" && Buffer.alloc(size, known).equals(content.body.bytes))
        }
        await letters.flushed()
        assert.isBelow(log.bytes("letters"), 2 * (countMax * 3_000) + garbageBytesMax + 3_000)
      }),
      { numRuns: 150 }
    )
  })

  it("D1: a letter that could not be stored is said to have failed, and so is every later one", async () => {
    const log = MemoryLog.make()
    const letters = await Effect.runPromise(
      DeadLetters.open({ log: log.service, name: "letters", options: defaults, removeBlob: () => {}, nowMs: 0 })
    )
    log.fail = true
    const content = { head: { method: "POST", path: "/", headers: [] }, body: { kind: "none" }, history: [] } as const
    for (const id of ["a", "b"]) {
      const failure = await letters.keep(letter(id, 1, 0), content).then(
        () => undefined,
        (error: unknown) => error
      )
      assert.include(String(failure), "failed")
      assert.isFalse(letters.has(id))
    }
  })
})
