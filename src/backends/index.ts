/**
 * The contract of compute backends, for whoever writes one: `millrace/backend`.
 *
 * @module
 */
export * as BackendKit from "./BackendKit.ts"
export * from "./ComputeBackend.ts"
export * from "./LaunchError.ts"
