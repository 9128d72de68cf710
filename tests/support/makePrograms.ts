/**
 * `node tests/support/makePrograms.ts`, after a build: makes the programs that tests start by the hundred. Of our files
 * and of Effect, as they are built; other packages stay where they are installed. What a file says of its own place it
 * says of where it was, so that whatever lies beside it is found.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { rolldown } from "rolldown"
import * as Programs from "./Programs.ts"

if (Programs.areCurrent()) process.exit(0)
const before = Programs.stamp()
rmSync(Programs.folder, { recursive: true, force: true })
mkdirSync(Programs.folder, { recursive: true })

const root = join(import.meta.dirname, "../..")
const isInside = /^([./]|effect(\/|$)|@effect\/platform-node)/

const bundle = await rolldown({
  cwd: root,
  platform: "node",
  logLevel: "warn",
  input: Object.fromEntries(Object.entries(Programs.names).map(([entry, name]) => [name, join(root, entry)])),
  external: (id) => !isInside.test(id),
  plugins: [
    {
      name: "as-built",
      resolveId: {
        filter: { id: /^\..*\.ts$/ },
        handler: (id, importer) => (importer === undefined ? null : Programs.builtOf(resolve(dirname(importer), id)))
      },
      transform: {
        filter: { code: /import\.meta\./ },
        handler: (code, id) =>
          code
            .replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href))
            .replaceAll("import.meta.dirname", JSON.stringify(dirname(id)))
      }
    }
  ]
})
await bundle.write({ dir: Programs.folder, format: "esm", entryFileNames: "[name].js" })
writeFileSync(Programs.stampFile, before)
