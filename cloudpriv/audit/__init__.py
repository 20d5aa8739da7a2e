"""Who read or changed whose data, when: append-only and without personal data."""
