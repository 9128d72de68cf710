/**
 * What an answer of a worker must be to be passed on, and what stands for one that could not be kept.
 *
 * @module
 */
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import type { Answer } from "./Entry.ts"
import { quote } from "./Problem.ts"

const headerName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

/** Why this cannot be the head of an HTTP answer; a worker may be in any language and wrong in any way. */
export const whyNotAHead = (status: number, headers: HeaderList): string | undefined => {
  if (status < 200 || status > 599) return `the worker answered with status ${status}`
  for (const [name, value] of headers) {
    if (!headerName.test(name) || !headerValue.test(value)) {
      return `the worker answered with a header that HTTP does not allow: ${quote(name)}`
    }
  }
  return undefined
}

/** Shown to whoever claims an answer of which more was streamed to a caller than is kept. */
export const tooLargeToKeep: Answer = {
  status: 410,
  headers: [["content-type", "application/problem+json"]],
  body: {
    kind: "inline",
    bytes: new TextEncoder().encode(
      JSON.stringify({
        type: "urn:millrace:problem:result-not-kept",
        title: "Gone",
        status: 410,
        detail:
          "The caller left in the middle of a stream of which more had been sent than is kept, so its beginning is gone: call again, or ask for the result with `Prefer: respond-async`."
      })
    )
  }
}
