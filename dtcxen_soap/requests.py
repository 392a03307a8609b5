"""One frozen dataclass per operation, and the strict parse that makes it of what a client sent.

A field's metadata holds its name on the wire, the panel's old name for it, and its type. Every
fault of a call is found and told at once; nothing is dropped, defaulted or moved by position.
"""

from __future__ import annotations

import dataclasses
import difflib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from dtcxen_soap import valuetypes as types
from dtcxen_soap.errors import ParameterFault, Refused
from dtcxen_soap.settings import Settings
from dtcxen_soap.valuetypes import ValueType
from dtcxen_soap.vps import Address, BootMode, ImageType, IpAddress, Mib, Secret, VpsId


@dataclass(frozen=True)
class Malformed:
    """A value that is not one (a structure, a reference, a boolean for a number); says what it is."""

    problem: str


MOST_TOLD = 200
"""Characters of one value in the audit."""

Given = str | None | tuple[str, ...] | Malformed


@dataclass(frozen=True)
class Parameter:
    """A field as a client sees it. `wire` or `old` is "" where the parameter does not exist in that form."""

    field: str
    wire: str
    old: str
    type: ValueType
    optional: bool
    secret: bool
    rpc_only: bool
    help: str

    def name(self, old: bool) -> str:
        return self.old if old else self.wire


def _parameter(type: ValueType, wire: str, old: str, help: str, *, optional: bool = False, secret: bool = False, rpc_only: bool = False) -> Any:
    meta = {"type": type, "wire": wire, "old": old, "help": help, "optional": optional, "secret": secret, "rpc_only": rpc_only}
    return field(metadata=meta, default=None) if optional else field(metadata=meta)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Base of all requests."""

    def check(self, settings: Settings) -> list[tuple[str, str, str]]:
        """Faults that show only when fields are seen together, as (field, problem, expected)."""
        return []


def parameters(request: type[Request], old: bool = False, rpc: bool = True) -> tuple[Parameter, ...]:
    """The parameters of a request type, in schema order, under new or old names."""
    found = (Parameter(item.name, item.metadata["wire"], item.metadata["old"], item.metadata["type"], item.metadata["optional"],
                       item.metadata["secret"], item.metadata["rpc_only"], item.metadata["help"]) for item in dataclasses.fields(request))
    return tuple(parameter for parameter in found if parameter.name(old) and (rpc or not parameter.rpc_only))


@dataclass(frozen=True, kw_only=True)
class SetupDisk(Request):
    """Make the root and swap disk of a VPS."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    disk_size: Mib = _parameter(types.DISK_SIZE, "diskSizeMib", "hddsize", "Size of the root disk in MiB.")
    swap_size: Mib = _parameter(types.SWAP_SIZE, "swapSizeMib", "swapsize", "Size of the swap disk in MiB; 0: none.")
    image_type: ImageType | None = _parameter(types.IMAGE_TYPE, "imageType", "imagetype", "lvm or vbd; the node's default when absent.", optional=True)
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)

    def check(self, settings: Settings) -> list[tuple[str, str, str]]:
        if self.swap_size > self.disk_size:
            return [("swap_size", "the swap disk is larger than the root disk", f"at most {self.disk_size} MiB")]
        return []


