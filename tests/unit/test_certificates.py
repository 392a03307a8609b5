"""A certificate that strict clients take, proven by handshakes in memory: no socket, no file of the machine."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from dtcxen_soap.certificates import new_key, self_signed
from dtcxen_soap.vps import Secret

NAMES = ("localhost", "node.example.com", "127.0.0.1", "::1")


def handshake(directory: Path, key: Secret, certificate: str, name: str) -> None:
    """A whole TLS handshake in memory, the client as strict as OpenSSL can be; ssl.SSLError when it refuses."""
    (directory / "key.pem").write_text(key.reveal())
    (directory / "certificate.pem").write_text(certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    client = ssl.create_default_context(cafile=str(directory / "certificate.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    pipes = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    ends = [client.wrap_bio(pipes[0], pipes[1], server_hostname=name), server.wrap_bio(pipes[1], pipes[0], server_side=True)]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not ends, "the handshake did not end"


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_client_takes_it_under_every_name(tmp_path: Path, name: str) -> None:
    key = new_key()
    handshake(tmp_path, key, self_signed(key, NAMES, datetime.now(UTC)), name)


def test_under_no_other_name(tmp_path: Path) -> None:
    key = new_key()
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(tmp_path, key, self_signed(key, NAMES, datetime.now(UTC)), "other.example.com")


@pytest.mark.parametrize(("moved", "text"), [(timedelta(days=-3660), "expired"), (timedelta(hours=2), "not yet valid")])
def test_it_lasts_ten_years_from_an_hour_ago(tmp_path: Path, moved: timedelta, text: str) -> None:
    key = new_key()
    for shift in (timedelta(days=-3640), timedelta(minutes=50)):
        handshake(tmp_path, key, self_signed(key, NAMES, datetime.now(UTC) + shift), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match=text):
        handshake(tmp_path, key, self_signed(key, NAMES, datetime.now(UTC) + moved), "localhost")


def test_it_is_a_servers_and_no_authority() -> None:
    made = x509.load_pem_x509_certificate(self_signed(new_key(), NAMES, datetime.now(UTC)).encode())
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and not constraints.value.ca
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]
    subject = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == subject


def test_the_key_is_p256_and_each_is_new() -> None:
    key = serialization.load_pem_private_key(new_key().reveal().encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
    assert new_key() != new_key()


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey, passphrase: bytes = b"") -> Secret:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return Secret(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode())


def test_an_old_nodes_rsa_key_serves(tmp_path: Path) -> None:
    key = pem(rsa.generate_private_key(65537, 2048))
    handshake(tmp_path, key, self_signed(key, NAMES, datetime.now(UTC)), "localhost")


@pytest.mark.parametrize("key", [
    pem(ec.generate_private_key(ec.SECP256R1()), b"locked"), pem(x25519.X25519PrivateKey.generate()), Secret("no key")], ids=["locked", "x25519", "none"])
def test_other_keys_are_refused_without_being_shown(key: Secret) -> None:
    with pytest.raises(ValueError) as caught:
        self_signed(key, NAMES, datetime.now(UTC))
    assert key.reveal() not in str(caught.value)


def test_a_long_host_name_fits_and_no_name_does_not() -> None:
    long = ".".join(["a" * 60] * 4)
    made = x509.load_pem_x509_certificate(self_signed(new_key(), (long,), datetime.now(UTC)).encode())
    assert made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [long]
    with pytest.raises(ValueError):
        self_signed(new_key(), (), datetime.now(UTC))
