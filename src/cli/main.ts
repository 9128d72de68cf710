#!/usr/bin/env -S node --max-semi-space-size=16
/**
 * The `millrace` command. Looks at its Node first, before anything is imported that an older one could not load.
 *
 * @module
 */

const oldest = [22, 19] as const

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
  process.stderr.write(
    `millrace needs Node ${oldest.join(".")} or newer, and this is Node ${process.versions.node}: ` +
      "install Node 24 (https://nodejs.org), or run it in the repository with `npm run`, which brings its own.\n"
  )
  process.exitCode = 1
} else {
  const { main } = await import("./Cli.ts")
  process.exitCode = await main(process.argv.slice(2))
}
