/**
 * A function whose worker connects somewhere else than Millrace told it: `VIA_URL`. What it does is in `VIA_FUNCTION`, the
 * file of another function.
 */
const { VIA_URL = "", VIA_FUNCTION = "" } = process.env

process.env["MILLRACE_WORKER_URL"] = VIA_URL
await import(VIA_FUNCTION)
