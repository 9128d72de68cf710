/**
 * The page of the bugs that were found.
 *
 * @module
 */
import type { Bug } from "./Bugs.ts"

export const path = "docs/track-record.md"

export const of = (bugs: ReadonlyArray<Bug>): string => `# What was found

Bugs that a law, a fault or a look found in code that was thought to be right, each with a test that was red while it was
there. \`npm run track-record\` runs them all again, \`npm run track-record -- NAME\` one of them, and
\`npm run track-record -- --write\` makes this page of \`tests/track-record/Bugs.ts\`.

| Name | What happened | From | To | Found by |
|---|---|---|---|---|
${bugs.map(({ id, what, from, to, foundBy }) => `| \`${id}\` | ${what} | ${from} | ${to} | ${foundBy} |`).join("\n")}
`
