"""The `recorder` engine: what a DAG file imports instead of Airflow, so that its own Python runs.

Nothing here needs Airflow, a provider or anything else beyond the standard library. `finder` answers
imports: of ``airflow`` with the classes of `dag`, `graph`, `operators`, `taskflow` and `things`, chosen by
`names`; of any other module that is missing with a stand-in (`standin`). What a file asks for comes
from `inputs` and `surroundings`, or is one of `placeholders`; `patches` lets the standard library take
what is only a placeholder. `engine` runs a file and `describe` writes down what it built, as
``gitdags/dag@1``. What had to be guessed is kept in `notes`. `era` knows what was called what in
which Airflow.
"""

REVISION = "1"
"""Part of the environment: another revision may make another document of the same file."""
