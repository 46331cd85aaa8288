"""Keys of the runtime: libcrypto's Diffie-Hellman agrees with plain arithmetic."""

import pytest

from ikelab.crypto.dh import SUPPORTED_GROUPS, ExponentKey, public_length
from ikelab.errors import ProtocolError
from ikelab.runtime.keys import OsDhKeys, OsRng
from ikelab.wire.numbers import Group


@pytest.mark.parametrize("group", sorted(SUPPORTED_GROUPS))
def test_libcrypto_and_plain_arithmetic_agree(group):
    ours = OsDhKeys().dh_key(group)
    theirs = ExponentKey(group, 0x1F2E3D4C5B6A798897A6B5C4D3E2F1)
    assert ours.exchange(theirs.public) == theirs.exchange(ours.public)
    assert len(ours.public) == len(theirs.exchange(ours.public)) == public_length(group)


def test_libcrypto_is_not_asked_about_values_outside_the_group():
    with pytest.raises(ProtocolError):
        OsDhKeys().dh_key(Group.MODP_2048).exchange(bytes(256))


def test_random_octets_have_the_length_asked_for_and_differ():
    assert len(OsRng().draw("nonce", 32)) == 32
    assert OsRng().draw("nonce", 32) != OsRng().draw("nonce", 32)
