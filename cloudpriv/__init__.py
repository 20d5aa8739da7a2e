"""cloudpriv: the system of record for the personal data of an industrial-IoT cloud."""
