import { serve } from "millrace/worker"
import { app } from "./app.ts"

serve(app)
