"""The mount: every ref of every registered repository as a folder, read-only.

`vfs` says what the file system looks like and knows no FUSE; `kernel` and `libfuse` carry it to
the operating system; `mount` starts, supervises and ends it. docs/mount.md has the reasons.
"""
