import { serve } from "millrace/worker"
import * as Handler from "./Handler.ts"
import * as Reader from "./Reader.ts"

// The data is loaded before `serve` declares this instance ready, so that the first request does not wait for it twice.
serve({ fetch: Handler.make(await Reader.make()) })
