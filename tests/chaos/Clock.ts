/** Milliseconds on the machine's monotonic clock: the same for every process, and no jump of the wall clock moves it. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6
