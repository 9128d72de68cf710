/**
 * What a caller of `POST /generate` may say, checked once.
 *
 * @module
 */
import { isEncodable } from "./Tokenizer.ts"

export interface GenerateRequest {
  readonly prompt: string
  readonly maxTokens: number
  readonly temperature: number
  readonly topK: number
  readonly seed: number
  readonly stream: boolean
}

/** Characters. The model reads about 300 of them at a time; more would only be thrown away. */
export const promptLengthMax = 4_096

/** The request, or a sentence on what is wrong with it. */
export const decode = (json: unknown): GenerateRequest | string => {
  if (typeof json !== "object" || json === null) return "the body must be a JSON object"
  const fields = new Map<string, unknown>(Object.entries(json))
  const prompt = fields.get("prompt")
  const stream = fields.get("stream") ?? false
  if (typeof prompt !== "string") return "prompt must be a string"
  if (prompt.length > promptLengthMax)
    return `prompt has ${prompt.length} characters, at most ${promptLengthMax} may be`
  if (!isEncodable(prompt)) return "prompt must be ASCII: this model has seen no other letters"
  if (typeof stream !== "boolean") return "stream must be true or false"

  const numbers: Record<string, number> = {}
  for (const [name, { fallback, minimum, maximum, integer }] of Object.entries(ranges)) {
    const value = fields.get(name) ?? fallback()
    if (typeof value !== "number" || !(value >= minimum && value <= maximum) || (integer && !Number.isInteger(value))) {
      return `${name} must be ${integer ? "a whole number" : "a number"} from ${minimum} to ${maximum}`
    }
    numbers[name] = value
  }
  const { maxTokens, temperature, topK, seed } = numbers
  return { prompt, stream, maxTokens: maxTokens!, temperature: temperature!, topK: topK!, seed: seed! }
}

const ranges = {
  maxTokens: { fallback: () => 64, minimum: 1, maximum: 4_096, integer: true },
  temperature: { fallback: () => 0.7, minimum: 0, maximum: 2, integer: false },
  topK: { fallback: () => 40, minimum: 1, maximum: 1_024, integer: true },
  // Told in the answer, so that a text one likes can be had again.
  seed: { fallback: () => Math.floor(Math.random() * 2 ** 32), minimum: 0, maximum: 2 ** 32 - 1, integer: true }
}
