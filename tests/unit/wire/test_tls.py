"""TLS: versions, ciphers, passphrases, old keys, and a reload that keeps what works."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from dtcxen_soap import settings
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.wire.tls import Connections, context
from tests.certificates import make_pair


def node(pair: tuple[Path, Path], **changed: Any) -> settings.Settings:
    values = {"tls_certificate": pair[0], "tls_key": pair[1], **changed}
    return settings.load("\n".join(f"{name}={value}" for name, value in values.items())).settings


def shake_hands(server: SSL.Connection, *, newest: int = SSL.TLS1_3_VERSION, ciphers: bytes = b"ALL:@SECLEVEL=0") -> SSL.Connection:
    """A client's side of a handshake in memory; SSL.Error when they do not agree."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_max_proto_version(newest)
    made.set_cipher_list(ciphers)
    client = SSL.Connection(made, None)
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    assert client.get_cipher_name()
    return client


def test_todays_client_gets_todays_cipher(tmp_path: Path) -> None:
    connections = Connections(node(make_pair(tmp_path)))
    client = shake_hands(connections.serverConnectionForTLS(None))
    assert client.get_protocol_version_name() == "TLSv1.3"
    client = shake_hands(connections.serverConnectionForTLS(None), newest=SSL.TLS1_2_VERSION)
    assert client.get_cipher_name().startswith("ECDHE-") and ("GCM" in client.get_cipher_name() or "CHACHA" in client.get_cipher_name())


@pytest.mark.parametrize("offer", [{"newest": SSL.TLS1_1_VERSION}, {"newest": SSL.TLS1_2_VERSION, "ciphers": b"AES128-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"}])
def test_old_versions_and_ciphers_are_refused(tmp_path: Path, offer: dict[str, Any]) -> None:
    with pytest.raises(SSL.Error):
        shake_hands(Connections(node(make_pair(tmp_path))).serverConnectionForTLS(None), **offer)


def test_the_settings_say_which_version_is_the_oldest(tmp_path: Path) -> None:
    with pytest.raises(SSL.Error):
        shake_hands(Connections(node(make_pair(tmp_path), tls_min_version="1.3")).serverConnectionForTLS(None), newest=SSL.TLS1_2_VERSION)


def test_old_versions_can_be_had_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Connections(node(make_pair(tmp_path), tls_min_version="1.0"))
    assert shake_hands(made.serverConnectionForTLS(None), newest=SSL.TLS1_1_VERSION).get_protocol_version_name() == "TLSv1.1"
    assert "tls_min_version=1.0" in caplog.text


def test_a_weak_key_is_loaded_and_loudly_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Connections(node(make_pair(tmp_path, rsa_bits=1024)))
    assert shake_hands(made.serverConnectionForTLS(None)).get_protocol_version_name() == "TLSv1.3"
    assert "WEAK KEY OR CERTIFICATE (ee key too small)" in caplog.text and caplog.records[0].levelno == logging.WARNING


def test_a_good_key_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context(node(make_pair(tmp_path)))
    assert caplog.text == ""


def test_a_passphrase_opens_the_key_and_is_never_asked_for(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, passphrase="sesame")
    context(node(pair, cert_passphrase="sesame"))
    for wrong in ("", "simsalabim"):
        with pytest.raises(Misconfigured, match="cert_passphrase does not open it") as caught:
            context(node(pair, cert_passphrase=wrong))
        assert not wrong or wrong not in str(caught.value)
    context(node(make_pair(tmp_path, "plain"), cert_passphrase="not needed"))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    good, other = make_pair(tmp_path), make_pair(tmp_path, "other")
    (tmp_path / "junk").write_text("junk")
    for pair, problem in (((good[0], other[1]), "mismatch"), ((tmp_path / "none", good[1]), "no such certificate"), ((good[0], tmp_path / "none"), "No such file"),
                          ((good[0], tmp_path / "junk"), "not a private key"), ((tmp_path / "junk", good[1]), "no start line")):
        with pytest.raises(Misconfigured, match=problem) as caught:
            context(node(pair))
        assert str(tmp_path) in str(caught.value)


def test_a_reload_takes_the_new_pair_and_a_bad_one_keeps_the_old(tmp_path: Path) -> None:
    def subject() -> str:
        return str(shake_hands(made.serverConnectionForTLS(None)).get_peer_certificate().get_subject().CN)

    made = Connections(node(make_pair(tmp_path, "first")))
    made.reload(node(make_pair(tmp_path, "second")))
    assert subject() == "second"
    with pytest.raises(Misconfigured):
        made.reload(node((tmp_path / "first.crt", tmp_path / "second.key")))
    assert subject() == "second"


def test_the_end_of_what_is_served_is_told_not_of_what_lies_there(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, days=3)
    made = Connections(node(pair))
    assert abs((made.certificate_ends() - datetime.now(UTC)).total_seconds() - 3 * 86400) < 60
    make_pair(tmp_path, days=30)
    assert (made.certificate_ends() - datetime.now(UTC)).days < 3, "not read again yet"
    made.reload(node(pair))
    assert (made.certificate_ends() - datetime.now(UTC)).days >= 29