@dataclass(frozen=True, kw_only=True)
class KillDisk(Request):
    """Remove whatever disks a VPS has."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    image_type: ImageType | None = _parameter(types.IMAGE_TYPE, "", "imagetype", "Accepted and not needed: all disks of the VPS go.", optional=True)
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)


@dataclass(frozen=True, kw_only=True)
class Reinstall(Request):
    """Install an operating system on the disks of a VPS."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    os_type: str = _parameter(types.OS_TYPE, "osType", "ostype", "debian, debian-dtc, a bundle, an appliance, a description in os.d; manual, netbsd, xenhvm install nothing.")
    expected_disk: Mib | None = _parameter(types.DISK_SIZE, "", "hddsize", "Sign-up form: must equal the root disk's size in MiB.", optional=True, rpc_only=True)
    ram: Mib = _parameter(types.RAM_SIZE, "ramSizeMib", "ramsize", "RAM in MiB.")
    password: Secret = _parameter(types.PASSWORD, "password", "password", "Password of root inside the VPS.", secret=True)
    single_nic: tuple[Address, ...] | None = _parameter(types.SINGLE_NIC, "", "ipaddr", "Sign-up form: the one address.", optional=True, rpc_only=True)
    nics: tuple[Address, ...] | None = _parameter(types.NICS, "nics", "nics", "Addresses of the VPS.", optional=True)
    given_gateways: tuple[IpAddress, ...] | None = _parameter(types.GATEWAY, "gateway", "gateway", "Gateway; the node's GATEWAY when absent.", optional=True)
    given_dns: tuple[IpAddress, ...] | None = _parameter(types.DNS, "dns", "dns", "Name servers; the node's DNS when absent.", optional=True)
    hostname: str | None = _parameter(types.HOSTNAME, "hostname", "", "Full host name; xenNN in the node's domain when absent.", optional=True)
    boot_mode: BootMode | None = _parameter(types.BOOT_MODE, "bootMode", "", "How it boots; what the bundle or the node says when absent.", optional=True)
    ssh_keys: tuple[str, ...] | None = _parameter(types.SSH_KEYS, "sshKeys", "", "SSH public keys that open root inside the VPS, one a line.", optional=True)
    user_data: Secret | None = _parameter(
        types.USER_DATA, "userData", "", "What the owner has done at the first boot: a script, or #cloud-config for a system with cloud-init.", optional=True, secret=True)
    start: bool | None = _parameter(types.BOOLEAN, "start", "", "true: start it, and end the job only once it booted or did not.", optional=True)
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The VPS's addresses, from either form."""
        return self.nics or self.single_nic or ()

    def gateways(self, settings: Settings) -> tuple[IpAddress, ...]:
        """The caller's gateways, and the node's for those IP versions of the VPS for which the caller named none."""
        given = self.given_gateways or ()
        lacking = {address.version for address in self.addresses} - {gateway.version for gateway in given}
        return given + tuple(gateway for gateway in settings.GATEWAY if gateway.version in lacking and self._fits(gateway, settings, bool(given)))

    def _fits(self, gateway: IpAddress, settings: Settings, optional: bool) -> bool:
        """Whether the node's gateway serves; one that only completes the caller's is left out where it would not."""
        inside = any(gateway in address.interface.network for address in self.addresses)
        return inside or not optional or settings.onlink_gateway or gateway.is_link_local

    def dns(self, settings: Settings) -> tuple[IpAddress, ...]:
        """The caller's name servers, else the node's."""
        return self.given_dns or settings.DNS

    def check(self, settings: Settings) -> list[tuple[str, str, str]]:
        faults = []
        if not self.addresses:
            faults.append(("nics", "missing parameter", types.NICS.expected(settings)))
        if self.single_nic and (self.nics or self.given_gateways or self.given_dns):
            faults.append(("single_nic", "the sign-up form mixed with nics, gateway or dns", "one form or the other"))
        if not self.dns(settings):
            faults.append(("given_dns", "not given, and the node's DNS is not set", types.DNS.expected(settings)))
        faults += self._gateway_faults(settings)
        return faults

    def _gateway_faults(self, settings: Settings) -> list[tuple[str, str, str]]:
        networks = [address.interface.network for address in self.addresses]
        if not networks:
            return []
        gateways = self.gateways(settings)
        if not gateways:
            return [("given_gateways", "not given, and the node's GATEWAY is not set", types.GATEWAY.expected(settings))]
        faults = []
        for gateway in gateways:
            if not any(network.version == gateway.version for network in networks):
                faults.append(("given_gateways", f"{gateway}: the VPS has no address of its IP version", "a gateway of the addresses' version"))
            elif any(gateway == address.ip for address in self.addresses):
                faults.append(("given_gateways", f"{gateway} is the VPS's own address", "another machine's address"))
            elif not settings.onlink_gateway and not gateway.is_link_local and not any(gateway in network for network in networks):
                inside = " or ".join(str(network) for network in networks if network.version == gateway.version)
                faults.append(("given_gateways", f"{gateway} lies outside the VPS's networks", f"an address in {inside} (or onlink_gateway=yes on the node)"))
        return faults


