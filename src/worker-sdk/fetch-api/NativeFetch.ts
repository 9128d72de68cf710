/**
 * Node's own fetch classes, loaded when somebody needs them and not before: loading them takes about as long as starting
 * Node itself, and most functions never do.
 *
 * `link` makes our classes descend from the native ones as soon as those are loaded, so that code which holds the native
 * class (a library that was loaded before `serve`) still finds `instanceof` true.
 *
 * @module
 */
export interface NativeFetch {
  readonly Headers: typeof Headers
  readonly Request: typeof Request
  readonly Response: typeof Response
  readonly fetch: typeof fetch
}

const names = ["Headers", "Request", "Response", "fetch"] as const

// Node defines these as getters that load on first use; read as descriptors they do not load.
const original = new Map(names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]))

let loaded: NativeFetch | undefined
const waiting: Array<(native: NativeFetch) => void> = []

const read = (name: (typeof names)[number]): unknown => {
  const descriptor = original.get(name)
  // A getter of Node's writes the global it stands for; whoever replaced that global meanwhile must keep it.
  const current = Object.getOwnPropertyDescriptor(globalThis, name)
  const value = descriptor?.get === undefined ? descriptor?.value : descriptor.get.call(globalThis)
  if (current !== undefined && current !== descriptor) Object.defineProperty(globalThis, name, current)
  return value
}

export const native = (): NativeFetch => {
  if (loaded !== undefined) return loaded
  const found = { Headers: read("Headers"), Request: read("Request"), Response: read("Response"), fetch: read("fetch") }
  // These are what the platform's own names stand for; nothing else can be read from those descriptors.
  loaded = found as NativeFetch
  for (const run of waiting.splice(0)) run(loaded)
  return loaded
}

/** Runs at once when the native classes are loaded, or else as soon as they are. */
export const whenNative = (run: (native: NativeFetch) => void): void => {
  if (loaded === undefined) waiting.push(run)
  else run(loaded)
}

/**
 * Whether a value is one of the native class. Loads nothing for what cannot be: an instance carries its class's tag.
 */
export const isNative = (name: "Headers" | "Request" | "Response", value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  Reflect.get(value, Symbol.toStringTag) === name &&
  value instanceof native()[name]
