/**
 * Lets the names `Response`, `Headers`, `Request` and `fetch` mean the light classes in this process, from `serve` on.
 *
 * - The classes are declared in the global scope of scripts, which comes before the global object: code that says `Response`
 *   gets ours, `globalThis.Response` stays Node's and is still loaded only when it is looked at.
 * - `instanceof` knows both kinds, whichever name is used. A handler may return either.
 * - `Request` and `fetch` are Node's, loaded on first use, but take our requests too.
 *
 * Why: loading Node's own classes costs a cold start about as much as starting Node, and building one native response
 * costs more than everything else the SDK does for a small call. `MILLRACE_NATIVE_FETCH=1` leaves the names alone.
 *
 * @module
 */
import { runInThisContext } from "node:vm"
import { LightHeaders } from "./LightHeaders.ts"
import { LightRequest } from "./LightRequest.ts"
import { LightResponse } from "./LightResponse.ts"
import { native } from "./NativeFetch.ts"

function Placeholder(): void {}

/** Stands for Node's class without loading it, and takes our requests in its constructor as well. */
const requestClass = new Proxy(Placeholder, {
  construct: (_, [input, init], newTarget) => {
    const { Request } = native()
    const target = newTarget === requestClass ? Request : newTarget
    const made: object = Reflect.construct(Request, [LightRequest.toNative(input), init], target)
    return made
  },
  get: (_, key) => (key === Symbol.hasInstance ? LightRequest.isRequest : Reflect.get(native().Request, key)),
  has: (_, key) => Reflect.has(native().Request, key),
  getPrototypeOf: () => Function.prototype
})

const nativeFetch = globalThis.fetch

const fetchAny = (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
  init === undefined ? nativeFetch(LightRequest.toNative(input)) : nativeFetch(LightRequest.toNative(input), init)

/** Shared by all copies of this module in a process: names can be declared once. */
const handover = Symbol.for("millrace/worker-sdk/fetch")

export const installFetchApi = (): void => {
  if (handover in globalThis) return
  const value = { Headers: LightHeaders, Request: requestClass, Response: LightResponse, fetch: fetchAny }
  Object.defineProperty(globalThis, handover, { value })
  globalThis.fetch = fetchAny
  runInThisContext(
    `let { Headers, Request, Response } = globalThis[Symbol.for(${JSON.stringify(handover.description)})]`
  )
}
