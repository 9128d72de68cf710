/**
 * The embedded fabric as a maker for the law suites: a place is a folder.
 *
 * @module
 */
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import * as EmbeddedFabric from "../../src/planes/fabric/EmbeddedFabric.ts"
import type { FabricMaker } from "./FabricMaker.ts"

export const layer = (directory: string) => EmbeddedFabric.layer({ directory })

export const embedded: FabricMaker = {
  name: "embedded",
  module: new URL(import.meta.url),
  layer,
  makePlace: async () => {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), "millrace-fabric-"))
    return { address: directory, remove: () => fs.rm(directory, { recursive: true, force: true }) }
  }
}
