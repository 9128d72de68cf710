/** The laws of backends, run against the example. `npm test` runs it. */
import { casesOf, countProcessesOnLinux, scriptOf } from "millrace/backend-laws"
import { describe, it } from "vitest"
import * as ShellBackend from "./ShellBackend.ts"

const endsWithUs = "its instances end with the process that launched them"

const cases = casesOf({
  name: "shell",
  open: ({ places }) => ShellBackend.make(places),
  spec: (instanceId, program, change) => ({
    instanceId,
    functionId: "function",
    functionName: "function",
    versionId: "version",
    command:
      program.kind === "cannot-start"
        ? ["/nowhere/at/all"]
        : [process.execPath, "--max-old-space-size=30", "-e", scriptOf(program)],
    environment: {},
    gpu: { kind: "none", count: 0 },
    instanceType: "local",
    cpuMillis: 1_000,
    memoryBytes: 512 * 1024 * 1024,
    startDeadlineMs: 10_000,
    graceMs: 1_000,
    ...change
  }),
  environmentAdded: ["PATH"],
  countProcesses: countProcessesOnLinux,
  skips: {
    C22: "a command begins at once",
    C26: "what it watches is its own child",
    C32: "it can see nothing but its own children",
    C35: endsWithUs,
    C36: endsWithUs
  }
})

describe("a backend in sixty lines", () => {
  for (const { name, skip, run } of cases) it.skipIf(skip !== undefined)(name, run)
})
