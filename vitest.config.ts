import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["millrace-source"] },
  ssr: { resolve: { conditions: ["millrace-source"] } },
  test: {
    include: ["src/**/*.test.ts", "property-tests/**/*.test.ts", "tests/**/*.test.ts", "examples/*/*.test.ts"],
    // Whole processes and worker threads are started by the tests, so files run in processes of their own.
    pool: "forks",
    setupFiles: ["./tests/support/lawSizes.ts"],
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: ["default", "./tests/support/ClosingLine.ts"]
  }
})
