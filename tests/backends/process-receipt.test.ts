/**
 * A whole platform with zygotes: what the receipt of a call says about a start with one.
 *
 * @module
 */
import { expect, it } from "vitest"
import { atZero, eventually, start } from "../support/TestPlatform.ts"
import { childrenOf, commandOf, waitingZygotes } from "./processTree.ts"

const phasesOf = (response: Response): Readonly<Record<string, number>> =>
  Object.fromEntries(
    (response.headers.get("server-timing") ?? "")
      .split(", ")
      .map((entry) => entry.split(";dur="))
      .map(([name, duration]) => [name, Number(duration)])
  )

it("the phases of a start with a zygote begin with the launch, not with the zygote's own start", async () => {
  const test = await start()
  try {
    const probe = await test.deploy("probe", { idleWindowMs: 100, maxInstances: 1 })
    const call = async () => {
      const response = await fetch(`${probe.url}/inspect`)
      const { pid }: { readonly pid: number } = JSON.parse(await response.text())
      return { pid, phases: phasesOf(response) }
    }
    await call()
    await atZero(test, probe)
    const waiting = await eventually("a zygote waits", () => {
      const spawner = childrenOf(process.pid).find((pid) => commandOf(pid).includes("spawner-main"))
      return waitingZygotes(spawner ?? 0)[0]
    })
    // Time that a receipt must not count.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const { pid, phases } = await call()
    expect(pid).toBe(waiting)
    const { start: whole = 0, total = 0 } = phases
    const parts = ["start-process", "start-initialise", "start-connect"].map((name) => phases[name] ?? Number.NaN)
    expect(parts.every((part) => part >= 0 && part < 1_000)).toBe(true)
    // Three clocks that count whole milliseconds.
    expect(parts.reduce((sum, part) => sum + part, 0)).toBeLessThanOrEqual(whole + 3)
    expect(whole).toBeLessThanOrEqual(total)
  } finally {
    await test.close()
  }
})
