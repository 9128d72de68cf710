// Takes calls and never answers: what is measured with it is the accepting.
import { serve } from "millrace/worker"

serve({ fetch: () => new Promise(() => {}) })
