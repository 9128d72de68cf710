/**
 * What a function author imports: `import { serve } from "millrace/worker"`.
 *
 * @module
 */
export type {
  BatchItem,
  BatchOptions,
  Context,
  FetchObject,
  FunctionHandler,
  Handler,
  ResponseEffect
} from "./Handler.ts"
export { type Served, serve } from "./Serve.ts"
