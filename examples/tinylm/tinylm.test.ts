import { readFileSync } from "node:fs"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as GenerateRequest from "./GenerateRequest.ts"
import * as Generation from "./Generation.ts"
import * as Handler from "./Handler.ts"
import * as Model from "./Model.ts"
import * as Sampler from "./Sampler.ts"
import * as Tokenizer from "./Tokenizer.ts"
import * as Weights from "./Weights.ts"

const file = readFileSync(new URL("./tiny.bin", import.meta.url))
const weights = Weights.decode(file)
const model = Model.make(weights)
const tokenizer = Tokenizer.make(weights)
const generate = Generation.make(model, tokenizer)

const never = new AbortController().signal
const greedy = { maxTokens: 24, temperature: 0, topK: 40, seed: 0, signal: never }

const read = async (
  options: Generation.Options
): Promise<{ text: string; tokens: number; finish: Generation.Finish }> => {
  const tokens: Array<number> = []
  const generation = generate(options)
  for (;;) {
    const next = await generation.next()
    if (next.done) return { text: tokenizer.decode(tokens), tokens: tokens.length, finish: next.value }
    tokens.push(next.value)
  }
}

describe("Weights", () => {
  it("half floats keep their value, the small, the negative and the infinite too", () => {
    const bits = [0x0000, 0x3c00, 0xc000, 0x3555, 0x0001, 0x7bff, 0xfc00]
    const values = [0, 1, -2, 0.333251953125, 2 ** -24, 65504, Number.NEGATIVE_INFINITY]
    assert.deepStrictEqual(bits.map(Weights.fromHalf), values)
    assert.isNaN(Weights.fromHalf(0x7e00))
  })

  it("a tensor of another shape than asked for is refused by name", () => {
    assert.throws(() => weights.tensor("e", 1024, 127), /tensor e should be \[1024,127\] and is \[1024,128\]/)
  })
})

describe("Tokenizer", () => {
  it("T1: any ASCII text comes back as it was", () => {
    const letters = fc.mapToConstant({ num: 128, build: (code) => String.fromCharCode(code) })
    const words = fc.constantFrom("And", " God", " said", " the", " unto", " firmament", ", ", "\n", "the")
    fc.assert(
      fc.property(fc.array(fc.oneof(words, letters)), (parts) => {
        const text = parts.join("")
        assert.strictEqual(tokenizer.decode(tokenizer.encode(text)), text)
      })
    )
  })

  it("T2: tokens printed one by one are the whole text", () => {
    const text = "In the beginning God created the heaven and the earth."
    assert.strictEqual(tokenizer.encode(text).map(tokenizer.decodeToken).join(""), text)
  })

  it("frequent words are one token each, in the order of the merges", () => {
    assert.strictEqual(tokenizer.encode(" the wilderness").length, 2)
    assert.isAbove(tokenizer.encode(" qzx").length, 2)
  })
})

describe("Model", () => {
  it("M1: a cleared cache gives the same logits again, bit for bit", () => {
    const forward = Model.makeForward(model)
    const cache = Model.makeCache(model)
    const feed = () => tokenizer.encode("And it came to pass").map((token) => forward(cache, token).slice())
    const first = feed()
    Model.clear(cache)
    assert.deepStrictEqual(feed(), first)
  })

  it("word order reaches the logits, so the rotary positions are applied", () => {
    const last = (text: string) => {
      const cache = Model.makeCache(model)
      const forward = Model.makeForward(model)
      return tokenizer.encode(text).reduce((_, token) => forward(cache, token).slice(), new Float32Array())
    }
    assert.notDeepEqual(last(" the king of the land and"), last(" the land of the king and"))
  })

  it("a full cache is refused instead of overrun", () => {
    const forward = Model.makeForward(model)
    const cache = Model.makeCache(model)
    for (let i = 0; i < model.config.context; i++) forward(cache, 32)
    assert.isTrue(Model.isFull(model, cache))
    assert.throws(() => forward(cache, 32), /128 positions/)
  })

  it("text that it was trained on surprises it less than the same words in disorder", () => {
    const surprise = (text: string) => {
      const forward = Model.makeForward(model)
      const cache = Model.makeCache(model)
      let sum = 0
      let logits = forward(cache, model.config.endOfText)
      const tokens = tokenizer.encode(text)
      for (const token of tokens) {
        const total = logits.reduce((all, logit) => all + Math.exp(logit), 0)
        sum -= Math.log(Math.exp(logits[token]!) / total)
        logits = forward(cache, token)
      }
      return sum / tokens.length
    }
    const verse = surprise("And God said unto them, I am the LORD your God.")
    assert.isBelow(verse, 3)
    assert.isBelow(verse + 1, surprise("them am said the I And, unto LORD your God God."))
  })
})

