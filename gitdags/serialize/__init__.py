"""From a DAG file to a document: the part that runs beside DAG code, and the part that does not."""
