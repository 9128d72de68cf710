/**
 * Writes histories down in short: each line is one entry, its time is its place.
 *
 * @module
 */
import type { Answer, Attempted, Called, ClaimResult, Entry, History, Terminal } from "./History.ts"

export const tenant = "acme"

/** Of item `a`, the request is `R-a` and the body `body-a`, unless a test says otherwise. */
export const call = (name: string, item: string, more: Partial<Called> = {}): Entry => ({
  _tag: "Called",
  atMs: 0,
  call: name,
  tenant,
  item,
  body: `body-${item}`,
  key: undefined,
  lane: undefined,
  deadlineAtMs: undefined,
  ...more
})

export const accepted = (name: string, requestId: string): Entry => ({
  _tag: "Accepted",
  atMs: 0,
  call: name,
  requestId
})

export const refused = (name: string): Entry => ({ _tag: "Refused", atMs: 0, call: name, status: 429 })
export const unknown = (name: string): Entry => ({ _tag: "Unknown", atMs: 0, call: name })
export const crash: Entry = { _tag: "Crashed", atMs: 0 }

export const ended = (name: string, requestId: string, terminal: Terminal): Entry => ({
  _tag: "Ended",
  atMs: 0,
  call: name,
  requestId,
  terminal
})

/** A run of item `a` under token 3 is `a#3`. */
export const start = (item: string, token: number, more: Partial<Attempted> = {}): Entry => ({
  _tag: "Attempted",
  atMs: 0,
  run: `${item}#${token}`,
  item,
  body: `body-${item}`,
  requestId: `R-${item}`,
  tenant,
  attempt: 1,
  token,
  plane: "p1",
  ...more
})

export const effect = (run: string): Entry => ({ _tag: "Effected", atMs: 0, run, digest: `digest of ${run}` })

export const answerOf = (item: string, token: number, more: Partial<Answer> = {}): Answer => ({
  item,
  requestId: `R-${item}`,
  tenant,
  token,
  run: `${item}#${token}`,
  digest: `digest of ${item}#${token}`,
  ...more
})

export const answered = (name: string, item: string, token: number, more: Partial<Answer> = {}): Entry => ({
  _tag: "Answered",
  atMs: 0,
  call: name,
  requestId: `R-${item}`,
  answer: answerOf(item, token, more)
})

export const settled = (requestId: string, token: number, taken: boolean): Entry => ({
  _tag: "Settled",
  atMs: 0,
  requestId,
  token,
  taken
})

export const claim = (requestId: string, result: ClaimResult, by = tenant): Entry => ({
  _tag: "Claimed",
  atMs: 0,
  tenant: by,
  requestId,
  result
})

export const claimed = (item: string, token: number, more: Partial<Answer> = {}): Entry =>
  claim(`R-${item}`, { kind: "answer", answer: answerOf(item, token, more) })

/** Entries that already have a time keep it; the others come ten milliseconds after the one before. */
export const history = (...entries: ReadonlyArray<Entry>): History => timed(entries)

export const timed = (entries: ReadonlyArray<Entry>): History => {
  let atMs = 0
  return entries.map((entry) => {
    atMs = entry.atMs > 0 ? entry.atMs : atMs + 10
    return { ...entry, atMs }
  })
}

export const at = (atMs: number, entry: Entry): Entry => ({ ...entry, atMs })
