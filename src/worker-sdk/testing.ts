/**
 * For the tests of a function: `import { testWorker } from "millrace/worker/testing"`.
 *
 * @module
 */
export { CallFailed, type ProgressSeen } from "./testing/TestCall.ts"
export {
  type CallOptions,
  type TestCall,
  type TestWorker,
  type TestWorkerOptions,
  testWorker
} from "./testing/TestWorker.ts"
export { makeVirtualClock, type VirtualClock } from "./testing/VirtualClock.ts"
