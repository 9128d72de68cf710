/**
 * Histories of laws are as long as they say: without this, fast-check draws arrays of ten elements at most, whatever
 * `maxLength` allows.
 *
 * @module
 */
import { expect } from "vitest"

// Loaded for them alone, because every other test file would pay for it.
if (expect.getState().testPath?.endsWith(".laws.test.ts") === true) {
  const { configureGlobal, readConfigureGlobal } = await import("fast-check")
  configureGlobal({ ...readConfigureGlobal(), defaultSizeToMaxWhenMaxSpecified: true })
}
