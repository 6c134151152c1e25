"""The part of the serializer that runs beside DAG code, in the interpreter that has Airflow.

It needs the standard library and the Airflow it finds, nothing of gitdags: the folder can be
copied or bound anywhere and started as ``python FOLDER CONTROL_FD CONFIG``. A warm parent
(`parent`) forks one child (`job`) per DAG file; the child records what it reads (`trace`), lets
Airflow parse the file (`engine`), and describes what came out as JSON (`describe`, `values`).
"""
