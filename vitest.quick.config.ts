import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const quick = (name: string) => fileURLToPath(new URL(`property-tests/mutation/${name}.ts`, import.meta.url))

/**
 * The tests of the core alone, with one seed and without the zoo: for `npm run coverage`, which fails where a branch of
 * the core is not reached.
 */
export default defineConfig({
  resolve: { conditions: ["millrace-source"] },
  ssr: { resolve: { conditions: ["millrace-source"] } },
  plugins: [
    {
      name: "laws-with-one-seed",
      enforce: "pre",
      resolveId: (source, importer) => {
        if (source === "fast-check" && importer !== quick("fastCheck")) return quick("fastCheck")
        if (source.endsWith("/zoo/kills.ts")) return quick("kills")
        return undefined
      }
    }
  ],
  test: {
    include: ["src/core/**/*.test.ts", "property-tests/**/*.test.ts", "tests/lab/PolicyLaws.test.ts"],
    // Not of the core; and orders of small worlds, which take the longest and reach nothing that the laws do not.
    exclude: ["property-tests/{Registry,RegistryRows,Reconcile,OutputTail,*Exhaustive}.laws.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 600_000,
    coverage: {
      provider: "v8",
      include: ["src/core/**/*.ts"],
      exclude: ["**/*.test.ts"],
      reporter: ["text", "json"],
      reportsDirectory: "coverage",
      reportOnFailure: true,
      // Of every file, so that none hides behind the others.
      thresholds: { perFile: true, branches: 100 }
    }
  }
})
