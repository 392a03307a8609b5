"""Echo packets: built, recognised, and told from everybody else's."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap.ping import checksum, echo_number, echo_request, without_ip_header

TOKEN = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def answer(version: int, request: bytes) -> bytes:
    """What a host sends back: the request with the type of a reply."""
    return bytes([{4: 0, 6: 129}[version]]) + request[1:]


def summed(data: bytes) -> int:
    """RFC 1071 in the RFC's own words: add, fold the carries back in."""
    total = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_checksum_of_a_captured_echo_request() -> None:
    packet = bytes.fromhex("0800000012340001") + b"abcdefghijklmnopqrstuvwabcdefghi"
    assert checksum(packet) == 0xFFFF - summed(packet)
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # the example of RFC 1071, section 3


@given(st.binary(min_size=1, max_size=64).map(lambda data: data * 2))
def test_a_packet_with_its_checksum_sums_to_all_ones(data: bytes) -> None:
    assert summed(data + checksum(data).to_bytes(2, "big")) in ({0xFFFF} if any(data) else {0})


@given(st.integers(0, 0xFFFF), st.integers(0, 1 << 31), st.sampled_from((4, 6)))
def test_an_answer_names_its_echo(identifier: int, number: int, version: int) -> None:
    request = echo_request(version, identifier, number, TOKEN)
    assert echo_number(version, answer(version, request), identifier, TOKEN) == number
    assert summed(request) == 0xFFFF or version == 6


def test_what_does_not_answer_ours_is_nobodys() -> None:
    request = echo_request(4, 7, 70000, TOKEN)
    reply = answer(4, request)
    assert echo_number(4, request, 7, TOKEN) is None, "an echo request is no reply"
    assert echo_number(4, reply, 8, TOKEN) is None, "another program's identifier"
    assert echo_number(4, reply, 7, TOKEN[::-1]) is None, "another run's token"
    assert echo_number(4, reply[:1] + b"\1" + reply[2:], 7, TOKEN) is None, "a code that no reply has"
    assert echo_number(4, reply[:6] + b"\0\0" + reply[8:], 7, TOKEN) is None, "a sequence number of another echo"
    assert echo_number(4, reply[:-1], 7, TOKEN) is None and echo_number(4, b"", 7, TOKEN) is None, "cut short"
    assert echo_number(6, reply, 7, TOKEN) is None, "a type of the other IP version"


def test_where_the_kernel_chose_the_identifier_any_will_do() -> None:
    assert echo_number(6, answer(6, echo_request(6, 4711, 5, TOKEN)), None, TOKEN) == 5


def test_ip_header_goes_with_its_options() -> None:
    assert without_ip_header(b"\x45" + b"h" * 19 + b"icmp") == b"icmp"
    assert without_ip_header(b"\x46" + b"h" * 23 + b"icmp") == b"icmp"
    assert without_ip_header(b"") == b""
