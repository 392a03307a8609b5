"""TLS for the service: today's versions and ciphers, yesterday's certificates if there is no other.

An old node's key may be shorter, or its certificate signed worse, than OpenSSL still takes. Such
a node is not left without its daemon: the pair is loaded at a lower security level, and the log
says so, loudly, at every start.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from dtcxen_soap import certificates
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.settings import Settings

log = logging.getLogger(__name__)

_VERSIONS = {"1.0": SSL.TLS1_VERSION, "1.1": SSL.TLS1_1_VERSION, "1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_OLD_CIPHERS = _CIPHERS + ":ECDHE+AES"
_NO_RENEGOTIATION = 0x40000000
_SECURITY_LEVELS = (2, 1, 0)


def context(settings: Settings) -> SSL.Context:
    """A server context with the certificate of the settings; Misconfigured says what cannot be used."""
    problems: list[str] = []
    old_versions = settings.tls_min_version in ("1.0", "1.1")
    for level in (0,) if old_versions else _SECURITY_LEVELS:
        made = _empty(settings, level)
        try:
            _load(made, settings)
        except SSL.Error as error:
            problems.append(_reasons(error))
            continue
        if problems:
            log.warning("%s: WEAK KEY OR CERTIFICATE (%s), loaded at security level %d: make a new pair soon", settings.tls_certificate, problems[0], level)
        if old_versions:
            log.warning("tls_min_version=%s: TLS that old can be read by others: use 1.2 as soon as your clients can", settings.tls_min_version)
        return made
    raise Misconfigured(f"{settings.tls_certificate} and {settings.tls_key}: {problems[-1]}")


def _empty(settings: Settings, level: int) -> SSL.Context:
    """A context of our choices, without a certificate yet."""
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(_VERSIONS[settings.tls_min_version])
    ciphers = _OLD_CIPHERS if settings.tls_min_version in ("1.0", "1.1") else _CIPHERS
    made.set_cipher_list(f"{ciphers}:@SECLEVEL={level}".encode())
    made.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | _NO_RENEGOTIATION)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return made


def _load(made: SSL.Context, settings: Settings) -> None:
    """Load chain and key; SSL.Error for what OpenSSL refuses, Misconfigured for what cannot be read."""
    if not Path(settings.tls_certificate).is_file():
        raise Misconfigured(f"{settings.tls_certificate}: no such certificate; dtcxen init makes one")
    made.use_certificate_chain_file(settings.tls_certificate)
    _load_key(made, settings)


def _load_key(made: SSL.Context, settings: Settings) -> None:
    """Load the private key. A passphrase is always given, since OpenSSL would ask the terminal for it."""
    try:
        encrypted = b"ENCRYPTED" in Path(settings.tls_key).read_bytes()
    except OSError as error:
        raise Misconfigured(f"{settings.tls_key}: {error.strerror}") from None
    passphrase = settings.cert_passphrase.reveal().encode()
    made.set_passwd_cb(lambda longest, verify, extra: passphrase)
    try:
        made.use_privatekey_file(settings.tls_key)
    except SSL.Error as error:
        if "mismatch" in _reasons(error):
            raise
        raise Misconfigured(f"{settings.tls_key}: " + ("cert_passphrase does not open it" if encrypted else "not a private key in PEM")) from None


def _reasons(error: SSL.Error) -> str:
    """OpenSSL's own words, without its libraries' names."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(dict.fromkeys(str(item[-1]) for item in queue)) or "not a usable certificate and key"


@implementer(IOpenSSLServerConnectionCreator)
class Connections:
    """Makes the TLS side of each connection, with the certificate of the latest reload."""

    def __init__(self, settings: Settings) -> None:
        self._context = context(settings)

    def reload(self, settings: Settings) -> None:
        """Read the certificate and key again; Misconfigured leaves the old ones in use."""
        self._context = context(settings)

    def certificate_ends(self) -> datetime:
        """When the certificate that is served ends (UTC), be there another in the file by now."""
        certificate = SSL.Connection(self._context, None).get_certificate()
        assert certificate is not None, "a context without a certificate was refused when it was made"
        return certificates.ends(certificate.to_cryptography())

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Twisted's question for each new connection."""
        return SSL.Connection(self._context, None)
