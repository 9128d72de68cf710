import { defineConfig } from "vitest/config"

/** The suites that need a Kubernetes API server, one file at a time: `npm run test:kubernetes` builds and starts it. */
export default defineConfig({
  resolve: { conditions: ["millrace-source"] },
  ssr: { resolve: { conditions: ["millrace-source"] } },
  test: {
    include: ["tests/kubernetes/**/*.suite.ts"],
    globalSetup: ["./tests/kubernetes/globalSetup.ts"],
    pool: "forks",
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 300_000
  }
})
