"""The foundation: database, keys, objects, jobs, time, errors and the classification of columns."""
