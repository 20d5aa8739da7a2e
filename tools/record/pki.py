"""A throwaway certificate authority in a folder: made for one recording, gone with its folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def make(folder: Path, clients: list[str]) -> None:
    """Write ca.crt, and certificate and key of `server` and of every client by its common name."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = _name("recorder-ca")
    certificate = _builder(name, name, authority.public_key())
    certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    (folder / "ca.crt").write_bytes(_pem(certificate.sign(authority, hashes.SHA256())))
    _issue(folder, name, authority, "server", ExtendedKeyUsageOID.SERVER_AUTH)
    for client in clients:
        _issue(folder, name, authority, client, ExtendedKeyUsageOID.CLIENT_AUTH)


def _issue(
    folder: Path,
    issuer: x509.Name,
    authority: ec.EllipticCurvePrivateKey,
    common_name: str,
    usage: x509.ObjectIdentifier,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(common_name), issuer, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        # remote-cert-tls wants a key usage as well.
        .add_extension(_SIGNATURE_ONLY, critical=True)
    )
    (folder / f"{common_name}.crt").write_bytes(_pem(certificate.sign(authority, hashes.SHA256())))
    private = folder / f"{common_name}.key"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


_SIGNATURE_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