describe("Sampler", () => {
  it("S1: the same seed gives the same draws and another seed does not", () => {
    const logits = Float32Array.from({ length: 50 }, (_, token) => Math.sin(token))
    const draw = (seed: number) => {
      const sample = Sampler.make({ temperature: 1, topK: 40, seed })
      return Array.from({ length: 40 }, () => sample(logits))
    }
    assert.deepStrictEqual(draw(7), draw(7))
    assert.notDeepEqual(draw(7), draw(8))
  })

  it("nothing outside the topK likeliest is ever drawn, and at temperature 0 only the likeliest", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 30 }),
        fc.constantFrom(0, 0.2, 1, 2),
        fc.nat(),
        (values, topK, temperature, seed) => {
          const logits = Float32Array.from(values)
          const allowed = [...values].sort((a, b) => b - a).slice(0, temperature === 0 ? 1 : topK)
          const sample = Sampler.make({ temperature, topK, seed })
          for (let i = 0; i < 20; i++) assert.include(allowed, logits[sample(logits)]!)
        }
      )
    )
  })
})

describe("Generation", () => {
  it("a greedy continuation of 'And God said' is made of English words", async () => {
    const { text, finish } = await read({ ...greedy, prompt: "And God said" })
    assert.strictEqual(finish, "length")
    assert.match(text, /^ unto /)
    const known = /^(unto|them|this|is|the|law|of|and|lord|which|he|shall|i|that|it|in|be|a|to|thou|hast|said|god)$/
    for (const word of text.toLowerCase().match(/[a-z]+/g)!) assert.match(word, known)
  })

  it("the same seed gives the same text and another seed another", async () => {
    const asked = { ...greedy, prompt: "And the king", temperature: 0.7 }
    const [first, again, other] = [
      await read({ ...asked, seed: 1 }),
      await read({ ...asked, seed: 1 }),
      await read({ ...asked, seed: 2 })
    ]
    assert.deepStrictEqual(again, first)
    assert.notStrictEqual(other.text, first.text)
  })

  it("G1: two generations share the thread and both go on", async () => {
    const order: Array<string> = []
    const run = async (name: string) => {
      for await (const _ of generate({ ...greedy, prompt: "And" })) order.push(name)
    }
    await Promise.all([run("a"), run("b")])
    assert.isBelow(order.indexOf("b"), order.lastIndexOf("a"))
    assert.isBelow(order.indexOf("a"), order.lastIndexOf("b"))
  })

  it("G2: a signal that fires in mid-text ends it there", async () => {
    const controller = new AbortController()
    const generation = generate({ ...greedy, maxTokens: 4_096, prompt: "And God said", signal: controller.signal })
    for (let i = 0; i < 5; i++) assert.isFalse((await generation.next()).done)
    controller.abort()
    assert.deepStrictEqual(await generation.next(), { done: true, value: "cancelled" })
  })

  it("G3: text goes on beyond the context of 128 tokens, also after a prompt longer than that", async () => {
    const prompt = "And God said unto them, Go forth into the land. ".repeat(30)
    const { tokens, finish } = await read({ ...greedy, maxTokens: 200, prompt, temperature: 1, seed: 1 })
    assert.isTrue(tokens === 200 || finish === "end-of-text", `${tokens} ${finish}`)
    const long = await read({ ...greedy, maxTokens: 300, prompt: "And God said" })
    assert.deepStrictEqual([long.tokens, long.finish], [300, "length"])
  })
})

