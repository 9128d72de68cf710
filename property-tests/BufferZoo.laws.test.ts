/**
 * Each wrong buffer of `zoo/bufferBugs.ts` is killed by the law that its bug is about, and by that law alone: the
 * others are not held while it is tried.
 *
 * @module
 */
import { describe, it } from "vitest"
import { ignoresTheWall, law, mixes } from "./BufferLaws.ts"
import { tenantsAreApart } from "./BufferTenants.ts"
import * as Bugs from "./zoo/bufferBugs.ts"
import { kills } from "./zoo/kills.ts"

describe("buffer: the zoo", () => {
  it("L1 kills: losing what a worker, a crash or a retention takes", () => {
    kills(law("L1", mixes.fences), { losesWithTheWorker: Bugs.losesWithTheWorker })
    kills(law("L1", mixes.restarts), { recoveryForgets: Bugs.recoveryForgets })
    kills(law("L1", mixes.endsOnce), {
      forgetsResults: Bugs.forgetsResults,
      forgetsTheDetached: Bugs.forgetsTheDetached
    })
  })

  it("L2 kills: counting arrivals, bodies and leases twice", () => {
    const { countsTwice, countsBodiesTwice, leaksLeases } = Bugs
    kills(law("L2", mixes.conserves), { countsTwice, countsBodiesTwice, leaksLeases })
  })

  it("L3 kills: two ends, and two 202s", () => {
    kills(law("L3", mixes.endsOnce), { endsTwice: Bugs.endsTwice, acceptsTwice: Bugs.acceptsTwice })
  })

  it("L4 kills: stale and foreign tokens, two leases at once, and tokens that come again", () => {
    const { acceptsStale, acceptsForeign, leasesTwice, reusesTokens } = Bugs
    kills(law("L4", mixes.fences), { acceptsStale, acceptsForeign, leasesTwice })
    kills(law("L4", mixes.fencesOverRestarts), { reusesTokens })
  })

  it("L5 kills: orders and another life after the end", () => {
    kills(law("L5", mixes.endsOnce), { stopsTheDone: Bugs.stopsTheDone, reopens: Bugs.reopens })
  })

  it("L6 kills: telling, showing and leasing before the write, and writing what must not be", () => {
    const { acceptsBeforeWritten, tellsEndsBeforeWritten, leasesBeforeWritten, writesMemory, dropsWhatIsWritten } = Bugs
    kills(law("L6", mixes.writesFirst), {
      takesRefusedForDone: Bugs.takesRefusedForDone,
      acceptsBeforeWritten,
      tellsEndsBeforeWritten,
      leasesBeforeWritten,
      writesMemory,
      dropsWhatIsWritten
    })
  })

  it("L7 kills: another body under the same key, and keys that are forgotten", () => {
    kills(law("L7", mixes.joinsByKey), { ignoresTheBody: Bugs.ignoresTheBody, forgetsKeys: Bugs.forgetsKeys })
    kills(law("L7", mixes.joinsByKeyOverRestarts), { forgetsKeysAtRestart: Bugs.forgetsKeysAtRestart })
  })

  it("L8 kills: one tenant's key for another's, and one tenant's requests counted for another", () => {
    const { joinsAcrossTenants, countsForTheFirst } = Bugs
    kills(law("L8", mixes.joinsByKey), { joinsAcrossTenants, countsForTheFirst })
    kills(tenantsAreApart, { joinsAcrossTenants, countsForTheFirst })
  })

  it("L9 kills: another attempt after shown bytes, and bytes of two attempts", () => {
    const { redeliversTheShown, mixesAttempts, hidesTheBreak } = Bugs
    kills(law("L9", mixes.showsOneAttempt), { redeliversTheShown, mixesAttempts, hidesTheBreak })
  })

  it("L10 kills: more than the bounds by count, bytes and memory, and refusals for nothing", () => {
    const { exceedsCount, exceedsBytes, remembersTooMany, refusesTooEarly } = Bugs
    kills(law("L10", mixes.staysWithin), { exceedsCount, exceedsBytes, refusesTooEarly })
    kills(law("L10", mixes.remembersWithin), { remembersTooMany })
  })

  it("L25 kills: no share, too much, too little, and the share of one for what others hold", () => {
    const { sharesNothing, givesTooMuch, givesTooLittle, blamesTheOthers } = Bugs
    kills(law("L25", mixes.sharesRoom), { sharesNothing, givesTooMuch, givesTooLittle, blamesTheOthers })
  })

  it("L11 kills: starts after the deadline, and work that has none", () => {
    kills(law("L11", mixes.meetsDeadlines), {
      startsLate: Bugs.startsLate,
      overlooksTheLeased: Bugs.overlooksTheLeased
    })
  })

  it("L12 kills: no dead letter, one too early, and attempts that are not counted", () => {
    const { neverDeadLetters, deadLettersTooEarly, forgetsAttempts } = Bugs
    kills(law("L12", mixes.stopsPoison), { neverDeadLetters, deadLettersTooEarly, forgetsAttempts })
  })

  it("L13 kills: leases of the process before, and a look at the wall", () => {
    kills(law("L13", mixes.restarts), { keepsOldLeases: Bugs.keepsOldLeases })
    kills(ignoresTheWall, { trustsTheWall: Bugs.trustsTheWall })
  })

  it("L18 kills: no ear for cancel and removal, patience with the silent, and retries that never come", () => {
    const { deafToCancel, deafToRemoval, waitsForTheSilent, forgetsToRetry } = Bugs
    kills(law("L18", mixes.ends), { deafToCancel, deafToRemoval, waitsForTheSilent, forgetsToRetry })
  })

  it("L19 kills: orders while reading, and a log or a snapshot that is read in part", () => {
    const { ordersWhileReading, forgetsEnds, forgetsFailures, snapshotsTooEarly } = Bugs
    kills(law("L19", mixes.logRebuilds), { ordersWhileReading, forgetsEnds, forgetsFailures, snapshotsTooEarly })
  })

  it("L20 kills: writes without room taken for a broken store, or for writes under way", () => {
    const { takesRefusedForBroken, deafToRefusedWrites } = Bugs
    kills(law("L20", mixes.storeFails), { takesRefusedForBroken, deafToRefusedWrites })
  })

  it("L20 kills: the unknown taken for done, for refused, for nothing, and tried again", () => {
    const { takesUnknownForDone, takesUnknownForRefused, takesUnknownForNothing, writesAgain } = Bugs
    const bugs = { takesUnknownForDone, takesUnknownForRefused, takesUnknownForNothing, writesAgain }
    kills(law("L20", mixes.storeFails), bugs)
  })
})
