/**
 * Messages of the worker protocol, with the values that break codecs: empty, long, non-ASCII, at the edges of each
 * integer width.
 *
 * @module
 */
import fc from "fast-check"
import type {
  ConnectOnceRequest,
  ConnectOnceResponse,
  FromWorker,
  HeaderList,
  ToWorker
} from "../../src/worker-sdk/protocol/WorkerMessage.ts"

// Lone surrogates have no UTF-8: both codecs replace them, as every encoder does.
const text = fc.oneof(
  fc.constantFrom("", "01900000-0000-7000-8000-000000000001", "ä", "日本語", "x".repeat(31), "x".repeat(32)),
  fc.string({ unit: "grapheme", maxLength: 80 }),
  fc.integer({ min: 60, max: 70_000 }).map((length) => "y".repeat(length))
)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(0, 255, 256, 65_535, 65_536, 70_000).map((length) => new Uint8Array(length).fill(7))
)
const edges = [0, 1, 31, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1]
const token = fc.oneof(fc.constantFrom(...edges, 2 ** 32, Number.MAX_SAFE_INTEGER), fc.maxSafeNat())
const uint32 = fc.oneof(fc.constantFrom(...edges), fc.nat())
const float = fc.oneof(
  fc.constantFrom(0, 0.5, 1e-300, -1.5, 12.25),
  fc.double({ noNaN: true, noDefaultInfinity: true })
)
const headers: fc.Arbitrary<HeaderList> = fc.array(fc.tuple(text, text), { maxLength: 20 })
const about = { requestId: text, token }
const tagged = <const Tag extends string>(tag: Tag) => fc.constant(tag)

export const fromWorker: fc.Arbitrary<FromWorker> = fc.oneof(
  fc.record({
    _tag: tagged("Ready"),
    slots: fc.nat(65_536),
    phases: fc.record({ processMs: float, initialiseMs: float, connectMs: float }),
    holds: fc.array(fc.record(about), { maxLength: 5 })
  }),
  fc.record({
    _tag: tagged("ResponseHead"),
    ...about,
    status: fc.nat(999),
    headers,
    body: bytes,
    end: fc.boolean()
  }),
  fc.record({ _tag: tagged("ResponseChunk"), ...about, bytes }),
  fc.record({ _tag: tagged("ResponseEnd"), ...about }),
  fc.record({ _tag: tagged("Failed"), ...about, retryable: fc.boolean(), message: text }),
  fc.record({ _tag: tagged("Progress"), ...about, percent: float, note: text }),
  fc.record({ _tag: tagged("Credit"), ...about, bytes: uint32 }),
  fc.record({ _tag: tagged("Draining") }),
  fc.record({ _tag: tagged("Heartbeat") })
)

export const toWorker: fc.Arbitrary<ToWorker> = fc.oneof(
  fc.record({
    _tag: tagged("Assign"),
    ...about,
    attempt: uint32,
    deadlineMs: token,
    tenant: text,
    head: fc.record({ method: text, path: text, headers }),
    body: bytes,
    bodyEnd: fc.boolean()
  }),
  fc.record({ _tag: tagged("BodyChunk"), ...about, bytes }),
  fc.record({ _tag: tagged("BodyEnd"), ...about }),
  fc.record({ _tag: tagged("Cancel"), ...about, reason: text }),
  fc.record({ _tag: tagged("Credit"), ...about, bytes: uint32 }),
  fc.record({ _tag: tagged("Drain"), reason: text }),
  fc.record({ _tag: tagged("Heartbeat") })
)

export const connectOnceRequest: fc.Arbitrary<ConnectOnceRequest> = fc.record({
  instanceId: text,
  functionId: text,
  versionId: text,
  token: text,
  workerId: text,
  sdk: text
})

export const connectOnceResponse: fc.Arbitrary<ConnectOnceResponse> = fc.record({
  region: text,
  otherRegions: fc.array(text, { maxLength: 4 }),
  workUrl: text,
  heartbeatMs: uint32,
  visibilityTimeoutMs: uint32,
  initialCreditBytes: uint32,
  token: text,
  tokenExpiresAtMs: token,
  nowMs: token
})

/** Bytes that were a message once: cut, extended, with bits turned over; and bytes that never were. */
export const hostile = (valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc
      .tuple(valid, fc.double({ min: 0, max: 1, noNaN: true }))
      .map(([frame, part]) => frame.slice(0, Math.floor(frame.length * part))),
    fc.tuple(valid, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })).map(([frame, flips]) => {
      const broken = Uint8Array.from(frame)
      // Most faults are made near the start, where the structure is.
      for (const [at, value] of flips) broken[at % Math.min(broken.length, 64)] = value
      return broken
    }),
    fc
      .tuple(valid, fc.uint8Array({ minLength: 1, maxLength: 20 }))
      .map(([frame, more]) => Uint8Array.from([...frame.slice(0, 2000), ...more]))
  )
