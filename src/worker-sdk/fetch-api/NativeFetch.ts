/**
 * Node's own fetch classes, loaded when somebody needs them and not before: loading them takes about as long as starting
 * Node itself, and most functions never do.
 *
 * Node keeps them behind names of the global object that load on any look, even at a property descriptor. So nothing here
 * touches those names until it must, and the names stay as they are.
 *
 * @module
 */
type ClassName = "Headers" | "Request" | "Response"

const undici = "NativeModule internal/deps/undici/undici"

let known = false
let lengthSeen = -1

/** Whether Node's classes are loaded; true where Node does not tell, which costs time and nothing else. */
const isLoaded = (): boolean => {
  if (known) return true
  const list: unknown = Reflect.get(process, "moduleLoadList")
  if (!Array.isArray(list)) known = true
  else if (list.length !== lengthSeen) {
    lengthSeen = list.length
    known = list.includes(undici)
  }
  return known
}

/** Loads Node's classes if need be. */
export const native = (): Pick<typeof globalThis, ClassName> => globalThis

/**
 * Lets our class descend from the native one, so that who holds the native class finds `instanceof` true, without loading
 * it for who does not: nobody can hold a class that is not loaded.
 */
export const descendFrom = (name: ClassName, prototype: object): void => {
  const link = new Proxy(
    {},
    {
      getPrototypeOf: () => {
        if (!isLoaded()) return Object.prototype
        const parent = native()[name].prototype
        Object.setPrototypeOf(prototype, parent)
        return parent
      }
    }
  )
  Object.setPrototypeOf(prototype, link)
}

/** Whether a value is one of the native class. */
export const isNative = (name: ClassName, value: unknown): boolean =>
  typeof value === "object" && value !== null && isLoaded() && value instanceof native()[name]
