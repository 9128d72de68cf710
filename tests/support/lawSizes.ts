/**
 * Histories of laws are as long as they say: without this, fast-check draws arrays of ten elements at most, whatever
 * `maxLength` allows. They get the time that this takes on a computer that is busy with other things.
 *
 * @module
 */
import { expect, vi } from "vitest"
import { variable } from "../../property-tests/LawOptions.ts"

// Loaded for them alone, because every other test file would pay for it.
if (expect.getState().testPath?.endsWith(".laws.test.ts") === true) {
  // `npm run laws` gives them more.
  if (process.env[variable] === undefined) vi.setConfig({ testTimeout: 300_000 })
  const { configureGlobal, readConfigureGlobal } = await import("fast-check")
  configureGlobal({ ...readConfigureGlobal(), defaultSizeToMaxWhenMaxSpecified: true })
}
