import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["millrace-source"] },
  ssr: { resolve: { conditions: ["millrace-source"] } },
  test: {
    pool: "forks",
    setupFiles: ["./tests/support/lawSizes.ts"],
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: ["default", "./tests/support/ClosingLine.ts"],
    // In the order of their names: the longest files are not at the end, where one of them would run alone.
    projects: [
      {
        extends: true,
        // Whole processes and worker threads are started by these, so files run in processes of their own.
        test: { name: "processes", include: ["tests/**/*.test.ts", "examples/*/*.test.ts"] }
      },
      {
        extends: true,
        // These leave nothing in their modules, so files share processes: to load Effect anew for each takes longer than
        // what most of them do.
        test: { name: "pure", include: ["property-tests/**/*.test.ts", "src/**/*.test.ts"], isolate: false }
      }
    ]
  }
})
