"""gitdags: every DAG, at every commit.

The Python API is :mod:`gitdags.catalog`; the command line, and all else that shows something,
only renders its answers.
"""

__version__ = "0.1.0"
