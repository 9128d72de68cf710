/**
 * The laws of every backend, kept by the Docker backend with a real daemon.
 *
 * @module
 */
import { afterAll, afterEach, beforeAll, describe, it } from "vitest"
import { casesOf } from "../../src/backends/laws/index.ts"
import * as Daemon from "./Daemon.ts"
import { harnessOf, openWorld, type World } from "./dockerHarness.ts"

const why = Daemon.whyNot()

describe.skipIf(why !== undefined)(`backend laws: docker${why === undefined ? "" : ` [skipped: ${why}]`}`, () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  }, 120_000)
  afterEach(() => world.clear(), 60_000)
  afterAll(() => world?.close(), 60_000)

  for (const { name, skip, run } of casesOf(harnessOf(() => world))) it.skipIf(skip !== undefined)(name, run, 120_000)
})
