"""The try-out stack: PostgreSQL, Valkey and an S3 server from wheels, all data in one folder (Linux).

For trials, demonstrations and tests; a production set-up names its own servers in the settings.
"""