describe("Handler", () => {
  const call = (handler: Handler.Handler, path: string, body?: unknown, signal = never) =>
    handler(
      new Request(`http://tinylm${path}`, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
      { signal }
    )
  const jsonOf = async (response: Response) => JSON.parse(await response.text())
  const asked = { prompt: "And God said", temperature: 0.7, seed: 5, maxTokens: 30 }

  it("a streamed text is the whole text in pieces, with [DONE] at its end", async () => {
    const handler = Handler.make(file)
    const whole = await jsonOf(await call(handler, "/generate", asked))
    const response = await call(handler, "/generate", { ...asked, stream: true })
    assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
    const events = (await response.text()).trimEnd().split("\n\n")
    assert.strictEqual(events.pop(), "data: [DONE]")
    const pieces = events.map((event) => JSON.parse(event.slice("data: ".length)).token)
    assert.strictEqual(pieces.join(""), whole.text)
    assert.strictEqual(pieces.length, whole.tokens)
    assert.deepStrictEqual(await jsonOf(await call(handler, "/stats")), {
      running: 0,
      decodedTokens: 2 * whole.tokens,
      completed: 2,
      cancelled: 0
    })
  })

  it("a signal in mid-stream breaks the stream without [DONE] and is counted", async () => {
    const handler = Handler.make(file)
    const controller = new AbortController()
    const response = await call(
      handler,
      "/generate",
      { ...asked, temperature: 0, maxTokens: 4_096, stream: true },
      controller.signal
    )
    const reader = response.body!.getReader()
    for (let i = 0; i < 10; i++) await reader.read()
    controller.abort()
    let error: unknown
    while (error === undefined) await reader.read().catch((reason: unknown) => (error = reason))
    assert.strictEqual(error instanceof DOMException && error.name, "AbortError")
    const stats: Handler.Stats = await jsonOf(await call(handler, "/stats"))
    assert.deepStrictEqual([stats.running, stats.completed, stats.cancelled], [0, 0, 1])
    assert.isAtMost(stats.decodedTokens, 13)
  })

  it("a reader who cancels the body stops the decoding too", async () => {
    const handler = Handler.make(file)
    const response = await call(handler, "/generate", { ...asked, temperature: 0, maxTokens: 4_096, stream: true })
    const reader = response.body!.getReader()
    await reader.read()
    await reader.cancel()
    const stats: Handler.Stats = await jsonOf(await call(handler, "/stats"))
    assert.deepStrictEqual([stats.running, stats.cancelled], [0, 1])
  })

  it("bad input is refused with a sentence that names the field", async () => {
    const handler = Handler.make(file)
    const cases: ReadonlyArray<readonly [unknown, RegExp]> = [
      [[], /prompt must be a string/],
      [{ prompt: "é" }, /prompt must be ASCII/],
      [{ prompt: "a".repeat(GenerateRequest.promptLengthMax + 1) }, /prompt has 4097 characters/],
      [{ prompt: "a", maxTokens: 0 }, /maxTokens must be a whole number from 1/],
      [{ prompt: "a", maxTokens: 1.5 }, /maxTokens/],
      [{ prompt: "a", temperature: "hot" }, /temperature must be a number from 0 to 2/],
      [{ prompt: "a", seed: -1 }, /seed/],
      [{ prompt: "a", stream: 1 }, /stream/]
    ]
    for (const [body, sentence] of cases) {
      const response = await call(handler, "/generate", body)
      assert.strictEqual(response.status, 400)
      assert.match((await jsonOf(response)).error, sentence)
    }
    assert.strictEqual((await call(handler, "/generate")).status, 405)
    assert.strictEqual((await call(handler, "/elsewhere")).status, 404)
    const broken = new Request("http://tinylm/generate", { method: "POST", body: "{" })
    assert.strictEqual((await handler(broken, { signal: never })).status, 400)
  })
})
