/**
 * The OpenAPI document as a page for people: no script, no network, nothing but what the document says.
 *
 * @module
 */

const methods = ["get", "post", "put", "patch", "delete"] as const

interface Operation {
  readonly summary?: string
  readonly description?: string
  readonly tags?: ReadonlyArray<string>
  readonly parameters?: ReadonlyArray<{
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly description?: string
    readonly schema?: { readonly description?: string }
  }>
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: unknown }>> }
  readonly responses?: Readonly<
    Record<string, { readonly description?: string; readonly content?: Readonly<Record<string, unknown>> }>
  >
}

/** As much of an OpenAPI 3.1 document as the page shows. */
export interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly paths: Readonly<Record<string, Readonly<Partial<Record<(typeof methods)[number], Operation>>>>>
}

const escape = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

/** What stands in backticks is code. */
const prose = (text: string) => escape(text).replace(/`([^`]+)`/g, "<code>$1</code>")

const parameters = (operation: Operation) => {
  const rows = (operation.parameters ?? []).map(
    (parameter) =>
      `<tr><td><code>${escape(parameter.name)}</code></td><td>${escape(parameter.in)}</td>` +
      `<td>${parameter.required ? "required" : ""}</td>` +
      `<td>${prose(parameter.description ?? parameter.schema?.description ?? "")}</td></tr>`
  )
  return rows.length === 0 ? "" : `<table>${rows.join("")}</table>`
}

const body = (operation: Operation) =>
  Object.entries(operation.requestBody?.content ?? {})
    .map(
      ([type, { schema }]) =>
        `<details><summary>Body: <code>${escape(type)}</code></summary>` +
        `<pre>${escape(JSON.stringify(schema, null, 2))}</pre></details>`
    )
    .join("")

/** The document names answers without a body in the words of its generator. */
const meaning = (status: string, description = "") =>
  status === "204" ? "Done; there is nothing to show." : description

const responses = (operation: Operation) => {
  const rows = Object.entries(operation.responses ?? {}).map(
    ([status, response]) =>
      `<tr><td><code>${escape(status)}</code></td><td>${escape(Object.keys(response.content ?? {}).join(", "))}</td>` +
      `<td>${prose(meaning(status, response.description))}</td></tr>`
  )
  return `<table>${rows.join("")}</table>`
}

const section = (path: string, method: string, operation: Operation) =>
  `<section><h3><span class="${method}">${method.toUpperCase()}</span> <code>${escape(path)}</code></h3>` +
  `<p>${prose(operation.summary ?? "")}. ${prose(operation.description ?? "")}</p>` +
  `${parameters(operation)}${body(operation)}${responses(operation)}</section>`

const style = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8884; padding: .5rem 0 }
h3 { font-size: 1rem; margin: .3rem 0 } h3 span { font: 600 .8rem monospace; padding: .1rem .4rem; border: 1px solid; border-radius: .3rem }
td { padding: 0 1rem 0 0; vertical-align: top } pre { overflow: auto; max-height: 30rem }
.get { color: #0a7 } .post { color: #07c } .put { color: #b70 } .delete { color: #c33 }`

export const render = (document: Document): string => {
  const byTag = new Map<string, Array<string>>()
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const method of methods) {
      const operation = operations[method]
      if (operation === undefined) continue
      const tag = operation.tags?.[0] ?? ""
      byTag.set(tag, [...(byTag.get(tag) ?? []), section(path, method, operation)])
    }
  }
  const groups = [...byTag].map(([tag, sections]) => `<h2>${escape(tag)}</h2>${sections.join("")}`)
  const { title, version, description } = document.info
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title>` +
    `<meta name="viewport" content="width=device-width, initial-scale=1"><style>${style}</style></head><body>` +
    `<h1>${escape(title)} ${escape(version)}</h1><p>${prose(description ?? "")}</p>` +
    `<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>${groups.join("")}</body></html>`
  )
}
