import { serve } from "millrace/worker"
import { handle } from "./Handler.ts"

serve({ fetch: handle })
