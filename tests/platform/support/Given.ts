/**
 * One platform for a test file, started before its first test and closed after its last.
 *
 * @module
 */
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import type * as Platform from "../../../src/planes/Platform.ts"
import { start, type TestPlatform } from "../../support/TestPlatform.ts"

export const peculiar = { command: ["node", join(import.meta.dirname, "peculiar.ts")] }

type StartOptions = Partial<Platform.PlatformOptions> & { readonly instancesMax?: number }

/** A function without arguments, because there is no platform before the first test runs. */
export const givenPlatform = (options: StartOptions = {}): (() => TestPlatform) => {
  let running: TestPlatform | undefined
  beforeAll(async () => {
    running = await start(options)
  })
  afterAll(() => running?.close())
  return () => {
    if (running === undefined) throw new Error("the platform is not running")
    return running
  }
}

/** Requests of a version that are known and have not ended. */
export const live = (given: TestPlatform, versionId: string) =>
  given.platform.directory
    .list({ versionId, limit: 1000 })
    .filter(({ state }) => state === "pending" || state === "leased" || state === "responding")

/** Lines that the instances of a version wrote. */
export const printed = async (given: TestPlatform, versionId: string): Promise<string> => {
  let text = ""
  for (const { instanceId } of given.platform.control.instances({ versionId })) {
    text += (await given.run(given.platform.logs.logs(instanceId))).map((line) => `${line.text}\n`).join("")
  }
  return text
}
