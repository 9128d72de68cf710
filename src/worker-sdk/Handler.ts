/**
 * What a function author writes: the shapes that `serve` takes and the context that a handler gets.
 *
 * @module
 */

/** What a handler knows about its call beside the request. */
export interface Context {
  /** The same over all attempts; a UUID v7. */
  readonly requestId: string
  /** 1 for the first delivery; a higher number may repeat work that an earlier attempt began. */
  readonly attempt: number
  /** When nobody wants the answer any more; `undefined` = never. */
  readonly deadline: Date | undefined
  /**
   * Aborts with a `TimeoutError` when the deadline passes, and with an `AbortError` when the caller cancels or the request is
   * taken away from this worker. What the handler answers after that goes nowhere.
   */
  readonly signal: AbortSignal
  readonly tenant: string
  /** W3C trace context of the call, as it came: `traceparent`, `tracestate`, `baggage`. */
  readonly trace: Readonly<Record<string, string>>
  /**
   * Tells who asks how far the work is: from 0 to 100, where more or less counts as the nearest, and a note of which the
   * first 300 characters are kept. The last one counts. Costs a message each.
   */
  readonly progress: (percent: number, note?: string) => void
  /** Work that goes on after the answer: the worker does not leave before it is done. Its failure is logged. */
  readonly waitUntil: (promise: Promise<unknown>) => void
  /** For Hono's `executionCtx`; does nothing. */
  readonly passThroughOnException: () => void
  /** For Hono's `executionCtx`; empty. */
  readonly props: object
}

type MaybePromise<Value> = Value | Promise<Value>

/** An Effect of Effect 4 that succeeds with a response, seen without importing Effect. */
export interface ResponseEffect {
  readonly "~effect/Effect": unknown
}

/** Gives a response, a promise of one, or an Effect of one. */
export type FunctionHandler = (request: Request, context: Context) => MaybePromise<Response> | ResponseEffect

/** `executionContext` is `context` once more: where Hono expects it. */
export interface FetchObject {
  // A method, not a property: the parameters of a Hono app's `fetch` are other types that ours fit into.
  fetch(request: Request, context: Context, executionContext: Context): MaybePromise<Response> | ResponseEffect
}

export interface BatchItem {
  readonly request: Request
  readonly context: Context
}

export interface BatchOptions {
  /**
   * Most calls in one batch, 1 or more; a worker never has more calls at a time than its slots (`concurrency` of the
   * deployment). With another value `serve` throws a `TypeError`, as with a `maxWaitMs` below 0.
   */
  readonly maxSize: number
  /** How long the first call of a batch waits for others, in milliseconds. */
  readonly maxWaitMs: number
  /**
   * One result per item, in the same order; an `Error` fails that call alone. One that throws, or gives another number of
   * results, fails all calls of the batch.
   */
  readonly handler: (items: ReadonlyArray<BatchItem>) => MaybePromise<ReadonlyArray<Response | Error>>
}

export type Handler = FunctionHandler | FetchObject | { readonly batch: BatchOptions }

/** All shapes come down to this one. */
export type Invoke = (request: Request, context: Context) => MaybePromise<Response>
