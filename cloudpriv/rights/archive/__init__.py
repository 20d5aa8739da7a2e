"""The archive of an account's data, or of one person's: its members, their schemas, its readable page, and its check."""
