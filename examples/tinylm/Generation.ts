/**
 * Continues a prompt token by token, on one thread, beside other work.
 *
 * Laws:
 * - G1 between two tokens the event loop runs, so other requests and cancellations are served in mid-text.
 * - G2 no token is decoded after the signal fired and the event loop has seen it.
 * - G3 when the context is full, the newer half of it is read again and decoding goes on: text has no length limit but
 *   `maxTokens`.
 *
 * @module
 */
import * as Model from "./Model.ts"
import * as Sampler from "./Sampler.ts"
import type * as Tokenizer from "./Tokenizer.ts"

export interface Options extends Sampler.Options {
  readonly prompt: string
  readonly maxTokens: number
  readonly signal: AbortSignal
}

/** Why the text ended. */
export type Finish = "length" | "end-of-text" | "cancelled"

export type Generate = (options: Options) => AsyncGenerator<number, Finish>

/** Yields token numbers as they are decoded; the end of text is not yielded. */
export const make = (model: Model.Model, tokenizer: Tokenizer.Tokenizer): Generate => {
  const forward = Model.makeForward(model)
  const { context, endOfText } = model.config

  return async function* ({ prompt, maxTokens, signal, ...sampling }) {
    const sample = Sampler.make(sampling)
    const cache = Model.makeCache(model)
    const seen = [endOfText, ...tokenizer.encode(prompt)]
    let logits: Float32Array = new Float32Array()
    let pending = newest(seen, context, endOfText)
    for (let decoded = 0; decoded < maxTokens; decoded++) {
      for (const token of pending) {
        await turnOfTheEventLoop()
        if (signal.aborted) return "cancelled"
        logits = forward(cache, token)
      }
      const token = sample(logits)
      if (token === endOfText) return "end-of-text"
      seen.push(token)
      yield token
      pending = [token]
      if (Model.isFull(model, cache)) {
        Model.clear(cache)
        pending = newest(seen, context, endOfText)
      }
    }
    return "length"
  }
}

/** All of it when it fits; otherwise an end of text and the newest half context. */
const newest = (seen: ReadonlyArray<number>, context: number, endOfText: number): ReadonlyArray<number> =>
  seen.length <= context ? seen : [endOfText, ...seen.slice(1 - context / 2)]

const turnOfTheEventLoop = () => new Promise<void>((resolve) => setImmediate(resolve))
