/**
 * When a kept result goes, as callers are told.
 *
 * @module
 */
import { nowMs } from "./PlaneClock.ts"

/**
 * The retention begins when the request ends. If it ended at this very moment its result would go then, so until then it
 * can be claimed for certain.
 */
export const atLeast = (resultRetentionMs: number): string => new Date(nowMs() + resultRetentionMs).toISOString()
