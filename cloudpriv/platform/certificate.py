"""A certificate that signs answers: whoever has it can tell that they are ours, and that nobody altered them."""

import base64
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from cloudpriv.platform.keys import KeyFault

LEAST_BITS: Final = 2048  # of FIPS 186-5, for RSA


@dataclass(frozen=True, repr=False)
class Certificate:
    """An RSA key and the certificate that names its holder; `chain` (PEM) begins with it. No repr shows the key."""

    chain: bytes
    domain: str
    _key: RSAPrivateKey

    def sign(self, body: bytes) -> str:
        """The signature of exactly these bytes: RSASSA-PKCS1-v1_5 with SHA-256 (FIPS 186-5), in base64."""
        return base64.b64encode(self._key.sign(body, PKCS1v15(), SHA256())).decode()


def load_certificate(path: Path, domain: str) -> Certificate:
    """The key and the certificates of a PEM file, of which the first is the key's and names `domain`, a host or an address.

    Raises KeyFault saying what is wrong, never what is in the file.
    """
    try:
        content = path.read_bytes()
        key, chain = load_pem_private_key(content, password=None), x509.load_pem_x509_certificates(content)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise KeyFault(f"a certificate and its key cannot be read ({type(fault).__name__})") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_BITS:
        raise KeyFault(f"the key of a certificate is not of RSA with {LEAST_BITS} bits or more")
    if key.public_key() != chain[0].public_key():
        raise KeyFault("a certificate is not that of the key beside it")
    if not _names(chain[0], domain):
        raise KeyFault("a certificate does not name the host of the URL that it is to sign for")
    return Certificate(b"".join(each.public_bytes(Encoding.PEM) for each in chain), domain, key)


def _names(certificate: x509.Certificate, domain: str) -> bool:
    """Whether the certificate is for this host (RFC 6125, 6.4); a wildcard stands for one label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ip_address(domain) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return domain in known or f"*.{domain.partition('.')[2]}" in known
