/** `millrace init`: a function to start from, that runs as it is. @module */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { basename, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { CommandFailed, exitCodes, type Input, isSet, required, text, usageError } from "../Command.ts"
import * as Output from "../Output.ts"

const namePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Where this Millrace is installed: the package that the new function imports. */
const packageDirectory = fileURLToPath(new URL("../../../", import.meta.url)).replace(/\/$/, "")

const filesOf = (name: string): Readonly<Record<string, string>> => ({
  "millrace.json": `${JSON.stringify(
    {
      name,
      entry: "./server.ts",
      deployment: { concurrency: 16, maxInstances: 4, idleWindowMs: 60_000 }
    },
    null,
    2
  )}\n`,
  "server.ts": `import { serve } from "millrace/worker"
import { handler } from "./handler.ts"

// Loaded once per instance: put what takes long (a model, a connection) here, before serve.
serve(handler)
`,
  "handler.ts": `import type { Context } from "millrace/worker"

export const handler = (request: Request, context: Context): Response => {
  const name = new URL(request.url).searchParams.get("name") ?? "world"
  return Response.json({ greeting: \`Hello, \${name}!\`, attempt: context.attempt })
}
`,
  "handler.test.ts": `import { strictEqual } from "node:assert"
import { test } from "node:test"
import { testWorker } from "millrace/worker/testing"
import { handler } from "./handler.ts"

test("it greets by name", async () => {
  const worker = testWorker(handler)
  const response = await worker.fetch("/?name=Ada")
  strictEqual((await response.json()).greeting, "Hello, Ada!")
  await worker.drain()
})
`,
  "package.json": `${JSON.stringify(
    {
      name,
      private: true,
      type: "module",
      scripts: { test: "node --test" },
      dependencies: { millrace: `file:${packageDirectory}` }
    },
    null,
    2
  )}\n`,
  ".gitignore": "node_modules/\n.millrace/\n"
})

const canImport = (directory: string): boolean => {
  try {
    createRequire(join(directory, "server.ts")).resolve("millrace/worker")
    return true
  } catch {
    return false
  }
}

export const run = async (input: Input): Promise<number> => {
  const given = required(input, 0, "the directory")
  const directory = resolve(given)
  const name = text(input, "name") ?? basename(directory)
  if (!namePattern.test(name)) {
    throw usageError(`${name} cannot be the name of a function (1 to 63 of a-z, 0-9 and -): give one with --name`)
  }
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new CommandFailed({ kind: "directory-not-empty", message: `${given} is not empty: choose a new directory` })
  }
  mkdirSync(directory, { recursive: true })
  const files = filesOf(name)
  for (const [file, content] of Object.entries(files)) writeFileSync(join(directory, file), content)
  // What \`npm install\` would do for this dependency, so that the function runs at once and without a network.
  if (!canImport(directory)) {
    mkdirSync(join(directory, "node_modules"))
    symlinkSync(packageDirectory, join(directory, "node_modules", "millrace"), "junction")
  }
  const shown = relative(process.cwd(), directory) || "."
  if (isSet(input, "json")) Output.json({ name, directory, files: Object.keys(files) })
  else {
    Output.line(`made ${name} in ${shown}: ${Object.keys(files).join(", ")}`)
    Output.line(`  millrace dev ${shown}          run it and reload it with each save`)
    Output.line(`  cd ${shown} && npm test        try its handler without a platform`)
  }
  return exitCodes.ok
}
