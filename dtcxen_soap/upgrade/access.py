"""Who gets in: htpasswd, the certificate and its key, and what of them others could have read.

The original's package made its secrets readable for every user of the node, and every customer is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade.finding import Finding, append, command, edit, left, listed, problem, taken, warning
from dtcxen_soap.upgrade.numbers import vps_of
from dtcxen_soap.upgradefacts import FoundCertificate, FoundFile, HtpasswdLine, OldNode
from dtcxen_soap.vps import VpsId

_WEAK_KINDS = {
    "des": "of which the first 8 characters count and no more", "sha1": "which is unsalted and quickly guessed"}
_ONCE_DEAD = ("bcrypt", "sha1", "sha256", "sha512", "apr1")
"""Hashes that the original could not verify: whoever has one could not sign in before, and can now."""
_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_SOON = timedelta(days=30)
_LEAST_BITS = {"rsa": 2048, "dsa": 1 << 20, "ec": 224}
_WEAK_HASHES = ("md2", "md4", "md5", "sha1")
RPM_CERTIFICATE, RPM_KEY = "/etc/pki/tls/certs/dtc-xen.crt", "/etc/pki/tls/private/dtc-xen.key"
_DAYS = "3652"


def judge(settings: Settings, node: OldNode, here: frozenset[VpsId]) -> Iterator[Finding]:
    """Everything about signing in; `here` are the VPSes of this node."""
    yield from _htpasswd_file(settings, node)
    yield from _htpasswd_lines(settings, node, here)
    yield from _certificate(settings, node)
    for file in node.key_copies:
        yield from _open_key(file, node)


# -- htpasswd -------------------------------------------------------------------------------------


def _htpasswd_file(settings: Settings, node: OldNode) -> Iterator[Finding]:
    path, file = settings.htpasswd_file, node.htpasswd
    if file is None:
        yield problem("htpasswd-missing", path, "there is no such file: nobody can sign in", command("htpasswd", "-c", "-B", path, settings.admin_user))
        return
    if file.mode & _OTHERS_WRITE or file.uid != node.owner:
        yield problem("htpasswd-writable", path, f"others than root may change who signs in ({file.mode:04o}, uid {file.uid})",
                      command("chown", "root:root", path), command("chmod", "600", path))
    elif file.mode & _OTHERS:
        yield problem("htpasswd-open", path, f"others than root can read the hashes and guess ({file.mode:04o}): also change the passwords", command("chmod", "600", path))


def _htpasswd_lines(settings: Settings, node: OldNode, here: frozenset[VpsId]) -> Iterator[Finding]:
    path = settings.htpasswd_file
    if node.htpasswd is not None and all(line.user != settings.admin_user for line in node.htpasswd_lines):
        yield problem("htpasswd-no-admin", path, f"it has no line of {settings.admin_user}, as whom the panel signs in", _set_password(settings, settings.admin_user))
    kinds = Counter(line.kind for line in node.htpasswd_lines if line.kind)
    if kinds:
        yield taken("htpasswd", path, f"these passwords stay as they are: {', '.join(f'{number} {kind}' for kind, number in sorted(kinds.items()))}")
    again = Counter(line.user for line in node.htpasswd_lines)
    for user in (user for user, number in again.items() if number > 1):
        yield warning("htpasswd-twice", path, f"{user} has {again[user]} lines: the last one counts", edit(path))
    for line in node.htpasswd_lines:
        yield from _line(line, settings, here)
    revived = tuple(line.user for line in node.htpasswd_lines if line.kind in _ONCE_DEAD)
    if revived and any(line.kind == "des" for line in node.htpasswd_lines):
        yield left("htpasswd-revived", path, f"the original could not verify the passwords of {listed(revived)}: they work from now on")


def _line(line: HtpasswdLine, settings: Settings, here: frozenset[VpsId]) -> Iterator[Finding]:
    where = f"{settings.htpasswd_file}:{line.number}"
    remove = command("htpasswd", "-D", settings.htpasswd_file, line.user)
    vps = vps_of(line.user)
    if not line.kind:
        yield problem("htpasswd-unreadable", where, f"{line.user} cannot sign in: nobody knows how this password is hashed", _set_password(settings, line.user))
    elif line.kind in _WEAK_KINDS:
        yield warning(f"htpasswd-{line.kind}", where, f"{line.user} signs in with a password hashed by {line.kind.upper()}, {_WEAK_KINDS[line.kind]}",
                      _set_password(settings, line.user))
    if line.user in (settings.admin_user, settings.monitor_user):
        return
    if vps is None:
        yield warning("htpasswd-nobody", where, f"{line.user} is neither the admin nor a VPS's user (xenNN): it cannot sign in", remove)
    elif vps not in here:
        yield warning("htpasswd-gone", where, f"there is no VPS {vps} on this node: an earlier tenant's password, removed when the number is used again", remove)


def _set_password(settings: Settings, user: str) -> str:
    return command("htpasswd", "-B", settings.htpasswd_file, user)


# -- certificate and key --------------------------------------------------------------------------


def _new_pair(settings: Settings) -> tuple[str, ...]:
    """A new pair beside the old, which stays under another name; the passphrase goes, since the new key has none."""
    key, certificate = settings.tls_key, settings.tls_certificate
    return (
        command("cp", "--archive", "--", key, f"{key}.before"), command("cp", "--archive", "--", certificate, f"{certificate}.before"),
        "(umask 077; " + command("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", _DAYS)
        + f' -subj "/CN=$(uname -n)" -addext "subjectAltName=DNS:$(uname -n)" {command("-keyout", key, "-out", certificate)})')


def _certificate(settings: Settings, node: OldNode) -> Iterator[Finding]:
    path, found = settings.tls_certificate, node.certificate
    if node.certificate_file is None or node.key_file is None:
        yield _no_pair(settings, node)
        return
    if node.tls_trouble:
        by_hand = (edit(f"{settings.config_dir}/dtc-xen.conf"),) if "cert_passphrase" in node.tls_trouble else _new_pair(settings)
        yield problem("certificate-unusable", f"{path}, {settings.tls_key}", f"{node.tls_trouble}: the daemon does not start", *by_hand)
    if found.trouble or found.ends is None:
        yield left("certificate-unknown", path, f"what it says is not known: {found.trouble}")
        return
    if found.ends <= node.now:
        yield warning("certificate-expired", path, f"it was valid until {found.ends:%Y-%m-%d}: the panel does not look, every other client refuses it", *_new_pair(settings))
    elif found.ends <= node.now + _SOON:
        yield warning("certificate-expires", path, f"it is valid until {found.ends:%Y-%m-%d}", *_new_pair(settings))
    if weak := _weakness(found):
        yield warning("certificate-weak", path, f"weak ({', '.join(weak)}), and used all the same", *_new_pair(settings))
    if not node.tls_trouble:
        yield taken("certificate", path, f"{found.subject or 'nameless'}, {found.key}, until {found.ends:%Y-%m-%d}; with its key {settings.tls_key}")


def _weakness(found: FoundCertificate) -> list[str]:
    """What of a certificate OpenSSL's security level 2 would not take, or nobody should."""
    kind, _, bits = found.key.partition("-")
    short = bits.isdecimal() and int(bits) < _LEAST_BITS.get(kind, 0)
    return [words for words, weak in ((f"an {kind.upper()} key of {bits} bits", short), (f"signed by {found.signed_by.upper()}", found.signed_by in _WEAK_HASHES)) if weak]


def _no_pair(settings: Settings, node: OldNode) -> Finding:
    lacking = listed(tuple(path for path, file in ((settings.tls_certificate, node.certificate_file), (settings.tls_key, node.key_file)) if file is None))
    if RPM_KEY in {file.path for file in node.key_copies}:
        conf = f"{settings.config_dir}/dtc-xen.conf"
        return problem("certificate-missing", lacking, f"not there; the original's pair of RPM systems is: {RPM_CERTIFICATE}, {RPM_KEY}",
                       append(conf, f"tls_certificate={RPM_CERTIFICATE}", f"tls_key={RPM_KEY}"))
    return problem("certificate-missing", lacking, "not there: the daemon does not start", _new_pair(settings)[-1])


def _open_key(file: FoundFile, node: OldNode) -> Iterator[Finding]:
    """A key that was readable once must be taken for known, whatever its mode is from now on."""
    if file.mode & _OTHERS or file.uid != node.owner:
        yield problem("key-open", file.path, f"others than root can read this private key ({file.mode:04o}, uid {file.uid}): shut it, and make a new pair",
                      command("chown", "root:root", file.path), command("chmod", "600", file.path))


