/**
 * Bugs that were found, each with the test that was red while it was there. Newest last.
 *
 * @module
 */

export interface Bug {
  readonly id: string
  /** What happened to whom. */
  readonly what: string
  /** Day on which the code that had it came, and day on which it went. */
  readonly from: string
  readonly to: string
  readonly foundBy: string
  /** Fails with the bug. `name`: as of `vitest -t`. */
  readonly test: { readonly file: string; readonly name: string }
}

const day = "2026-11-21"

export const bugs: ReadonlyArray<Bug> = [
  {
    id: "claims-after-compaction",
    what: "After a compaction of the log and a restart, claims of requests that had ended waited for ever.",
    from: day,
    to: day,
    foundBy: "random kills",
    test: { file: "tests/chaos/kill.test.ts", name: "lose nothing that was promised and double nothing" }
  },
  {
    id: "silent-damage",
    what: "40 of 200 damages to a store at rest were read back as if nothing had happened.",
    from: day,
    to: day,
    foundBy: "bit flips and truncations of the store at rest",
    test: { file: "tests/faults/atRest.test.ts", name: "D6: after one damage" }
  },
  {
    id: "full-disk-until-restart",
    what: "A disk that had been full for a moment stopped acceptance until a restart.",
    from: day,
    to: day,
    foundBy: "a full tmpfs",
    test: { file: "tests/faults/diskFull.test.ts", name: "to the margin that is left free" }
  },
  {
    id: "worker-of-a-leaving-instance",
    what:
      "An instance that was ordered to end while its worker was still connecting could be given a request, which was " +
      "lost with it and run again elsewhere.",
    from: day,
    to: day,
    foundBy: "versions scaled up and down under load",
    test: {
      file: "tests/platform/drain.test.ts",
      name: "is given nothing when its worker connects after it was told to go"
    }
  },
  {
    id: "expires-too-late",
    what: "A 202 that was written late told in `expires` a later time than the result was kept.",
    from: day,
    to: day,
    foundBy: "the tests of retention, on a busy machine",
    test: { file: "tests/platform/retention.test.ts", name: "is there until the time that the 202 told" }
  },
  {
    id: "side-logs-on-a-full-disk",
    what: "A full disk ended the logs of dead letters and event streams until a restart.",
    from: day,
    to: day,
    foundBy: "reading; then a full tmpfs",
    test: { file: "tests/faults/diskFull.test.ts", name: "sets a request aside that dies meanwhile" }
  },
  {
    id: "token-not-synced",
    what: "A power cut in the first second of an installation left an empty admin token, and every later start refused.",
    from: day,
    to: day,
    foundBy: "power cuts on a file system of our own",
    test: { file: "tests/faults/power-cut/powerCut.test.ts", name: "lose nothing that was promised" }
  },
  {
    id: "deadline-by-the-workers-clock",
    what:
      "A worker whose clock ran ahead of its plane's by more than a request's timeout aborted every handler at once, and " +
      "the requests expired.",
    from: day,
    to: day,
    foundBy: "libfaketime",
    test: { file: "tests/worker-sdk/WebSocket.test.ts", name: "a deadline is by the plane's clock" }
  },
  {
    id: "wall-clock-set-back",
    what: "After the wall clock was set back, instances were not seen to end and functions did not return to zero.",
    from: day,
    to: day,
    foundBy: "libfaketime",
    test: { file: "tests/faults/wallClock.test.ts", name: "a wall clock" }
  },
  {
    id: "unknown-told-as-refused",
    what:
      "A caller whose request may have been stored when the store broke was told that nothing was kept, and it may have " +
      "run after the restart.",
    from: day,
    to: day,
    foundBy: "stating L20 as a law of its own",
    test: { file: "property-tests/Unknown.laws.test.ts", name: "L20" }
  },
  {
    id: "variation-by-a-rounding",
    what: "The histogram policy missed a threshold of variation that was met exactly.",
    from: day,
    to: day,
    foundBy: "`npm run laws -- --thorough`",
    test: {
      file: "property-tests/Policies.histogram.laws.test.ts",
      name: "G2: it keeps an instance exactly when the model does"
    }
  },
  {
    id: "connections-closed-under-calls",
    what: "The control server closed idle connections after 5 s, under calls that were on their way.",
    from: day,
    to: day,
    foundBy: "laws of the control server, on a busy machine",
    test: {
      file: "tests/control/ControlServer.test.ts",
      name: "keeps an idle connection longer than clients and balancers do"
    }
  },
  {
    id: "request-behind-a-refused-body",
    what: "A request that stood behind the body of a refused call on the same connection was run.",
    from: day,
    to: day,
    foundBy: "the corpus of hostile HTTP",
    test: { file: "tests/corpus/http.test.ts", name: "a body of a call that is refused, and a" }
  },
  {
    id: "letters-of-two-deaths",
    what:
      "A request that was set aside a second time, after its first dead letter had been dropped or was being written " +
      "again, lost its letter at the next start.",
    from: day,
    to: day,
    foundBy: "the law of dead letters, once its histories were as long as they said",
    test: { file: "tests/invocation/DeadLetters.laws.test.ts", name: "D2 to D4" }
  },
  {
    id: "policies-without-a-memory",
    what: "A scaling policy from a file whose memory is `undefined` passed its check after one look.",
    from: day,
    to: day,
    foundBy: "mutation of the core",
    test: {
      file: "src/core/simulation/Scenario.test.ts",
      name: "hold for a policy without a memory, at its second look as at its first"
    }
  },
  {
    id: "a-lease-twice-with-one-epoch",
    what:
      "An owner that gave a lease away and wanted it again at once could take a slow read of before for news, gain it " +
      "with the epoch that it had given away, and act on while that gift made way for another.",
    from: day,
    to: day,
    foundBy: "the law of the lease, once its histories were as long as they said",
    test: { file: "property-tests/Lease.laws.test.ts", name: "E1, E2: whatever is delayed or lost" }
  },
  {
    id: "gpus-of-another-cluster",
    what:
      "Where two clusters had instance types of one name and other numbers of GPUs, a simulated instance took as many " +
      "as its type has on the first of them.",
    from: day,
    to: day,
    foundBy: "a branch of the core that no test could reach",
    test: {
      file: "src/core/simulation/Simulation.test.ts",
      name: "an instance takes as many GPUs as its type has on its cluster"
    }
  },
  {
    id: "a-body-that-was-not-written",
    what:
      "A caller whose large body could not be put on the disk whole was taken for one that had left, and waited " +
      "for ever.",
    from: day,
    to: "2026-11-22",
    foundBy: "gateways that were killed under load, on NATS",
    test: { file: "tests/platform/blobs.test.ts", name: "a body that the disk does not take whole" }
  },
  {
    id: "bodies-of-other-gateways",
    what: "A gateway that started removed the large bodies that others were just taking in.",
    from: day,
    to: "2026-11-22",
    foundBy: "gateways that were killed under load, on NATS",
    test: {
      file: "src/planes/fabric/embedded/EmbeddedBlobStore.test.ts",
      name: "keeps what one is writing while another starts"
    }
  },
  {
    id: "instances-of-two-gateways",
    what:
      "With two gateways as services every instance ended at its start, since it did not take two addresses, and " +
      "calls waited.",
    from: day,
    to: "2026-11-22",
    foundBy: "two gateways as services, with real instances",
    test: { file: "src/worker-sdk/Environment.test.ts", name: "takes one address, or those of several gateways" }
  },
  {
    id: "answers-of-a-shard-that-moves",
    what:
      "A gateway dropped an answer that was under way when the shard of its call moved, and told its caller that " +
      "nobody knew whether it ran.",
    from: day,
    to: "2026-11-22",
    foundBy: "the test of planned hand-over, on a busy machine",
    test: { file: "tests/gateways/gateways.test.ts", name: "hand shards over under load" }
  },
  {
    id: "changes-in-a-broken-socket",
    what:
      "On NATS a change that was on its way to a process when its connection broke (a deployment, the next owner of a " +
      "shard) was never heard of by it.",
    from: day,
    to: "2026-11-22",
    foundBy: "the test of a watch that is cut off for long",
    test: {
      file: "tests/fabric/natsTrouble.test.ts",
      name: "a watch hears of every change, once and in order, over a wire"
    }
  },
  {
    id: "complete-too-early",
    what:
      "On NATS a process whose connection broke while it read the registry took it for complete before it was: calls of " +
      "functions that were still to come would have been answered with 404.",
    from: day,
    to: "2026-11-22",
    foundBy: "a look at how a watch begins, when watches learned to go on from where another stood",
    test: {
      file: "tests/fabric/natsTrouble.test.ts",
      name: "a watch whose connection breaks while it begins"
    }
  },
  {
    id: "left-to-each-other",
    what:
      "When a gateway died right after NATS had been silent, each of the others left its shards to the others, for up " +
      "to 2.5 s.",
    from: "2026-11-22",
    to: "2026-11-22",
    foundBy: "hosts that were killed, paused and cut off under load, on NATS",
    test: {
      file: "property-tests/Sharding.laws.test.ts",
      name: "M6: what a silent one had is wanted by exactly one"
    }
  },
  {
    id: "given-back-in-vain",
    what:
      "A shard that a gateway handed over while it was cut off was nobody's for a whole lease more: renewals that were " +
      "on their way came before the release, which was refused for that.",
    from: "2026-11-22",
    to: "2026-11-22",
    foundBy: "hosts that were killed, paused and cut off under load, on NATS",
    test: { file: "src/planes/LeaseHolder.test.ts", name: "is free, also when renewals were on their way" }
  },
  {
    id: "left-before-the-order",
    what:
      "An instance whose worker had drained and left before its agent had the order to end it kept its GPU until another " +
      "start deadline was over.",
    from: day,
    to: "2026-11-22",
    foundBy: "a test on Kubernetes that failed now and then on a busy machine",
    test: { file: "tests/compute/Agent.test.ts", name: "left before the order came is ended at once" }
  }
]
