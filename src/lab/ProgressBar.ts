/**
 * A bar on a terminal while a run takes its time; nothing at all elsewhere. Shown after half a second, redrawn ten times
 * a second at most.
 *
 * @module
 */

export interface Terminal {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly write: (text: string) => unknown
}

const showAfterMs = 500
const redrawMs = 100
const barWidth = 28

export class ProgressBar {
  readonly #terminal: Terminal
  readonly #begunMs = performance.now()
  #shownMs = 0
  #isShown = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** Lets the event loop turn, so that an interrupt is heard. */
  async show({ policy, share }: { readonly policy: string; readonly share: number }): Promise<void> {
    const nowMs = performance.now()
    if (this.#terminal.isTTY === true && nowMs - this.#begunMs > showAfterMs && nowMs - this.#shownMs > redrawMs) {
      this.#shownMs = nowMs
      this.#isShown = true
      const filled = Math.round(Math.min(1, Math.max(0, share)) * barWidth)
      const words = ` ${String(Math.floor(share * 100)).padStart(3)} %  ${policy}`
      const line = `${"█".repeat(filled)}${"░".repeat(barWidth - filled)}${words}`
      this.#terminal.write(`\r\x1b[2K${line.slice(0, (this.#terminal.columns ?? 80) - 1)}`)
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  clear(): void {
    if (this.#isShown) this.#terminal.write("\r\x1b[2K")
    this.#isShown = false
  }
}
