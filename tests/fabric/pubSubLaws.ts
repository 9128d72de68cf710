/**
 * The laws of `PubSub`, for any maker. Numbers as in `src/planes/fabric/PubSub.ts`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as AgentMessageCheck from "../../src/planes/compute/AgentMessageCheck.ts"
import { Message } from "../../src/planes/fabric/Message.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"
import { eventually, type FabricMaker, type FabricPlace, type OpenFabric, open } from "./FabricMaker.ts"

const payload = (text: string) => Buffer.from(text)

/** Much simpler than any maker: a pattern as a regular expression. */
const matchesModel = (pattern: string, subject: string): boolean => {
  const source = pattern
    .split(".")
    .map((token) => (token === "*" ? "[^.]+" : token === ">" ? "[^.]+(\\.[^.]+)*" : token))
    .join("\\.")
  return new RegExp(`^${source}$`).test(subject)
}

export const pubSubLaws = (maker: FabricMaker): void => {
  describe(`PubSub: ${maker.name}`, () => {
    let place: FabricPlace
    let fabric: OpenFabric
    let rootCount = 0
    const freshRoot = () => `laws${rootCount++}`

    beforeAll(async () => {
      place = await maker.makePlace()
      fabric = await open(maker, place)
    })
    afterAll(async () => {
      await fabric?.close()
      await place?.remove()
    })

    /** Subscribes to a sentinel beside what the test wants, so that "nothing more came" is a fact and not a pause. */
    const afterAllPublished = (root: string) =>
      Effect.gen(function* () {
        const pubSub = yield* PubSub
        let isHere = false
        yield* pubSub.subscribe(`${root}-sentinel`, () => {
          isHere = true
        })
        pubSub.publish(`${root}-sentinel`, payload(""))
        yield* Effect.promise(() => eventually("the sentinel", () => isHere, Boolean))
      })

    it("S1: every subscriber has what was published after it subscribed, in order, once, byte for byte", async () => {
      const root = freshRoot()
      const early: Array<string> = []
      const late: Array<string> = []
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const pubSub = yield* PubSub
            pubSub.publish(`${root}.x`, payload("before anybody"))
            yield* pubSub.subscribe(`${root}.x`, (bytes) => early.push(Buffer.from(bytes).toString()))
            for (let index = 0; index < 50; index++) pubSub.publish(`${root}.x`, payload(`${index}`))
            yield* afterAllPublished(root)
            yield* pubSub.subscribe(`${root}.x`, (bytes) => late.push(Buffer.from(bytes).toString()))
            for (let index = 50; index < 100; index++) pubSub.publish(`${root}.x`, payload(`${index}`))
            pubSub.publish(`${root}.y`, payload("another subject"))
            yield* afterAllPublished(root)
          })
        )
      )
      const numbers = Array.from({ length: 100 }, (_, index) => `${index}`)
      assert.deepStrictEqual(early, numbers)
      assert.deepStrictEqual(late, numbers.slice(50))
    })

    it("S2: a pattern matches the subjects that its tokens say", async () => {
      const token = fc.constantFrom("a", "b")
      const patterns = fc
        .tuple(fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 3 }), fc.boolean())
        .map(([tokens, isOpen]) => (isOpen ? [...tokens, ">"] : tokens))
      await fc.assert(
        fc.asyncProperty(
          patterns,
          fc.array(fc.array(token, { maxLength: 4 }), { maxLength: 8 }),
          async (tokens, tails) => {
            const root = freshRoot()
            const pattern = [root, ...tokens].join(".")
            const subjects = tails.map((tail) => [root, ...tail].join("."))
            const heard: Array<string> = []
            await fabric.run(
              Effect.scoped(
                Effect.gen(function* () {
                  const pubSub = yield* PubSub
                  yield* pubSub.subscribe(pattern, (_, subject) => heard.push(subject))
                  for (const subject of subjects) pubSub.publish(subject, payload(""))
                  yield* afterAllPublished(root)
                })
              )
            )
            assert.deepStrictEqual(
              heard,
              subjects.filter((subject) => matchesModel(pattern, subject))
            )
          }
        ),
        { numRuns: 60 }
      )
    })

    it("S3: a subscriber that throws harms neither the publisher nor the others", async () => {
      const root = freshRoot()
      const heard: Array<string> = []
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const pubSub = yield* PubSub
            yield* pubSub.subscribe(`${root}.x`, () => {
              throw new Error("a subscriber's own fault, thrown by the test")
            })
            yield* pubSub.subscribe(`${root}.*`, (bytes) => heard.push(Buffer.from(bytes).toString()))
            pubSub.publish(`${root}.x`, payload("1"))
            pubSub.publish(`${root}.x`, payload("2"))
            yield* afterAllPublished(root)
          })
        )
      )
      assert.deepStrictEqual(heard, ["1", "2"])
    })

    it("S4: after the scope has closed nothing more is delivered", async () => {
      const root = freshRoot()
      const heard: Array<string> = []
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const pubSub = yield* PubSub
            yield* Effect.scoped(
              Effect.gen(function* () {
                yield* pubSub.subscribe(`${root}.x`, (bytes) => heard.push(Buffer.from(bytes).toString()))
                yield* pubSub.subscribe(`${root}.>`, (bytes) => heard.push(Buffer.from(bytes).toString()))
                pubSub.publish(`${root}.x`, payload("inside"))
                yield* afterAllPublished(root)
              })
            )
            pubSub.publish(`${root}.x`, payload("outside"))
            yield* afterAllPublished(root)
          })
        )
      )
      assert.deepStrictEqual(heard, ["inside", "inside"])
    })

    it("S5: a message is heard as its bytes, or as the value that its reader reads from them", async () => {
      const root = freshRoot()
      const heard: Array<unknown> = []
      const read = AgentMessageCheck.drain
      const drain = { instanceId: "i", versionId: "v", reason: "it is to end" }
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const pubSub = yield* PubSub
            yield* pubSub.subscribe(`${root}.x`, (bytes) => heard.push(JSON.parse(Buffer.from(bytes).toString())))
            yield* pubSub.hear(`${root}.*`, (payload) => heard.push(Result.getOrThrow(read(payload))))
            // Another reader gets what is in it for him, which is what he finds in the bytes.
            yield* pubSub.hear(`${root}.x`, (payload) =>
              heard.push(Result.isFailure(AgentMessageCheck.demandReport(payload)))
            )
            pubSub.publish(`${root}.x`, new Message(read, drain))
            yield* afterAllPublished(root)
          })
        )
      )
      assert.sameDeepMembers(heard, [drain, drain, true])
    })
  })
}
