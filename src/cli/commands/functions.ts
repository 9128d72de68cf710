/** `millrace functions`. @module */
import type { FunctionView } from "../../planes/control/ControlViews.ts"
import type { VersionRecord } from "../../planes/control/Domain.ts"
import { exitCodes, type Input, isSet, required, text, usageError } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

interface Page<A> {
  readonly items: ReadonlyArray<A>
  readonly next: string | null
}

/** The API gives at most this many at once. */
const pageSize = 1_000

const loadAll = async (platform: Platform.RunningPlatform, prefix: string | undefined) => {
  const found: Array<FunctionView> = []
  let after: string | null = null
  do {
    const query = new URLSearchParams({ limit: String(pageSize) })
    if (prefix !== undefined) query.set("prefix", prefix)
    if (after !== null) query.set("after", after)
    const page: Page<FunctionView> = await Platform.api(platform, "GET", `/v1/functions?${query}`)
    found.push(...page.items)
    after = page.next
  } while (after !== null)
  return found
}

const row = ({ name, active, id }: FunctionView): ReadonlyArray<string> => [
  name,
  active === null ? "none" : String(active.number),
  active?.deployment?.status ?? "not deployed",
  active?.deployment == null ? "-" : `${active.deployment.ready}/${active.deployment.desired}`,
  active?.backlog == null ? "-" : String(active.backlog.pending),
  active?.backlog == null ? "-" : String(active.backlog.leased),
  id
]

const list = async (platform: Platform.RunningPlatform, input: Input) => {
  const found = await loadAll(platform, text(input, "prefix"))
  if (isSet(input, "json")) Output.json(found)
  else if (found.length === 0)
    Output.line("no functions yet: make one with `millrace init`, deploy it with `millrace deploy`")
  else Output.table(["name", "version", "status", "ready", "pending", "leased", "id"], found.map(row))
}

const show = async (platform: Platform.RunningPlatform, input: Input) => {
  const path = `/v1/functions/${encodeURIComponent(required(input, 1, "the name of the function"))}`
  const shown = await Platform.api<FunctionView>(platform, "GET", path)
  const versions = await Platform.api<Page<VersionRecord>>(platform, "GET", `${path}/versions?limit=20`)
  if (isSet(input, "json")) return Output.json({ ...shown, versions: versions.items })
  const { active } = shown
  Output.line(`${shown.name}  ${shown.id}`)
  Output.line(`created  ${shown.createdAt}`)
  Output.line(`call it  curl ${platform.gateway}/f/${shown.name}/`)
  if (active !== null) {
    Output.line(`active   version ${active.number}, ${active.versionId}`)
    const status = active.deployment
    Output.line(`status   ${status === null ? "not deployed" : `${status.status}: ${Output.plain(status.detail)}`}`)
  }
  Output.line("")
  Output.table(
    ["version", "created", "command", "id"],
    versions.items.map(({ number, createdAt, spec, id }) => [String(number), createdAt, spec.command.join(" "), id])
  )
}

export const run = async (input: Input): Promise<number> => {
  const [what = "list"] = input.positionals
  const platform = Platform.find(input)
  if (what === "list") await list(platform, input)
  else if (what === "show") await show(platform, input)
  else throw usageError(`functions ${what} does not exist: it is \`functions\` or \`functions show NAME\``)
  return exitCodes.ok
}
