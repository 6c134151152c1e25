"""The command line: translates words and errors, renders what the catalog answers."""
