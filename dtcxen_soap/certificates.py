"""A node's own key and self-signed certificate, for a node that has none yet; what a certificate that is there says; keys of SSH hosts.

EC P-256, which every TLS 1.2 client takes and which costs little per connection. The extensions are
those that strict verifiers ask of a certificate that is its own anchor (RFC 5280, 4.2.1).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dtcxen_soap.upgradefacts import FoundCertificate
from dtcxen_soap.vps import Secret

VALID_DAYS = 3652
_NOT_YET_SYNCED = timedelta(hours=1)
_LONGEST_COMMON_NAME = 64


def new_key() -> Secret:
    """A fresh private key as unencrypted PKCS #8 PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Secret(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode())


def new_ssh_key(kind: str = "rsa") -> tuple[Secret, str]:
    """A fresh key for an SSH host: the private one as OpenSSH keeps it since 6.5 (2014), and the public one without a comment.

    `kind` is ssh-keygen's word: rsa (of 3072 bits), ecdsa (on P-256) or ed25519.
    """
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    match kind:
        case "ed25519":
            key = ed25519.Ed25519PrivateKey.generate()
        case "ecdsa":
            key = ec.generate_private_key(ec.SECP256R1())
        case _:
            key = rsa.generate_private_key(65537, 3072)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    return Secret(private), key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def self_signed(key: Secret, names: Sequence[str], now: datetime) -> str:
    """A certificate in PEM for `names` (host names and addresses), valid for ten years from `now` (UTC).

    It begins an hour early, for clients whose clock is behind. ValueError for a key that cannot be
    read without a passphrase, and for no names.
    """
    if not names:
        raise ValueError("a certificate needs a name")
    private = _load(key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_LONGEST_COMMON_NAME])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - _NOT_YET_SYNCED).not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(item) for item in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False))
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def described(pem: bytes) -> FoundCertificate:
    """The first certificate of a file, in words; its trouble where it cannot be read."""
    try:
        found = x509.load_pem_x509_certificate(pem)
        return FoundCertificate(found.subject.rfc4514_string(), ends(found), _kind(found), _hash_name(found))
    except (ValueError, UnsupportedAlgorithm) as error:
        return FoundCertificate(trouble=str(error).splitlines()[0][:200] if str(error) else "not a certificate in PEM")


def ends(certificate: x509.Certificate) -> datetime:
    """When a certificate ends (UTC), as old and new versions of the library tell it."""
    return certificate.not_valid_after_utc if hasattr(certificate, "not_valid_after_utc") else certificate.not_valid_after.replace(tzinfo=UTC)


def _kind(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ec-{key.curve.key_size}"
    bits = getattr(key, "key_size", 0)
    kind = "rsa" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__.strip("_").removesuffix("PublicKey").lower()
    return f"{kind}-{bits}" if bits else kind


def _hash_name(certificate: x509.Certificate) -> str:
    """The hash of its signature; "" where the algorithm has none of its own."""
    found = certificate.signature_hash_algorithm
    return found.name if found else ""


def _load(key: Secret) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        private = serialization.load_pem_private_key(key.reveal().encode(), None)
    except (TypeError, ValueError) as error:
        raise ValueError("a private key that opens without a passphrase is needed") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("an RSA or EC key is needed")
    return private


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
