/**
 * `npm run services`: finds or gets the servers that some tests need, and says where they are. Ends with code 1 where
 * one cannot be had; the tests that need it are then skipped and say so.
 */
import { obtain } from "./NatsBinary.ts"

try {
  const { path, version, how } = await obtain((line) => console.error(line))
  console.log(`nats-server ${version} (${how}): ${path}`)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
