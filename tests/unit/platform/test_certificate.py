"""The certificate that signs answers: the key's own, for the host that signs."""

from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cloudpriv.platform.certificate import load_certificate
from cloudpriv.platform.keys import KeyFault
from tests.dsr import check_signature
from tests.factories import NOW

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HOSTS = [x509.DNSName("logdata.example"), x509.DNSName("*.wild.example"), x509.IPAddress(IPv4Address("192.0.2.1"))]


def issued(key: rsa.RSAPrivateKey, *, named: bool = True) -> bytes:
    """A certificate of a key, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "logdata.example")])
    until = NOW + timedelta(days=1)
    draft = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, until)
    if named:
        draft = draft.add_extension(x509.SubjectAlternativeName(HOSTS), critical=False)
    return draft.sign(key, SHA256()).public_bytes(Encoding.PEM)


def secret(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a certificate lies."""
    return tmp_path / "certificate.pem"


@pytest.mark.parametrize("domain", ["logdata.example", "a.wild.example", "192.0.2.1"])
def test_a_certificate_signs_for_the_hosts_that_it_names(file: Path, domain: str) -> None:
    file.write_bytes(secret(KEY) + issued(KEY) + issued(OTHER))
    found = load_certificate(file, domain)
    assert found.domain == domain
    assert found.chain == issued(KEY) + issued(OTHER)
    check_signature(found.chain, found.sign(b"body"), b"body")
    assert "PRIVATE" not in found.chain.decode()


@pytest.mark.parametrize("domain", ["other.example", "a.b.wild.example", "wild.example", "192.0.2.2", ""])
def test_a_certificate_for_another_host_is_refused(file: Path, domain: str) -> None:
    file.write_bytes(secret(KEY) + issued(KEY))
    with pytest.raises(KeyFault, match="host"):
        load_certificate(file, domain)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        secret(KEY),
        issued(KEY),
        secret(KEY) + issued(OTHER),
        secret(KEY) + issued(KEY, named=False),
        secret(ed25519.Ed25519PrivateKey.generate()) + issued(KEY),
    ],
    ids=["nothing", "no certificate", "no key", "another's", "no names", "no RSA"],
)
def test_what_could_not_sign_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(KeyFault):
        load_certificate(file, "logdata.example")
