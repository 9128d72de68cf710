// The least that a function can be: what a cold start is measured with.
import { serve } from "millrace/worker"

serve({ fetch: () => new Response("ok") })
