#!/usr/bin/env -S node --max-semi-space-size=16 --no-allocation-site-pretenuring
/**
 * The `millrace` command. Looks at its Node first, before anything is imported that an older one could not load.
 *
 * What V8 is told: a young generation of 16 MiB, so that a request and the start of an instance are over before they would
 * be moved among the old; and not to make there what it has seen to outlive a scavenge, because under a storm of starts
 * that is everything, and only a collection of the whole heap would give it back.
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
