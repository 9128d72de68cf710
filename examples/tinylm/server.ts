import { readFileSync } from "node:fs"
import { serve } from "millrace/worker"
import { make } from "./Handler.ts"

serve({ fetch: make(readFileSync(new URL("./tiny.bin", import.meta.url))) })
