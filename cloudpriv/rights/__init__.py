"""The rights of data subjects: requests and exports (GDPR Articles 15 to 22)."""
