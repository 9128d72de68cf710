/**
 * The machines that decide in Millrace, for those who want to run, test or simulate them alone. Pure: no clock, no
 * network, no Node.
 *
 * @module
 */
export * as Buffer from "./core/buffer/Buffer.ts"
export * as BufferEvent from "./core/buffer/BufferEvent.ts"
export * as BufferOptions from "./core/buffer/BufferOptions.ts"
export * as Deployment from "./core/deployment/Deployment.ts"
export * as Fleet from "./core/instance/Fleet.ts"
export * as Instance from "./core/instance/Instance.ts"
export * as RestartBudget from "./core/instance/RestartBudget.ts"
export * as Lease from "./core/lease/Lease.ts"
export * as Candidate from "./core/placement/Candidate.ts"
export * as Placement from "./core/placement/Placement.ts"
export * as Rendezvous from "./core/placement/Rendezvous.ts"
export * as RateLimit from "./core/rate-limit/RateLimit.ts"
export * as Tier from "./core/rate-limit/Tier.ts"
export * as Request from "./core/request/Request.ts"
export * as Routing from "./core/routing/Routing.ts"
export * as Policies from "./core/scaling/Policies.ts"
export * as Policy from "./core/scaling/Policy.ts"
export * as PolicyChoice from "./core/scaling/PolicyChoice.ts"
export * as Scaling from "./core/scaling/Scaling.ts"
export * as Task from "./core/task/Task.ts"
export * as TaskEvent from "./core/task/TaskEvent.ts"
export * as TaskState from "./core/task/TaskState.ts"
