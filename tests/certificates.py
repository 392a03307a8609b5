"""Key pairs for tests, made in memory: today's, and one as old nodes have it."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_PEM, _FORMAT = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL


def make_pair(folder: Path, name: str = "node", *, rsa_bits: int = 0, passphrase: str = "", days: int = 1) -> tuple[Path, Path]:
    """Write folder/name.crt and .key for localhost; an RSA key of `rsa_bits`, else one on P-256. It ends in so many `days`, which may be past."""
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1) + min(timedelta(days=days), timedelta())).not_valid_after(now + timedelta(days=days)).add_extension(names, False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256()))
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(_PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(_PEM, _FORMAT, locked))
    return folder / f"{name}.crt", folder / f"{name}.key"
