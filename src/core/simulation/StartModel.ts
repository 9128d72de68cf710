/**
 * How long an instance takes from its order to ready, phase by phase, and where each figure is from.
 *
 * @module
 */
import * as Distribution from "./Distribution.ts"
import type { Random } from "./Random.ts"

export interface StartModel {
  readonly name: string
  /** In order. The names are those that receipts show. */
  readonly phases: ReadonlyArray<{
    readonly name: "image" | "weights" | "process" | "initialise"
    readonly duration: Distribution.Distribution
  }>
  /** From the order to end until the room is free again. */
  readonly stopMs: number
  /** Of starts that fail in their last phase, 0 to 1. */
  readonly failureShare: number
  /** Where the figures are from. */
  readonly source: string
}

export const drawPhases = (random: Random, model: StartModel): ReadonlyArray<number> =>
  model.phases.map(({ duration }) => Math.max(0, Distribution.draw(random, duration)))

/** The sum of the medians: what the offline optimum pays for a start. */
export const typicalMs = (model: StartModel): number =>
  model.phases.reduce((sum, { duration }) => sum + Distribution.median(duration), 0)

const process: StartModel["phases"][number] = {
  name: "process",
  duration: {
    kind: "quantiles",
    points: [
      [0.5, 100],
      [0.9, 140],
      [0.99, 250]
    ]
  }
}
const processSource =
  "process: 0.1 s to a listening Node worker, the order of magnitude of `npm run bench -- cold` on two cores"
const genTd26 =
  "(p50, p90, p99) of the GenTD26 trace of a production image service: Lin et al., Understanding Diffusion Model " +
  "Serving in Production, SoCC 2025. Three figures; between them the logarithm is linear"

const processOnly: StartModel = {
  name: "process",
  phases: [process],
  stopMs: 50,
  failureShare: 0,
  source: processSource
}

const baseModel: StartModel = {
  name: "base-model",
  phases: [
    process,
    {
      name: "weights",
      duration: {
        kind: "quantiles",
        points: [
          [0.5, 22_700],
          [0.9, 42_000],
          [0.99, 51_800]
        ]
      }
    }
  ],
  stopMs: 500,
  failureShare: 0,
  source: `weights: base model load 22.7 / 42 / 51.8 s ${genTd26}; ${processSource}`
}

const lora: StartModel = {
  name: "lora",
  phases: [
    process,
    {
      name: "weights",
      duration: {
        kind: "quantiles",
        points: [
          [0.5, 4_400],
          [0.9, 6_100],
          [0.99, 8_200]
        ]
      }
    }
  ],
  stopMs: 500,
  failureShare: 0,
  source: `weights: LoRA load 4.4 / 6.1 / 8.2 s ${genTd26}; ${processSource}`
}

const image: StartModel["phases"][number] = {
  name: "image",
  duration: { kind: "log-normal", medianMs: 19_000, sigma: 0.5 }
}
const imageSource =
  "image: 76 % (Harter et al., Slacker, FAST 2016) of a median container start of 25 s (Verma et al., Large-scale cluster " +
  "management at Google with Borg, EuroSys 2015); the spread, 0.5 in the logarithm, is assumed"

/** A container whose image is not on its node yet. */
const container: StartModel = {
  name: "container",
  phases: [image, process],
  stopMs: 500,
  failureShare: 0,
  source: `${imageSource}; ${processSource}`
}

/** The models that `--start-model` can name. */
export const models: ReadonlyArray<StartModel> = [processOnly, lora, baseModel, container]

export const byName = (name: string): StartModel | undefined => models.find((model) => model.name === name)

/** A start that always takes the same time. */
export const fixed = (ms: number): StartModel => ({
  name: `${ms} ms`,
  phases: [{ name: "process", duration: Distribution.constant(ms) }],
  stopMs: 0,
  failureShare: 0,
  source: "given by the caller"
})
