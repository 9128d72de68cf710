/**
 * Questions between planes: every peer that is there is asked, and what one did not say is never taken for nothing.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { DeadLetterNotFound } from "../../src/planes/control/ControlErrors.ts"
import * as RemoteSources from "../../src/planes/control/RemoteSources.ts"
import * as EmbeddedPubSub from "../../src/planes/fabric/embedded/EmbeddedPubSub.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"
import * as InvocationQuestions from "../../src/planes/invocation/InvocationQuestions.ts"
import * as Answering from "../../src/planes/peer/Answering.ts"
import * as Asking from "../../src/planes/peer/Asking.ts"
import * as PeerBook from "../../src/planes/peer/PeerBook.ts"
import { partLengthMax, route, subjects } from "../../src/planes/peer/PeerMessage.ts"
import { deadLetter, FakeDeadLetters, FakeRequestDirectory, requestView } from "../control/FakeSources.ts"

const echo = route({
  name: "echo",
  question: Schema.Struct({ text: Schema.String }),
  answer: Schema.String,
  error: Schema.Union([DeadLetterNotFound])
})

const faults: Array<string> = []
let pubSub: PubSub["Service"]
let scope: Scope.Closeable

beforeEach(() => {
  pubSub = EmbeddedPubSub.make((message, error) => faults.push(`${message}: ${String(error)}`))
  scope = Effect.runSync(Scope.make())
})
afterEach(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  assert.deepStrictEqual(faults.splice(0), [])
})

const run = <A, E>(effect: Effect.Effect<A, E, PubSub | Scope.Scope>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Layer.succeed(PubSub, pubSub)), Scope.provide(scope)))

const plane = (id: string, handlers: ReadonlyArray<Answering.Handler>) =>
  run(Answering.serve(() => ({ plane: "invocation", id }), handlers))
const asking = () => run(Effect.all({ asker: Asking.make, planes: PeerBook.make("invocation") }))

describe("questions between planes", () => {
  it("one question is answered by every plane that is there, with its success or its refusal", async () => {
    await plane("a", [Answering.handler(echo, ({ text }) => Effect.succeed(`a: ${text}`))])
    await plane("b", [Answering.handler(echo, () => Effect.fail(new DeadLetterNotFound({ requestId: "r" })))])
    const { asker, planes } = await asking()
    const [first, second] = await run(asker.all(planes, echo, { text: "hello" }))
    assert.deepStrictEqual(first, Result.succeed("a: hello"))
    assert.isTrue(second !== undefined && Result.isFailure(second) && second.failure instanceof DeadLetterNotFound)
  })

  it("an answer of several messages comes whole, also where a character lies on both sides of a cut", async () => {
    const long = `${"x".repeat(partLengthMax - 40)}${"\u{1f30a}".repeat(partLengthMax)}`
    await plane("a", [Answering.handler(echo, () => Effect.succeed(long))])
    const { asker, planes } = await asking()
    assert.deepStrictEqual(await run(asker.all(planes, echo, { text: "" })), [Result.succeed(long)])
  })

  it("with no plane there, with one that is silent, and with one that breaks, the answer is that it is unknown", async () => {
    const { asker, planes } = await asking()
    const ask = () => run(Effect.flip(asker.all(planes, echo, { text: "" })))
    assert.match((await ask()).message, /the invocation plane could not be asked: none has been heard of lately/)
    const answering = Effect.runSync(Scope.make())
    await Effect.runPromise(
      Answering.serve(
        () => ({ plane: "invocation", id: "a" }),
        [Answering.handler(echo, () => Effect.die(new Error("a defect")))]
      ).pipe(Effect.provideService(PubSub, pubSub), Scope.provide(answering))
    )
    assert.match((await ask()).message, /a defect/)
    pubSub.publish(
      subjects.hello("invocation"),
      new TextEncoder().encode(JSON.stringify({ plane: "invocation", id: "paused", isLeaving: false }))
    )
    await Effect.runPromise(Scope.close(answering, Exit.void))
    assert.deepStrictEqual(
      planes.present().map(({ id }) => id),
      ["paused"],
      "one that said good-bye is not asked"
    )
    assert.match((await ask()).message, /did not answer echo within \d+ ms/)
  }, 15_000)

  it("requests and dead letters of several planes are one list, and the one that has it answers for all", async () => {
    const parts = ["a", "b"].map((id, index) => {
      const requests = new FakeRequestDirectory()
      const letters = new FakeDeadLetters()
      requests.requests.set(`request-${id}`, requestView({ requestId: `request-${id}`, arrivedAtMs: 1_000 + index }))
      letters.letters.set(`letter-${id}`, deadLetter({ requestId: `letter-${id}`, deadAtMs: 1_000 + index }))
      return { id, requests, letters }
    })
    for (const { id, requests, letters } of parts) await plane(id, InvocationQuestions.handlers(requests, letters))
    const { asker, planes } = await asking()
    const requests = RemoteSources.requests(asker, planes)
    const letters = RemoteSources.letters(asker, planes)
    const ids = (all: ReadonlyArray<{ readonly requestId: string }>) => all.map(({ requestId }) => requestId)
    assert.deepStrictEqual(ids(await run(requests.list({ limit: 10 }))), ["request-b", "request-a"])
    assert.deepStrictEqual(ids(await run(requests.list({ limit: 1 }))), ["request-b"])
    assert.strictEqual((await run(requests.get("request-a")))?.requestId, "request-a")
    assert.isUndefined(await run(requests.get("request-c")))
    assert.strictEqual(await run(requests.cancel("request-a")), "cancelled")
    assert.strictEqual(await run(requests.cancel("request-a")), "ended")
    const page = await run(letters.list({ tenant: "default", limit: 1 }))
    assert.deepStrictEqual([ids(page.items), page.next], [["letter-b"], "1001.letter-b"])
    assert.deepStrictEqual((await run(letters.get("default", "letter-a"))).headers, [["content-type", "text/plain"]])
    assert.isTrue((await run(letters.replay("default", "letter-b", undefined))).isNew)
    await run(letters.drop("default", "letter-a"))
    const gone = await run(Effect.flip(letters.drop("default", "letter-a")))
    assert.strictEqual(gone._tag, "DeadLetterNotFound")
  })
})
