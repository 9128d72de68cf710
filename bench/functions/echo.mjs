// Answers with the body that it got, as the bare echo server does.
import { serve } from "millrace/worker"

serve({
  fetch: async (request) =>
    new Response(await request.bytes(), { headers: { "content-type": "application/octet-stream" } })
})
