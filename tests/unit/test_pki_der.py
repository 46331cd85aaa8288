"""The DER writer and the strict and tolerant readers (X.690)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ikelab.errors import PkiError
from ikelab.pki import der
from tests.pki_samples import refused


@pytest.mark.parametrize(
    ("octets", "written"),
    [
        (der.integer(0), "020100"),
        (der.integer(127), "02017f"),
        (der.integer(128), "02020080"),
        (der.integer(-1), "0201ff"),
        (der.integer(-128), "020180"),
        (der.integer(-129), "0202ff7f"),
        (der.boolean(True), "0101ff"),
        (der.oid("2.5.29.15"), "0603551d0f"),
        (der.oid("1.2.840.113549"), "06062a864886f70d"),
        (der.oid("2.999.3"), "0603883703"),
        (der.set_of(b"\x02\x01\x05", b"\x02\x01\x01"), "3106020101020105"),
        (der.bit_string(b"\x06", 1), "03020106"),
        (der.tlv(0x04, bytes(128))[:3], "048180"),
        (der.tlv(0x04, bytes(256))[:4], "04820100"),
    ],
)
def test_writes_the_octets_x690_prescribes(octets: bytes, written: str) -> None:
    assert octets.hex() == written


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, -129, 2**159 - 1, -(2**64)])
def test_integers_come_back_as_they_were_written(value: int) -> None:
    assert der.parse(der.integer(value)).integer() == value


@pytest.mark.parametrize(
    "dotted", ["1.2.840.113549.1.9.2", "2.999.3", "0.9.2342.19200300.100.1.25"]
)
def test_object_identifiers_come_back_as_they_were_written(dotted: str) -> None:
    assert der.parse(der.oid(dotted)).oid() == dotted


@pytest.mark.parametrize(
    ("moment", "tag"),
    [
        (datetime(1950, 1, 1, tzinfo=UTC), der.UTC_TIME),
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), der.UTC_TIME),
        (datetime(2050, 1, 1, tzinfo=UTC), der.GENERALIZED_TIME),
        (datetime(1949, 12, 31, tzinfo=UTC), der.GENERALIZED_TIME),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), der.GENERALIZED_TIME),
    ],
)
def test_dates_through_2049_are_utc_time_and_come_back(moment: datetime, tag: int) -> None:
    element = der.parse(der.time(moment))
    assert (element.tag, element.time()) == (tag, moment)


def test_a_local_time_is_written_as_utc() -> None:
    eastern = timezone(timedelta(hours=-5))
    assert der.time(datetime(2010, 10, 30, 20, tzinfo=eastern))[2:] == b"101031010000Z"


@pytest.mark.parametrize(
    "octets",
    [
        b"\x17\x0b1010310100Z",
        b"\x17\x0d101331010000Z",
        b"\x17\x0d101031010000+",
        b"\x17\x0d10103101000\xb2Z",
        b"\x18\x0f00000101000000Z",
        b"\x18\x1120260101000000.5Z"[:19],
        b"\x04\x0d101031010000Z",
    ],
)
def test_other_times_are_refused(octets: bytes) -> None:
    assert refused(lambda: der.parse(octets).time()) == "malformed-der"


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("", "nothing"),
        ("30", "no length"),
        ("3001", "contents missing"),
        ("308005000000", "indefinite length"),
        ("30810102", "long form of a short length"),
        ("3082000105", "length with a leading zero"),
        ("3084ffffffff", "four gigabytes"),
        ("3085000000000100", "length of five octets"),
        ("30ff", "reserved length"),
        ("1f8101020000", "tag above 30"),
        ("0000", "end of contents"),
        ("050000", "an octet behind the end"),
    ],
)
def test_strict_reader_refuses(octets: str, why: str) -> None:
    assert refused(lambda: der.parse(bytes.fromhex(octets))) == "malformed-der", why


@pytest.mark.parametrize(
    ("octets", "read"),
    [
        ("02020001", der.Element.integer),
        ("0202ff80", der.Element.integer),
        ("0200", der.Element.integer),
        ("010101", der.Element.boolean),
        ("0102ffff", der.Element.boolean),
        ("0600", der.Element.oid),
        ("060180", der.Element.oid),
        ("06035580", der.Element.oid),
        ("0604558001", der.Element.oid),
        ("030106", der.Element.bits),
        ("03020800", der.Element.bits),
        ("0300", der.Element.bits),
        ("0c02c328", der.Element.text),
        ("160180", der.Element.text),
        ("1e0141", der.Element.text),
        ("0401aa", der.Element.text),
        ("2403040101", der.Element.octets),
        ("0401aa", der.Element.children),
    ],
)
def test_strict_reader_refuses_contents(octets: str, read: Callable[[der.Element], object]) -> None:
    assert refused(lambda: read(der.parse(bytes.fromhex(octets)))) == "malformed-der"


def test_tolerant_reader_takes_nested_indefinite_lengths() -> None:
    # SEQUENCE { SEQUENCE { INTEGER 5 }, OCTET STRING of two pieces }, all indefinite
    octets = bytes.fromhex("30803080020105000024800402abcd0401ef00000000")
    outer = der.parse(octets, strict=False).fields()
    assert outer.take().only().integer() == 5
    assert outer.take().octets().hex() == "abcdef"
    outer.finish()


def test_tolerant_reader_takes_an_implicit_string_in_pieces() -> None:
    octets = bytes.fromhex("a0800402abcd0401ef0000")
    assert der.parse(octets, strict=False).octets(0x80).hex() == "abcdef"


def test_only_strings_may_be_in_pieces() -> None:
    element = der.parse(bytes.fromhex("2203020105"), strict=False)
    assert refused(element.integer) == "malformed-der"


def test_an_indefinite_length_without_its_end_is_refused() -> None:
    assert refused(lambda: der.parse(bytes.fromhex("3080020105"), strict=False)) == "malformed-der"
    assert refused(lambda: der.parse(bytes.fromhex("0480010000"), strict=False)) == "malformed-der"


def test_deep_nesting_is_refused_in_time_linear_in_its_length() -> None:
    for bomb in (b"\x30\x80" * 200_000, b"\x30\x80" * 40 + b"\x00\x00" * 40):
        assert refused(lambda bomb=bomb: der.parse(bomb, strict=False)) == "malformed-der"
    assert der.parse(b"\x30\x80" * 30 + b"\x00\x00" * 30, strict=False).tag == der.SEQUENCE
    octets = b"\x04\x01\x00"
    for _ in range(50):
        octets = der.tlv(0x24, octets)
    assert refused(lambda: der.parse(octets, strict=False).octets()) == "malformed-der"


def test_fields_refuse_what_is_missing_and_what_is_left() -> None:
    fields = der.parse(der.sequence(der.integer(1), der.null())).fields()
    assert fields.take_if(der.BOOLEAN) is None
    assert fields.take(der.INTEGER).integer() == 1
    assert refused(fields.finish) == "malformed-der"
    assert len(fields.rest()) == 1
    fields.finish()
    assert refused(fields.take) == "malformed-der"


def test_reading_names_what_was_read_and_leaves_other_errors_alone() -> None:
    def read(reason: str) -> None:
        with der.reading("certificate"):
            raise PkiError(reason, "detail")

    assert refused(lambda: read("malformed-der")) == "malformed-certificate"
    assert refused(lambda: read("revoked")) == "revoked"


@pytest.mark.interop
def test_openssl_reads_what_is_written(need: Callable[[str], str]) -> None:
    octets = der.sequence(
        der.integer(-129),
        der.oid("1.2.840.113549.1.9.2"),
        der.explicit(0, der.octet_string(bytes(300))),
        der.time(datetime(2051, 2, 3, 4, 5, 6, tzinfo=UTC)),
    )
    output = subprocess.run(
        [need("openssl"), "asn1parse", "-inform", "DER"],
        input=octets,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for expected in (
        "INTEGER           :-81",
        ":unstructuredName",
        "cont [ 0 ]",
        ":20510203040506Z",
    ):
        assert expected in output