@dataclass(frozen=True, kw_only=True)
class Rollback(Request):
    """Bring back the system that the last reinstallation replaced."""

    vps: VpsId = _parameter(types.VPS, "vps", "", "The VPS.")
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)


@dataclass(frozen=True, kw_only=True)
class OneVps(Request):
    """What a VPS is started, shut down, rescued... with: its name alone."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")


@dataclass(frozen=True, kw_only=True)
class Fsck(Request):
    """Check the file system of a VPS."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)


@dataclass(frozen=True, kw_only=True)
class HvmConfig(Request):
    """Configure a VPS as an HVM guest."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    ram: Mib = _parameter(types.RAM_SIZE, "ramSizeMib", "ramsize", "RAM in MiB.")
    addresses: tuple[Address, ...] = _parameter(types.ADDRESSES, "addresses", "allipaddrs", "Addresses of the VPS, for the node's anti-spoofing.")
    vnc_password: Secret | None = _parameter(
        types.VNC_PASSWORD, "vncPassword", "vncpassword", "Password of the screen; no_vnc, empty or absent: only root of the node reaches it.", optional=True, secret=True)
    boot: str = _parameter(types.BOOT_FROM, "boot", "howtoboot", "hdd, or the exact name of one of the VPS's ISOs, else of the node's library.")
    firmware: str | None = _parameter(types.FIRMWARE, "firmware", "", "bios or uefi; bios when absent.", optional=True)
    ssh_keys: tuple[str, ...] | None = _parameter(
        types.SSH_KEYS, "sshKeys", "", "SSH public keys, one a line, that a guest with cloud-init lets in; those of the call before when absent.", optional=True)
    user_data: Secret | None = _parameter(
        types.USER_DATA, "userData", "", "A script, or #cloud-config, for a guest with cloud-init; that of the call before when absent.", optional=True, secret=True)
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)

    @property
    def boots_disk(self) -> bool:
        """From its own disk, no CD in the drive."""
        return self.boot == "hdd"


@dataclass(frozen=True, kw_only=True)
class BsdKernel(Request):
    """Configure a VPS with one of the node's NetBSD kernels."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    ram: Mib = _parameter(types.RAM_SIZE, "ramSizeMib", "ramsize", "RAM in MiB.")
    kernel: str = _parameter(types.BSD_KERNEL, "kernel", "kerneltype", "normal, or install: the kernel that installs NetBSD.")
    addresses: tuple[Address, ...] = _parameter(types.ADDRESSES, "addresses", "allipaddrs", "Addresses of the VPS, for the node's anti-spoofing.")
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)


@dataclass(frozen=True, kw_only=True)
class ConsolePassword(Request):
    """Set the password of a VPS's console user."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    password: Secret = _parameter(types.PASSWORD, "password", "password", "Password of xenNN and xenNN-iso on this node.", secret=True)


@dataclass(frozen=True, kw_only=True)
class SshKey(Request):
    """Set the SSH keys of a VPS's owner."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    keys: tuple[str, ...] = _parameter(types.SSH_KEYS, "keys", "keystring", "Public keys that open the console; they replace all earlier ones.")


@dataclass(frozen=True, kw_only=True)
class SoapPassword(Request):
    """Set the password with which a VPS's owner calls this service."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    password: Secret = _parameter(types.SOAP_PASSWORD, "password", "password", "Password of the SOAP user xenNN.", secret=True)


@dataclass(frozen=True, kw_only=True)
class ListIsos(Request):
    """The ISOs in a VPS's home."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")


