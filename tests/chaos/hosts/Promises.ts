/**
 * How long what is struck may keep others waiting. Holds for faults that come one at a time on a machine that is not full:
 * a minute of them says little of a 99th percentile.
 *
 * @module
 */

/** Milliseconds at the most, by the names of the figures of `npm run chaos -- nats`. */
export const promisedMs = { pause_p99_ms: 10_000, takeover_p99_ms: 3_000, leader_max_ms: 3_000 } as const

/** Sentences, one for each figure that is beyond what is promised; one that was not measured is not. */
export const broken = (figures: Readonly<Record<string, unknown>>): ReadonlyArray<string> =>
  Object.entries(promisedMs).flatMap(([name, limitMs]) => {
    const found = figures[name]
    return typeof found === "number" && found > limitMs
      ? [`${name} is ${found} and at most ${limitMs} is promised`]
      : []
  })
