/**
 * The contract of compute backends, for whoever writes one: `millrace/backend`.
 *
 * @module
 */
export * from "./ComputeBackend.ts"
export * from "./LaunchError.ts"