@dataclass(frozen=True, kw_only=True)
class Migrate(Request):
    """Move a VPS to another node, or settle a move whose end is not known."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsid", "The VPS.")
    to_host: str = _parameter(types.NODE, "toHost", "node", "The node that it moves to, one of migrate_known_hosts.")
    to_vps: VpsId | None = _parameter(types.VPS, "toVps", "remoteVpsid", "Its number there; the same when absent.", optional=True)
    copy_first: bool | None = _parameter(types.BOOLEAN, "copyFirst", "", "true: copy once while it still runs, so that it is down for a shorter time.", optional=True)
    stop_seconds: int | None = _parameter(types.STOP_SECONDS, "stopSeconds", "", "How long its shutdown may take; 180 when absent.", optional=True)
    force: bool | None = _parameter(types.BOOLEAN, "force", "", "true: end it at once when it has not shut down by then; else nothing is moved.", optional=True)
    settle: bool | None = _parameter(types.BOOLEAN, "settle", "", "true: end a move that was cut off; the node it went to is asked whose the VPS is.", optional=True)
    plan_only: bool | None = _parameter(types.BOOLEAN, "planOnly", "", "true: return the steps and change nothing.", optional=True)


@dataclass(frozen=True, kw_only=True)
class PingAll(Request):
    """Ping every address of every configured VPS."""

    timeout_ms: int | None = _parameter(types.TIMEOUT_MS, "timeoutMs", "timeoutMs", "Time for all answers in milliseconds; 1000 when absent.", optional=True)
    count: int | None = _parameter(types.ECHO_COUNT, "count", "count", "Echo requests per address; 1 when absent.", optional=True)


@dataclass(frozen=True, kw_only=True)
class GetState(Request):
    """The state of a VPS."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")


@dataclass(frozen=True, kw_only=True)
class GetInstallLog(Request):
    """The log of the latest installation of a VPS."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")
    lines: int | None = _parameter(types.LINE_COUNT, "numLines", "numlines", "How many last lines; 0 or absent: all.", optional=True)


@dataclass(frozen=True, kw_only=True)
class NoParameters(Request):
    """A request that says all with its name."""


@dataclass(frozen=True, kw_only=True)
class GetJob(Request):
    """One job."""

    job: int = _parameter(types.JOB_ID, "job", "job", "The job's number.")


@dataclass(frozen=True, kw_only=True)
class GetJobLog(Request):
    """A piece of a job's log."""

    job: int = _parameter(types.JOB_ID, "job", "job", "The job's number.")
    from_byte: int | None = _parameter(types.BYTE_OFFSET, "fromByte", "fromByte", "Where to go on: nextByte of the call before; the log's beginning when absent.", optional=True)


@dataclass(frozen=True, kw_only=True)
class ListJobs(Request):
    """The jobs of a VPS, or of the node."""

    vps: VpsId | None = _parameter(types.VPS, "vps", "vpsname", "Only this VPS's jobs.", optional=True)
    limit: int | None = _parameter(types.ROW_LIMIT, "limit", "limit", "At most so many; 100 when absent.", optional=True)


@dataclass(frozen=True, kw_only=True)
class PerformanceData(Request):
    """Fetch what was measured."""

    count: int | None = _parameter(types.ROW_LIMIT, "count", "count", "At most so many samples; a day's when absent.", optional=True)


@dataclass(frozen=True, kw_only=True)
class VpsInfo(Request):
    """All about one VPS."""

    vps: VpsId = _parameter(types.VPS, "vps", "vpsname", "The VPS.")


@dataclass(frozen=True, kw_only=True)
class CancelJob(Request):
    """End a job."""

    job: int = _parameter(types.JOB_ID, "job", "job", "The job's number.")


R = TypeVar("R", bound=Request)


def parse(request: type[R], operation: str, given: Sequence[tuple[str, Given]], settings: Settings, *, old: bool, rpc: bool) -> R:
    """Make a request of what a client sent, in the order it was sent; raise Refused with every fault.

    `old` chooses the parameter names. RPC callers may send parameters in any order, literal ones
    must keep the schema's.
    """
    known = {parameter.name(old): parameter for parameter in parameters(request, old, rpc)}
    faults = _name_faults(operation, [name for name, _ in given], known, ordered=not rpc)
    values: dict[str, Any] = {}
    seen = dict(reversed(list(given)))
    for name, parameter in known.items():
        fault, value = _value(operation, name, parameter, name in seen, seen.get(name), settings)
        if fault:
            faults.append(fault)
        values[parameter.field] = value
    if faults:
        raise Refused(*faults)
    made = request(**values)
    wire = {parameter.field: name for name, parameter in known.items()}
    for item, problem, expected in made.check(settings):
        kind = "MissingParameter" if problem.startswith("missing") else "InvalidParameter"
        faults.append(ParameterFault(operation, wire.get(item, item), kind, problem, expected))
    if faults:
        raise Refused(*faults)
    return made


