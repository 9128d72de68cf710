/**
 * The traces that come with the repository, and the part of each that the table of policies is made of.
 *
 * @module
 */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

export interface Sample {
  readonly name: string
  /** Below `traces/`. */
  readonly file: string
  readonly fromMs: number
  readonly toMs: number
}

const hour = 3_600_000

export const samples: ReadonlyArray<Sample> = [
  { name: "azure-code", file: "azure-llm-2023/code.csv.gz", fromMs: 0, toMs: Number.POSITIVE_INFINITY },
  { name: "azure-conversation", file: "azure-llm-2023/conv.csv.gz", fromMs: 0, toMs: Number.POSITIVE_INFINITY },
  {
    name: "azure-functions",
    file: "azure-functions-2021/sample-200.csv",
    fromMs: 0,
    toMs: Number.POSITIVE_INFINITY
  },
  {
    name: "mooncake-conversation",
    file: "mooncake-fast25/conversation_trace.jsonl.gz",
    fromMs: 0,
    toMs: Number.POSITIVE_INFINITY
  },
  { name: "servegen-image", file: "servegen/multimodal-mm-image.csv.gz", fromMs: 0, toMs: hour },
  { name: "servegen-reason", file: "servegen/reason-deepseek-r1.csv.gz", fromMs: 0, toMs: hour / 4 },
  { name: "cloudwatch-elb", file: "cloudwatch-elb/elb_request_count_8c0756.csv.gz", fromMs: 0, toMs: 12 * hour }
]

/** Beside the sources or beside what was built of them; undefined: they are not there. */
export const folder = (): string | undefined => {
  for (const up of ["../../traces/", "../../../traces/"]) {
    const path = fileURLToPath(new URL(up, import.meta.url))
    if (existsSync(`${path}README.md`)) return path
  }
  return undefined
}
