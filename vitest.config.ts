import { configDefaults, defineConfig } from "vitest/config"

/** Folders of `tests` whose files start no process and leave nothing in their modules. */
const pureTests = "tests/{architecture,control,history,invocation,peer}/**/*.test.ts"

export default defineConfig({
  resolve: { conditions: ["millrace-source"] },
  ssr: { resolve: { conditions: ["millrace-source"] } },
  test: {
    pool: "forks",
    setupFiles: ["./tests/support/lawSizes.ts"],
    // One more than a small machine has processors: many files wait for processes more than they compute.
    maxWorkers: 3,
    // A fact may take a minute on a busy machine. Who waits for it in vain says so before the test is cut off.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default", "./tests/support/ClosingLine.ts"],
    // In the order of their names: the longest files are not at the end, where one of them would run alone.
    projects: [
      {
        extends: true,
        // Whole processes and worker threads are started by these, so files run in processes of their own.
        test: {
          name: "processes",
          include: ["tests/**/*.test.ts", "examples/*/*.test.ts"],
          exclude: [...configDefaults.exclude, pureTests]
        }
      },
      {
        extends: true,
        // These leave nothing in their modules, so files share processes: to load Effect anew for each takes longer than
        // what most of them do.
        test: {
          name: "pure",
          include: ["property-tests/**/*.test.ts", "src/**/*.test.ts", pureTests],
          isolate: false
        }
      }
    ]
  }
})
