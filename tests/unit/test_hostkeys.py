"""Host keys that were made ahead: each is given away once, and OpenSSH reads it."""

from __future__ import annotations

import concurrent.futures
import itertools
import subprocess
from pathlib import Path

import pytest

from dtcxen_soap import certificates, hostkeys
from dtcxen_soap.hostkeys import SpareKeys
from dtcxen_soap.vps import Secret


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keys that are numbers; the list says which were made."""
    made: list[int] = []
    numbers = itertools.count(1)

    def new() -> tuple[Secret, str]:
        made.append(next(numbers))
        return Secret(f"private {made[-1]}"), f"public {made[-1]}"

    monkeypatch.setattr(certificates, "new_ssh_key", new)
    return made


def test_one_is_made_ahead_and_each_is_given_once(counted: list[int]) -> None:
    keys = SpareKeys()
    keys.begin()
    keys.begin()
    given = [keys.take()[1] for _ in range(3)]
    assert given == ["public 1", "public 2", "public 3"]
    keys._maker.shutdown()
    assert counted == [1, 2, 3, 4], "one waits for the next"


def test_many_at_once_get_different_ones(counted: list[int]) -> None:
    keys = SpareKeys()
    with concurrent.futures.ThreadPoolExecutor(8) as callers:
        given = [pair[1] for pair in callers.map(lambda _: keys.take(), range(40))]
    assert len(set(given)) == 40


@pytest.mark.machine
@pytest.mark.parametrize(("kind", "name", "bits"), [("rsa", "ssh-rsa", "3072 "), ("ecdsa", "ecdsa-sha2-nistp256", "256 "), ("ed25519", "ssh-ed25519", "256 ")])
def test_openssh_reads_it(tmp_path: Path, kind: str, name: str, bits: str) -> None:
    private, public = hostkeys.SpareKeys().take(kind)
    (tmp_path / "key").write_text(private.reveal())
    (tmp_path / "key").chmod(0o600)
    told = subprocess.run(["ssh-keygen", "-y", "-f", str(tmp_path / "key")], capture_output=True, text=True, check=True).stdout.split()
    assert told[:2] == public.split() and told[0] == name
    assert subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "key")], capture_output=True, text=True, check=True).stdout.startswith(bits)
