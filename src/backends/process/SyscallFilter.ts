/**
 * A seccomp filter, as the kernel reads it: system calls by which an instance could look at the machine or change it, and
 * which a function needs for nothing, fail with EPERM. All others pass. Calls of another architecture end the process,
 * because their numbers mean something else. A new user namespace is refused; `clone3`, whose flags no filter can see, does
 * not exist, so that the C library takes `clone`.
 *
 * @module
 */

interface Machine {
  /** AUDIT_ARCH of the kernel's own headers. */
  readonly audit: number
  readonly clone: number
  readonly refused: ReadonlyArray<number>
}

/**
 * In order: ptrace, process_vm_readv and writev, mount, umount2, pivot_root, chroot, unshare, setns, swapon and off, reboot,
 * sethostname, setdomainname, acct, quotactl, syslog, init_module, finit_module, delete_module, kexec_load and _file_load,
 * add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd, open_by_handle_at, io_uring_setup, enter and register,
 * settimeofday, clock_settime; then the newer calls of mounting, 428 to 433 and 442, which all machines share.
 */
const machines: Readonly<Record<string, Machine>> = {
  x64: {
    audit: 0xc000003e,
    clone: 56,
    refused: [
      ...[101, 310, 311, 165, 166, 155, 161, 272, 308, 167, 168, 169, 170, 171, 163, 179, 103, 175, 313, 176, 246, 320],
      ...[248, 249, 250, 298, 321, 323, 304, 425, 426, 427, 164, 227],
      // iopl, ioperm
      ...[172, 173]
    ]
  },
  arm64: {
    audit: 0xc00000b7,
    clone: 220,
    refused: [
      ...[117, 270, 271, 40, 39, 41, 51, 97, 268, 224, 225, 142, 161, 162, 89, 60, 116, 105, 273, 106, 104, 294],
      ...[217, 218, 219, 241, 280, 282, 265, 425, 426, 427, 170, 112]
    ]
  }
}

const ofAll = [428, 429, 430, 431, 432, 433, 442]

const LOAD = 0x20
const JUMP_IF_EQUAL = 0x15
const JUMP_IF_AT_LEAST = 0x35
const JUMP_IF_ANY_BIT = 0x45
const RETURN = 0x06

const ALLOW = 0x7fff0000
const KILL = 0x80000000
const EPERM = 0x00050001
const ENOSYS = 0x00050026
const clone3 = 435
const CLONE_NEWUSER = 0x10000000
/** Calls of x32, which x64 kernels may take as well. */
const x32 = 0x40000000

const instruction = (code: number, ifTrue: number, ifFalse: number, value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt16LE(code, 0)
  bytes[2] = ifTrue
  bytes[3] = ifFalse
  bytes.writeUInt32LE(value >>> 0, 4)
  return bytes
}

/** `undefined`: none is known for this machine. */
export const filter = (architecture: string): Buffer | undefined => {
  const machine = machines[architecture]
  if (machine === undefined) return undefined
  const refused = [...machine.refused, ...ofAll]
  // After the list: the flags of clone, then the three ends.
  const toEperm = 4
  return Buffer.concat([
    instruction(LOAD, 0, 0, 4),
    instruction(JUMP_IF_EQUAL, 1, 0, machine.audit),
    instruction(RETURN, 0, 0, KILL),
    instruction(LOAD, 0, 0, 0),
    instruction(JUMP_IF_AT_LEAST, refused.length + 1 + toEperm, 0, x32),
    // Each jumps over those after it.
    ...refused.map((call, index) => instruction(JUMP_IF_EQUAL, refused.length - index + toEperm, 0, call)),
    instruction(JUMP_IF_EQUAL, 5, 0, clone3),
    instruction(JUMP_IF_EQUAL, 0, 2, machine.clone),
    // The low half of its first argument.
    instruction(LOAD, 0, 0, 16),
    instruction(JUMP_IF_ANY_BIT, 1, 0, CLONE_NEWUSER),
    instruction(RETURN, 0, 0, ALLOW),
    instruction(RETURN, 0, 0, EPERM),
    instruction(RETURN, 0, 0, ENOSYS)
  ])
}