def told(request: Request) -> str:
    """What a request says, in one line of name=value words under the new names; whatever is secret is redacted, long values are cut."""
    given = ((item.wire or item.old, item.secret, getattr(request, item.field)) for item in _all(type(request)))
    return " ".join(f"{name}={'(redacted)' if secret else _quoted(value)}" for name, secret, value in given if value is not None)


MOST_NAMES = 30
"""Parameters of a refused call in the audit."""


def told_as_given(request: type[Request], given: Sequence[tuple[str, Given]]) -> str:
    """The same of a call that made no request, under the names it used; without any value where one may be a secret that was put into the wrong parameter."""
    hidden = has_secrets(request)
    words = [name[:64] if hidden or not isinstance(value, str) else f"{name[:64]}={_quoted(value)}" for name, value in given]
    return " ".join(words[:MOST_NAMES]) + (f" ... ({len(words)} parameters)" if len(words) > MOST_NAMES else "")


def vps_of(request: type[Request], given: Sequence[tuple[str, Given]], *, old: bool) -> VpsId | None:
    """The VPS that a refused call is about, if that parameter at least makes sense."""
    names = [item.name(old) for item in parameters(request, old) if item.field == "vps"]
    texts = [value for name, value in given if name in names and isinstance(value, str)]
    try:
        return VpsId.parse(texts[0]) if texts else None
    except ValueError:
        return None


def has_secrets(request: type[Request]) -> bool:
    """Whether any parameter of it, in whatever form, is a secret."""
    return any(item.secret for item in _all(request))


def _all(request: type[Request]) -> tuple[Parameter, ...]:
    """Every field, whatever form of the operation has it."""
    return tuple(dict.fromkeys((*parameters(request), *parameters(request, old=True))))


def _quoted(value: Any) -> str:
    """A value as an admin could write it, at most 200 characters of it."""
    text = ",".join(map(_word, value)) if isinstance(value, tuple) else _word(value)
    short = text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}... ({len(text)} characters)"
    return shlex.quote(short if short.isprintable() else short.encode("unicode_escape").decode())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Address):
        return str(value.interface)
    return str(value.value if isinstance(value, Enum) else value)


def _name_faults(operation: str, names: list[str], known: dict[str, Parameter], ordered: bool) -> list[ParameterFault]:
    """Unknown, repeated and misplaced parameters."""
    faults = []
    order = list(known)
    highest = -1
    for position, name in enumerate(names):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            expected = f"{near[0]} perhaps" if near else ", ".join(known) or "no parameters"
            faults.append(ParameterFault(operation, name[:64], "UnknownParameter", "unknown parameter", expected))
        elif name in names[:position]:
            faults.append(ParameterFault(operation, name, "RepeatedParameter", "given more than once", "one value"))
        elif ordered and order.index(name) < highest:
            faults.append(ParameterFault(operation, name, "ParameterOrder", "out of order", "the order " + ", ".join(order)))
        else:
            highest = max(highest, order.index(name))
    return faults


def _value(operation: str, name: str, parameter: Parameter, present: bool, given: Given, settings: Settings) -> tuple[ParameterFault | None, Any]:
    """The value of one parameter, or its fault. An empty or nil optional parameter is one not given."""
    def fault(kind: str, problem: str, tells_value: bool = False) -> tuple[ParameterFault, None]:
        return ParameterFault(operation, name, kind, problem, parameter.type.expected(settings), tells_value), None

    if not present:
        return (None, None) if parameter.optional else fault("MissingParameter", "missing parameter")
    if isinstance(given, Malformed):
        return fault("ParameterType", given.problem)
    if given is None:
        return (None, None) if parameter.optional else fault("NilParameter", "null")
    if isinstance(given, tuple):
        if not parameter.type.many:
            return fault("ParameterType", "a list where one value is expected")
        given = "\n".join(given)
    if parameter.optional and not given.strip():
        return None, None
    try:
        return None, parameter.type.parse(given, settings)
    except ValueError as error:
        shown = "" if parameter.secret else f"{_shorten(given)}: "
        return fault("InvalidParameter", f"{shown}{error}", True)


def _shorten(text: str) -> str:
    quoted = repr(text if len(text) <= 40 else text[:37] + "...")
    return quoted
