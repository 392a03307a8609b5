"""Which QEMU there is, and whether it can compare VNC passwords."""

from __future__ import annotations

import pytest

from dtcxen_soap.facts import QemuFact
from dtcxen_soap.survey.qemu import OVMF, QEMU, qemu
from tests.fakes import ScriptedDom0


@pytest.mark.parametrize(("program", "able"), [
    (b"\x7fELF libglib-2.0.so.0\0libspice-server.so.1\0", False), (b"\x7fELF libgnutls.so.30\0", True),
    (b"\x7fELF libnettle.so.8\0", True),
    (b"\x7fELF libgcrypt.so.20\0", True)])
def test_passwords_need_a_crypto_library(program: bytes, able: bool) -> None:
    assert qemu(ScriptedDom0(files={QEMU[0]: program})) == QemuFact(QEMU[0], able, False)


def test_what_is_there() -> None:
    assert qemu(ScriptedDom0()) == QemuFact()
    assert qemu(ScriptedDom0(files={OVMF[0]: ""})) == QemuFact(uefi=True)
    assert qemu(ScriptedDom0(files={QEMU[1]: b"libgnutls.so", OVMF[1]: ""})) == QemuFact(QEMU[1], True, True)
