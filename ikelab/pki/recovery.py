"""A certificate server takes up what its storage and its archive know, at each `no shutdown`.

The store is the truth as long as it lasts. Where it is lost, the files say which serial numbers
were given away, what was issued and what is revoked, and the PKCS #12 archive, imported into the
trustpoint of the server's name, is the CA itself. Nothing of a file is believed but what the CA's
own key signed; serial numbers are, since a wrong one only skips some.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.config import CertServerConfig
from ikelab.pki.crl import Crl, load_crl, verify_crl
from ikelab.pki.issuer import archive_file, issuer_name, restored_serial, serial_file
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.store import Authority, CaStore, IssuedCertificate, IssuedCrl
from ikelab.pki.x509 import Certificate, format_name, load_certificate, names_match

_CERTIFICATE_FILE = re.compile(r"([0-9A-Fa-f]{1,15})\.crt")


@dataclass(frozen=True, slots=True)
class StorageContents:
    """What was read of a storage. names: all files there; files: content of those asked for."""

    names: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def wanted_files(name: str, *, is_new: bool) -> str:
    """Regular expression of the files a start reads: NAME.ser, NAME.crl, on a new router *.crt."""
    own = rf"{re.escape(name)}\.(?:ser|crl)"
    return rf"{own}|{_CERTIFICATE_FILE.pattern}" if is_new else own


def archive_files(name: str) -> str:
    """Regular expression of the archives of a server, NAME_00002.p12 and on."""
    return rf"{re.escape(name)}_([0-9]{{5}})\.p12"


def latest_archive(name: str, names: Iterable[str]) -> str | None:
    """The archive with the highest number."""
    return max((file for file in names if re.fullmatch(archive_files(name), file)), default=None)


def restore(
    config: CertServerConfig,
    store: CaStore,
    contents: StorageContents,
    identity: Identity | None,
    *,
    legacy: bool,
) -> None:
    """Bring the store up to what storage and trustpoint know, so that a start may follow.

    identity: what the trustpoint of the server's name holds, None for nothing. Each step can be
    repeated after a crash; the CA itself is saved last. Raises PkiError("storage-unreadable") and
    "crl-unreadable" where a file cannot be believed, "storage-in-use" where another CA's database
    is there, and "wrong-ca" for an identity that is not this server's.
    """
    known = restored_serial(config.name, contents.files.get(f"{config.name}.ser"), contents.names)
    present = store.load_authority()
    if present is not None:
        check_mode(config, present)
    authority = _newer(config, present, identity, contents)
    if authority is None:
        _refuse_other_database(config, store, contents, known)
        return
    ca = load_certificate(authority.certificate)
    own = ca.serial if ca.is_self_issued else 1  # the first number of a sub-CA is its own sign
    store.raise_last_serial(max(known, own))
    if present is None:
        _restore_certificates(store, contents, ca)
    _restore_crl(config, store, contents, ca, legacy)
    if authority != present:
        name = f"{config.name}_{authority.generation + 1:05d}.p12"
        archive = [] if name in contents.names else archive_file(config, authority, legacy)
        store.save_authority(authority, archive)
    serial = serial_file(config.name, store.last_serial())
    if contents.files.get(serial[0]) != serial[1]:
        store.queue_files([serial])


def _newer(
    config: CertServerConfig,
    present: Authority | None,
    identity: Identity | None,
    contents: StorageContents,
) -> Authority | None:
    """The CA to go on as: the store's, or the identity where there is none or it was renewed.

    The trustpoint of a sub-CA is saved before the server hears of its certificate: whoever was
    killed in between finds it here.
    """
    if identity is None:
        return present
    if present is not None and not _renews(identity, present):
        return present
    _check_identity(config, identity)
    if present is None:
        archive = latest_archive(config.name, contents.names)
        generation = 1 if archive is None else max(int(archive[-9:-4]) - 1, 1)
    else:
        same = public_key_info(present.key) == public_key_info(identity.key)
        generation = present.generation + (0 if same else 1)
    return Authority(generation, identity.key, identity.certificate, identity.chain)


def _renews(identity: Identity, present: Authority) -> bool:
    new, old = load_certificate(identity.certificate), load_certificate(present.certificate)
    return new.der != old.der and new.is_ca and new.not_before > old.not_before


def check_mode(config: CertServerConfig, authority: Authority) -> None:
    """Raise PkiError("wrong-mode") for a database that was made in another mode."""
    certificate = load_certificate(authority.certificate)
    mode = "ra"
    if certificate.is_ca:
        mode = "root" if certificate.is_self_issued else "sub-cs"
    if mode != config.mode:
        raise PkiError(
            "wrong-mode",
            f"the database of {config.name} was made in mode {mode}, not in mode {config.mode};"
            f" change it back, or `no crypto pki server {config.name}` and begin anew",
        )


def _check_identity(config: CertServerConfig, identity: Identity) -> None:
    ca = load_certificate(identity.certificate)
    subject = format_name(ca.subject)
    if not ca.is_ca:
        raise PkiError(
            "wrong-ca",
            f"trustpoint {config.name} holds the certificate {subject}, which is no CA's",
        )
    if not names_match(ca.subject, issuer_name(config)):
        raise PkiError(
            "wrong-ca",
            f"trustpoint {config.name} holds the certificate of {subject}, the server is"
            f" {format_name(issuer_name(config))}; import its own archive",
        )
    if ca.is_self_issued != (config.mode == "root"):
        wanted = "self-signed, as a root's" if config.mode == "root" else "issued by a CA above"
        raise PkiError(
            "wrong-ca",
            f"the certificate of {subject} is not {wanted}, which mode {config.mode} needs",
        )


def _refuse_other_database(
    config: CertServerConfig, store: CaStore, contents: StorageContents, known: int
) -> None:
    """A server without a key must not begin anew where another of its name left its files.

    It would overwrite their CRL, and the archive that is the only way back.
    """
    archive = latest_archive(config.name, contents.names)
    last = store.last_serial()
    if known > last or (archive is not None and last == 0):
        found = archive or f"{config.name}.ser (last serial number 0x{known:X})"
        raise PkiError(
            "storage-in-use",
            f"the storage holds the database of another {config.name}: {found}. Recover that"
            f" server (`crypto pki import {config.name} pkcs12 ...`), move its files away, or give"
            " this one another `database url`",
        )


def _restore_certificates(store: CaStore, contents: StorageContents, ca: Certificate) -> None:
    """What this CA has issued, so that it can be renewed, revoked and asked for again."""
    for name, octets in contents.files.items():
        if _CERTIFICATE_FILE.fullmatch(name) is None:
            continue
        try:
            certificate = load_certificate(octets)
        except PkiError:
            continue  # its number is taken all the same, see restored_serial
        ours = names_match(certificate.issuer, ca.subject)
        if ours and certificate.is_signed_by(ca.public_key):
            if store.issued(certificate.serial) is None:
                store.record_issued(IssuedCertificate(certificate.serial, octets), [])


def _restore_crl(
    config: CertServerConfig,
    store: CaStore,
    contents: StorageContents,
    ca: Certificate,
    legacy: bool,
) -> None:
    """Revocations, number and date of the CRL last published, where the store knows less."""
    name = f"{config.name}.crl"
    octets, last = contents.files.get(name), store.load_crl()
    if octets is None:
        return
    try:
        crl = load_crl(octets)
        verify_crl(crl, ca, legacy=legacy)
    except PkiError as error:
        if last is not None:
            return  # the next one of ours replaces it
        raise PkiError("crl-unreadable", f"'{name}' is no CRL of this CA: {error}") from None
    for serial, (at, reason) in crl.revoked.items():
        store.revoke(serial, at, reason)
    store.raise_last_serial(max(crl.revoked, default=0))
    kept = _as_issued(crl)
    if kept is not None and (last is None or _follows(kept, last)):
        store.save_crl(kept, [])


def _as_issued(crl: Crl) -> IssuedCrl | None:
    """A version 1 CRL has no number: ours begin at 1 after it."""
    if crl.next_update is None:
        return None
    return IssuedCrl(crl.number or 0, crl.this_update, crl.next_update, crl.der)


def _follows(crl: IssuedCrl, last: IssuedCrl) -> bool:
    return crl.number > last.number and crl.this_update >= last.this_update
