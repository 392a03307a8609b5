"""The descriptions in os.d, read and judged: what they say, who could have written them, and which of their keys this node has.

They are input of programs that run as root, and the keys are what everything rests on, so both must be
root's and nobody else's to change, with every directory on the way.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat

from dtcxen_soap import osfacts
from dtcxen_soap.install import osdescription
from dtcxen_soap.nodefiles import listdir, read_bytes
from dtcxen_soap.osfacts import OsTypeFact, RemoteBundle
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey.programs import OS_NAME, writable_by_others

SUFFIX = ".toml"
_MOST_BYTES = 1 << 17
_MOST_KEY_BYTES = 1 << 20


def every(settings: Settings) -> tuple[OsTypeFact, ...]:
    """Every file NAME.toml of os.d, sorted, the bad ones with what is wrong with them. Raises nothing."""
    return tuple(_read(settings, name.removesuffix(SUFFIX)) for name in listdir(settings.os_types_dir) if name.endswith(SUFFIX) and not name.startswith("."))


def names(settings: Settings) -> tuple[str, ...]:
    """Names of those without a problem."""
    return tuple(each.name for each in every(settings) if not each.problems)


def os_type(settings: Settings, name: str) -> OsTypeFact | None:
    """The description of this name with everything that is wrong with it; None when there is none."""
    if not OS_NAME.fullmatch(name) or not os.path.lexists(f"{settings.os_types_dir}/{name}{SUFFIX}"):
        return None
    return _read(settings, name)


def _read(settings: Settings, name: str) -> OsTypeFact:
    path = f"{settings.os_types_dir}/{name}{SUFFIX}"
    if not OS_NAME.fullmatch(name):
        return OsTypeFact(name=name, path=path, description=None, problems=(f"{path}: the name is not one that callers can write",))
    problems = tuple(f"{path}: {part} can be written by others than root" for part in writable_by_others(path, settings.config_dir))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(0, "not a regular file", path)
        data = read_bytes(path, _MOST_BYTES)
    except OSError as error:
        return OsTypeFact(name=name, path=path, description=None, problems=(*problems, f"{path}: cannot be read: {error.strerror}"))
    parsed = osdescription.parse(data, name, path)
    digest = hashlib.sha256(data).hexdigest()
    if parsed.description is None or problems:
        return OsTypeFact(name=name, path=path, description=None, problems=(*problems, *parsed.problems), digest=digest)
    lacking = tuple(f"{path}: {text}" for key in osfacts.keys(parsed.description) if (text := _objection(key)))
    remote = isinstance(parsed.description, RemoteBundle)
    kept = listdir(f"{settings.os_store_dir}/bundles/{name}") if remote else ()
    return OsTypeFact(
        name=name, path=path, description=parsed.description, lacking=lacking, digest=digest, kept=kept, token=secrets.token_hex(8) if remote else "")


def _objection(key: str) -> str:
    """Why a file of keys cannot be relied on; "" when it can."""
    try:
        status = os.stat(key)
    except OSError as error:
        return f"the key file {key}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= _MOST_KEY_BYTES:
        return f"the key file {key} is no file of keys: it is empty, too long, or no file at all"
    if parts := writable_by_others(key, os.path.dirname(key)):
        return f"the key file {key}: {', '.join(parts)} can be written by others than root"
    return ""
