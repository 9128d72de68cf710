// Starts as slowly as something that loads weights, and then works for as long as it is told.
import { serve } from "millrace/worker"

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

await sleep(1_500)

serve({
  fetch: async (request) => {
    await sleep(Number(new URL(request.url).searchParams.get("ms") ?? 0))
    return new Response("awake")
  }
})
