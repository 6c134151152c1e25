"""seccomp: the system calls that no DAG file has a use for, refused.

A deny list, assembled here as classic BPF: the worker has the standard library only. It is the
layer under namespaces and Landlock: what could undo those (a nested user namespace, mounts), what
reaches other processes (ptrace), and kernel interfaces with a history of holes.
https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from . import kernel

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""machine -> (AUDIT_ARCH_*, column of the tables below)"""

# name: (x86_64, aarch64); None where the architecture has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # what makes namespaces, mounts and roots
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428),
    "move_mount": (429, 429), "mount_setattr": (442, 442),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    # files by number rather than by name, which go round Landlock
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # memory that no limit counts, and objects that outlive their maker
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # the kernel itself
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116), "personality": (135, 92), "vhangup": (153, 58), "vmsplice": (278, 75),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "fanotify_init": (300, 262),
    "modify_ldt": (154, None), "iopl": (172, None), "ioperm": (173, None),
}  # fmt: skip

# Without namespaces the rest of the machine is in sight: what Landlock does not govern.
_REFUSED_IN_SIGHT: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}  # fmt: skip
_TRUNCATE = (76, 45)
# name: (numbers, the argument that is a process); 0 and the caller's own number stay allowed.
_OF_A_PROCESS: dict[str, tuple[tuple[int, int], int]] = {
    "prlimit64": ((302, 261), 0), "sched_setparam": ((142, 118), 0),
    "sched_setscheduler": ((144, 119), 0), "sched_setattr": ((314, 274), 0),
    "sched_setaffinity": ((203, 122), 0), "setpriority": ((141, 140), 1), "ioprio_set": ((251, 30), 1),
}  # fmt: skip
_SIGNALS: dict[str, tuple[tuple[int, int], int]] = {
    "kill": ((62, 129), 0), "tkill": ((200, 130), 0), "tgkill": ((234, 131), 0),
    "rt_sigqueueinfo": ((129, 138), 0), "rt_tgsigqueueinfo": ((297, 240), 0),
}  # fmt: skip
_PIDFD_SEND_SIGNAL = (424, 424)
_SOCKET, _CLONE, _CLONE3, _IOCTL = (41, 198), (56, 220), (435, 435), (16, 29)

_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag of clone(2)
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: type into somebody's terminal
_MAX_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_PR_SET_SECCOMP, _FILTER = 22, 2


def supported() -> bool:
    """Whether this module has the tables of this machine."""
    return platform.machine() in _ARCHITECTURES


def restrict(program: bytes) -> None:
    """Put a program in force for this process and its descendants, for ever. Raises OSError.

    Needs no_new_privs.
    """

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    held = ctypes.create_string_buffer(program, len(program))
    it = Filter(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(it), 0, 0):
        raise kernel.error("seccomp")


def program(own: int, *, in_sight: bool, landlock: int) -> bytes:
    """The filter, as instructions of 8 bytes, for the process with number ``own``.

    ``in_sight``: the process has no namespaces of its own, so more is refused: every socket,
    permissions and owners of files, and, as far as Landlock of version ``landlock`` does not
    govern them, signals and truncating.
    """
    architecture, column = _ARCHITECTURES[platform.machine()]
    made = [
        _op(_LOAD, _ARCHITECTURE), _op(_EQUAL, architecture, 1, 0), _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
    ]  # fmt: skip
    if column == 0:
        made += [_op(_AT_LEAST, _MAX_X32, 0, 1), _op(_RETURN, _KILL)]

    def refuse(numbers: tuple[int | None, int | None], code: int = errno.EPERM) -> None:
        number = numbers[column]
        if number is not None:
            made.extend([_op(_EQUAL, number, 0, 1), _op(_RETURN, _ERRNO | code)])

    def decide(numbers: tuple[int, int], body: list[bytes]) -> None:
        """``body`` for this call; it must end in a return on every path."""
        made.extend([_op(_EQUAL, numbers[column], 0, len(body)), *body])

    refuse(_CLONE3, errno.ENOSYS)  # its flags are in memory; glibc then takes clone, seen below
    for name, numbers in _REFUSED.items():
        # A library tries another way after ENOSYS, and only then.
        refuse(numbers, errno.ENOSYS if name.startswith("memfd") else errno.EPERM)
    decide(
        _CLONE,
        [
            _op(_LOAD, _argument(0)),
            _op(_ANY_BIT, _NAMESPACES, 0, 1), _op(_RETURN, _ERRNO | errno.EPERM),
            _op(_RETURN, _ALLOW),
        ],
    )  # fmt: skip
    decide(_IOCTL, [_op(_LOAD, _argument(1)), *_unless(_TERMINAL_INPUT, _ALLOW, errno.EPERM)])
    if not in_sight:
        families = [_op(_EQUAL, f, len(_FAMILIES) - n, 0) for n, f in enumerate(_FAMILIES)]
        refused = _op(_RETURN, _ERRNO | errno.EAFNOSUPPORT)
        decide(_SOCKET, [_op(_LOAD, _argument(0)), *families, refused, _op(_RETURN, _ALLOW)])
    else:
        refuse(_SOCKET, errno.EACCES)
        for numbers in _REFUSED_IN_SIGHT.values():
            refuse(numbers)
        if landlock < 3:
            refuse(_TRUNCATE)
        governed = _OF_A_PROCESS if landlock >= 6 else _OF_A_PROCESS | _SIGNALS
        for processes, place in governed.values():
            decide(
                processes,
                [
                    _op(_LOAD, _argument(place)),
                    _op(_EQUAL, 0, 1, 0), _op(_EQUAL, own, 0, 1), _op(_RETURN, _ALLOW),
                    _op(_RETURN, _ERRNO | errno.EPERM),
                ],
            )  # fmt: skip
        if landlock < 6:
            refuse(_PIDFD_SEND_SIGNAL)
    made.append(_op(_RETURN, _ALLOW))
    return b"".join(made)


def _unless(values: tuple[int, ...], otherwise: int, code: int) -> list[bytes]:
    """Refuse with ``code`` when the loaded word is one of ``values``, else return ``otherwise``."""
    tests = [_op(_EQUAL, value, len(values) - n, 0) for n, value in enumerate(values)]
    return [*tests, _op(_RETURN, otherwise), _op(_RETURN, _ERRNO | code)]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(number: int) -> int:
    """Offset of the low word of an argument; both architectures are little-endian."""
    return 16 + 8 * number
