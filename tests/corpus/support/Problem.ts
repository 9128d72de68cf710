/**
 * What every refusal must be: problem details with a sentence, and nothing of the caller's bytes unescaped.
 *
 * @module
 */
import { expect } from "vitest"
import type { RawAnswer } from "./Exchange.ts"

/** Checks the shape; answers `kind` and the sentence. */
export const problemOf = (answer: Pick<RawAnswer, "status" | "headers" | "body">): { kind: string; detail: string } => {
  expect(answer.headers["content-type"]).toBe("application/problem+json")
  // Control characters in JSON are escaped; a raw one was echoed as it came.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  expect(answer.body).not.toMatch(/[\u0000-\u001f\u007f]/)
  const { type, title, status, detail } = JSON.parse(answer.body) as Record<string, unknown>
  expect(type).toMatch(/^urn:millrace:problem:[a-z-]+$/)
  expect(title).toMatch(/^[A-Z][A-Za-z' -]+$/)
  expect(title).not.toBe("Error")
  expect(status).toBe(answer.status)
  const sentence = String(detail)
  expect(sentence).toMatch(/[a-zA-Z]/)
  expect(sentence.split(" ").length, `too short to say what to change: ${sentence}`).toBeGreaterThanOrEqual(5)
  // An escape sequence or a line end in a terminal or a log would be the caller's word in our mouth.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  expect(sentence).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
  expect(sentence.length).toBeLessThan(2_000)
  return { kind: String(type).replace("urn:millrace:problem:", ""), detail: sentence }
}
