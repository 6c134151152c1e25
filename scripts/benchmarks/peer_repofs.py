"""RepoFS, a FUSE file system over Git from the literature. Run by an interpreter that has it.

Arguments: a repository, a file, commits. Prints a JSON list: seconds to the file's first byte.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

repository, path, *commits = sys.argv[1:]
with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryDirectory() as cloned:
    # RepoFS takes no bare repository
    subprocess.run(["git", "clone", "-q", "--no-checkout", repository, cloned], check=True)
    program = Path(sys.executable).with_name("repofs")
    command = [str(program), "--hash-trees", cloned, temporary]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    top = Path(temporary) / "commits-by-hash"
    try:
        until = time.monotonic() + 20  # it goes to the background before it has mounted
        while not top.is_dir():
            if time.monotonic() > until:
                sys.exit("repofs mounted nothing")
            time.sleep(0.05)
        seconds = []
        for commit in commits:
            place = top / commit[:2] / commit[2:4] / commit[4:6] / commit
            start = time.perf_counter()
            with contextlib.suppress(OSError):  # it answers EROFS for what it has not
                (place / path).read_bytes()
            seconds.append(time.perf_counter() - start)
        print()
        print(json.dumps(seconds), flush=True)
    finally:
        subprocess.run(["fusermount", "-u", "-z", temporary], check=False, capture_output=True)
        server.terminate()
        server.wait()
