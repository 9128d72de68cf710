/**
 * Puts the light classes in the place of Node's for this process, once, when `serve` is called.
 *
 * - `Response` and `Headers` become ours. `instanceof` knows both kinds.
 * - `Request` and `fetch` stay Node's, loaded on first use, but take our requests and headers too.
 *
 * Why: loading Node's own classes costs a cold start about as much as starting Node, and building one native response
 * costs more than everything else the SDK does for a small call. `MILLRACE_NATIVE_FETCH=1` leaves the globals alone.
 *
 * @module
 */
import { LightHeaders } from "./LightHeaders.ts"
import { LightRequest } from "./LightRequest.ts"
import { LightResponse } from "./LightResponse.ts"
import { native } from "./NativeFetch.ts"

const define = (name: string, value: unknown): void => {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false })
}

const defineLazy = (name: string, make: () => unknown): void => {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    enumerable: false,
    get: () => {
      const value = make()
      define(name, value)
      return value
    },
    set: (value) => define(name, value)
  })
}

/** Node's class, except that its constructor takes our requests as well. */
const requestClass = (): typeof Request =>
  new Proxy(native().Request, {
    construct: (target, [input, init], newTarget) => {
      const converted: object = Reflect.construct(target, [LightRequest.toNative(input), init], newTarget)
      return converted
    }
  })

let installed = false

export const installFetchApi = (): void => {
  if (installed) return
  installed = true
  define("Response", LightResponse)
  define("Headers", LightHeaders)
  defineLazy("Request", requestClass)
  define("fetch", (input: string | URL | Request, init?: RequestInit) =>
    init === undefined
      ? native().fetch(LightRequest.toNative(input))
      : native().fetch(LightRequest.toNative(input), init)
  )
}
