/**
 * How a deployment names a policy: by name alone, or by an object with the name and the options that differ from the
 * defaults of `KnativePolicy.ts` and its siblings. Checked here, so that a policy itself never meets an option that it
 * cannot work with.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import * as NvcfPolicy from "./NvcfPolicy.ts"

const between = (minimum: number, maximum: number) => Schema.Number.check(Schema.isBetween({ minimum, maximum }))
const above = (minimum: number, maximum: number) =>
  Schema.Number.check(Schema.isGreaterThan(minimum), Schema.isLessThanOrEqualTo(maximum))
const milliseconds = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const wholeSeconds = (minimumS: number, maximumS: number) =>
  milliseconds(minimumS * 1_000, maximumS * 1_000).check(
    Schema.isMultipleOf(1_000, { message: "expected whole seconds, in milliseconds" })
  )
const optional = Schema.optionalKey

const Demand = Schema.Struct({ name: Schema.Literal("demand") })
const Fixed = Schema.Struct({ name: Schema.Literal("fixed") })

const Knative = Schema.Struct({
  name: Schema.Literal("knative"),
  stableWindowMs: optional(wholeSeconds(6, 3_600)),
  panicWindowMs: optional(wholeSeconds(1, 3_600)),
  panicThreshold: optional(above(1, 1_000)),
  targetConcurrency: optional(Schema.NullOr(between(0.01, 100_000))),
  targetUtilization: optional(above(0, 1)),
  maxScaleUpRate: optional(above(1, 1_000_000)),
  maxScaleDownRate: optional(above(1, 1_000_000)),
  scaleToZeroGraceMs: optional(milliseconds(0, 3_600_000)),
  tickIntervalMs: optional(wholeSeconds(1, 60)),
  targetBurstCapacity: optional(Schema.Int.check(Schema.isBetween({ minimum: -1, maximum: 1_000_000 })))
})

const RateLimit = Schema.Struct({
  percent: Schema.NullOr(between(1, 1_000_000)),
  pods: Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 }))),
  periodMs: milliseconds(1_000, 1_800_000)
})
const hpaFields = {
  syncIntervalMs: optional(wholeSeconds(1, 3_600)),
  tolerance: optional(between(0, 1)),
  stabilizationDownMs: optional(milliseconds(0, 3_600_000)),
  stabilizationUpMs: optional(milliseconds(0, 3_600_000)),
  scaleUp: optional(RateLimit),
  scaleDown: optional(RateLimit)
}

const Hpa = Schema.Struct({ name: Schema.Literal("hpa"), ...hpaFields, targetUtilization: optional(above(0, 1)) })

const Keda = Schema.Struct({
  name: Schema.Literal("keda"),
  ...hpaFields,
  pollingIntervalMs: optional(wholeSeconds(1, 3_600)),
  cooldownMs: optional(milliseconds(0, 86_400_000)),
  threshold: optional(Schema.NullOr(between(0.01, 100_000))),
  activationThreshold: optional(between(0, 100_000))
})

const Histogram = Schema.Struct({
  name: Schema.Literal("histogram"),
  binMs: optional(milliseconds(1, 3_600_000)),
  binCount: optional(Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 1_440 }))),
  timeScale: optional(above(0, 1_000)),
  headPercentile: optional(between(0, 100)),
  tailPercentile: optional(between(0, 100)),
  marginShare: optional(between(0, 1)),
  idleTimesMin: optional(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 }))),
  variationMin: optional(between(0, 100)),
  beyondShareMax: optional(between(0, 1)),
  fixedKeepAliveMs: optional(Schema.NullOr(milliseconds(0, 604_800_000)))
})

const Stickiness = Schema.Struct({
  sizeMs: milliseconds(0, 3_600_000),
  thresholdMs: milliseconds(0, 3_600_000)
}).check(
  Schema.makeFilter(({ sizeMs, thresholdMs }) =>
    thresholdMs < sizeMs ? undefined : { path: ["thresholdMs"], issue: "thresholdMs must be less than sizeMs" }
  )
)
const direction = (factor: Schema.Codec<number>) =>
  Schema.Struct({ thresholdPercent: between(0, 10_000), factor, stickiness: Schema.NullOr(Stickiness) })

const Nvcf = Schema.Struct({
  name: Schema.Literal("nvcf"),
  loopIntervalMs: optional(wholeSeconds(1, 3_600)),
  lookbackMs: optional(wholeSeconds(60, 3_600)),
  utilizationWindowMs: optional(wholeSeconds(1, 3_600)),
  idleTimeoutMs: optional(milliseconds(0, 86_400_000)),
  decayFactor: optional(between(0, 100)),
  countIsSettled: optional(Schema.Boolean),
  up: optional(direction(above(1, 1_000))),
  down: optional(direction(above(0, 1).check(Schema.isLessThan(1))))
}).check(
  Schema.makeFilter((given) => {
    const { up, down, ...options } = { ...NvcfPolicy.defaults, ...given }
    if (up.thresholdPercent <= down.thresholdPercent) {
      return { path: ["up"], issue: "up.thresholdPercent must be above down.thresholdPercent" }
    }
    const { bucketsKept, bucketMs } = NvcfPolicy.shapeOf(options)
    return bucketsKept <= NvcfPolicy.bucketsMax
      ? undefined
      : {
          path: ["loopIntervalMs"],
          issue: `a minute, loopIntervalMs and utilizationWindowMs have only ${bucketMs} ms in common: take multiples of 5000`
        }
  })
)

export const Plain = Schema.Union([Demand, Fixed, Knative, Hpa, Keda, Histogram, Nvcf])
export type Plain = typeof Plain.Type

/** One policy acts, the other is watched: what it would have done is recorded. */
const Shadow = Schema.Struct({ name: Schema.Literal("shadow"), acting: Plain, watched: Plain })

export const PolicyName = Schema.Literals(["demand", "fixed", "knative", "hpa", "keda", "histogram", "nvcf"])
export type PolicyName = typeof PolicyName.Type

export const PolicyChoice = Schema.Union([PolicyName, Demand, Fixed, Knative, Hpa, Keda, Histogram, Nvcf, Shadow])
export type PolicyChoice = typeof PolicyChoice.Type
