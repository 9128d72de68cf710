/**
 * The settings as a table for people, in Markdown: what `docs/operating.md` holds.
 *
 * @module
 */
import * as ServeConfig from "./ServeConfig.ts"

const otherwise = (value: unknown): string =>
  value === undefined || (Array.isArray(value) && value.length === 0) ? "nothing" : `\`${JSON.stringify(value)}\``

export const markdown = (): string =>
  [
    "| Setting | Takes | Default | What it is | Variable |",
    "|---|---|---|---|---|",
    ...ServeConfig.all.map(
      ({ path, setting, variable }) =>
        `| \`${path}\` | ${setting.expected} | ${otherwise(setting.otherwise)} | ${setting.about} | \`${variable}\` |`
    )
  ].join("\n")
