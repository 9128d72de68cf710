/**
 * What happens, as one JSON line an event: for a terminal that is none (CI, a container, a pipe).
 *
 * @module
 */
export type PlatformEvent = { readonly event: string } & Readonly<Record<string, unknown>>

export const write = (event: PlatformEvent): void => {
  process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`)
}
