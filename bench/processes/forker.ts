/**
 * Starts bare servers on request, in a small process: `fork` copies the page tables of whoever calls it, and the floor
 * must not be raised by the size of the bench. Says `{}` when it is there; answers each message with `{ tookMs }`.
 *
 * @module
 */
import { forkToListening } from "../fork.ts"

process.on("message", async () => {
  const [tookMs] = await forkToListening(1)
  process.send?.({ tookMs })
})
process.once("disconnect", () => process.exit(0))
process.send?.({})
