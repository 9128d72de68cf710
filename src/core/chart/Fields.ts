/**
 * Fields of objects whose shape is somebody else's.
 *
 * @module
 */

export const record = (value: unknown): Readonly<Record<string, unknown>> =>
  // Of an object every field is unknown, which is what this type says.
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}

export const at = (value: unknown, ...path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((found, name) => (Object.hasOwn(record(found), name) ? record(found)[name] : undefined), value)

export const text = (value: unknown, ...path: ReadonlyArray<string>): string | undefined => {
  const found = at(value, ...path)
  return typeof found === "string" ? found : undefined
}

export const number = (value: unknown, ...path: ReadonlyArray<string>): number | undefined => {
  const found = at(value, ...path)
  return typeof found === "number" ? found : undefined
}

/** Empty when there is none. */
export const list = (value: unknown, ...path: ReadonlyArray<string>): ReadonlyArray<unknown> => {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

export const names = (value: unknown): ReadonlyArray<string> => Object.keys(record(value))

/** What is left of `max` after all values in it, those that are there by reference each time; never below zero. */
export const counted = (value: unknown, max: number): number => {
  if (max <= 0) return 0
  const inner = Array.isArray(value) ? value : Object.values(record(value))
  let left = max - 1
  for (const one of inner) {
    if (left <= 0) return 0
    left = counted(one, left)
  }
  return left
}

/** The same object with what is at the path changed. */
export const replaced = <A extends object>(
  object: A,
  path: ReadonlyArray<string>,
  change: (value: unknown) => unknown
): A => {
  const [name, ...rest] = path
  if (name === undefined) return object
  const inner = record(object)[name]
  const next = rest.length === 0 ? change(inner) : replaced({ ...record(inner) }, rest, change)
  return { ...object, [name]: next }
}
