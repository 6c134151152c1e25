"""Airflow's own way to a commit: GitDagBundle.initialize(version). Run by an interpreter that has it.

Arguments: a repository, a file, commits. Prints a JSON list: seconds to the file's first byte.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="gitdags-bench-")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = "sqlite://"
os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"] = os.environ["AIRFLOW_HOME"]
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

from airflow.providers.git.bundles.git import GitDagBundle

repository, path, *commits = sys.argv[1:]
seconds = []
for commit in commits:
    start = time.perf_counter()
    bundle = GitDagBundle(
        name="bench", tracking_ref="HEAD", version=commit, repo_url=repository, subdir=""
    )
    bundle.initialize()
    (Path(bundle.path) / path).exists()
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds[1:] or seconds))  # the first one also clones
