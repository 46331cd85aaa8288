"""Both ends of a dialogue: our configuration and charon's for the same suite, and the comparison.

We are the spoke, 192.0.2.11; charon is the hub, 192.0.2.1.
"""

from __future__ import annotations

from ikelab.isakmp.events import (
    InstallIpsecSa,
    KeyMaterial,
    SaRequested,
)
from ikelab.isakmp.policy import (
    IpsecFlow,
    IsakmpConfig,
    IsakmpPolicy,
    Keyring,
    PreSharedKey,
    ProxyIdentity,
    TransformSet,
)
from ikelab.types import Endpoint
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
)
from tests.interop.charon import Connection
from tests.interop.charon_log import parse_main_mode, read_kernel_sas
from tests.interop.engine_host import authorities, credential

OURS, THEIRS = "192.0.2.11", "192.0.2.1"
SECRET = "throw-away-key"

Suite = tuple[
    tuple[str, str],
    tuple[EncryptionAlgorithm, int | None, HashAlgorithm, Group],
    tuple[EspTransform, int | None, AuthAlgorithm],
]
# name, charon's proposals, our phase 1 and phase 2
SUITES: dict[str, Suite] = {
    "aes256-sha256-modp2048": (
        ("aes256-sha256-modp2048", "aes256-sha256"),
        (EncryptionAlgorithm.AES_CBC, 256, HashAlgorithm.SHA2_256, Group.MODP_2048),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256),
    ),
    "aes128-sha1-modp1536": (
        ("aes128-sha1-modp1536", "aes128-sha1"),
        (EncryptionAlgorithm.AES_CBC, 128, HashAlgorithm.SHA, Group.MODP_1536),
        (EspTransform.ESP_AES, 128, AuthAlgorithm.HMAC_SHA),
    ),
    "3des-md5-modp1024": (
        ("3des-md5-modp1024", "3des-md5"),
        (EncryptionAlgorithm.TRIPLE_DES_CBC, None, HashAlgorithm.MD5, Group.MODP_1024),
        (EspTransform.ESP_3DES, None, AuthAlgorithm.HMAC_MD5),
    ),
}
# The other groups, ciphers and hashes, each once.
MORE_SUITES: dict[str, Suite] = {
    "des-md5-modp768": (
        ("des-md5-modp768", "des-md5"),
        (EncryptionAlgorithm.DES_CBC, None, HashAlgorithm.MD5, Group.MODP_768),
        (EspTransform.ESP_DES, None, AuthAlgorithm.HMAC_MD5),
    ),
    "aes192-sha384-modp3072": (
        ("aes192-sha384-modp3072", "aes192-sha384"),
        (EncryptionAlgorithm.AES_CBC, 192, HashAlgorithm.SHA2_384, Group.MODP_3072),
        (EspTransform.ESP_AES, 192, AuthAlgorithm.HMAC_SHA2_384),
    ),
    "aes256-sha512-modp4096": (
        ("aes256-sha512-modp4096", "aes256-sha512"),
        (EncryptionAlgorithm.AES_CBC, 256, HashAlgorithm.SHA2_512, Group.MODP_4096),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_512),
    ),
    "aes128-sha256-ecp256": (
        ("aes128-sha256-ecp256", "aes128-sha256-ecp256"),
        (EncryptionAlgorithm.AES_CBC, 128, HashAlgorithm.SHA2_256, Group.ECP_256),
        (EspTransform.ESP_AES, 128, AuthAlgorithm.HMAC_SHA2_256),
    ),
    "aes256-sha384-ecp384": (
        ("aes256-sha384-ecp384", "aes256-sha384-ecp384"),
        (EncryptionAlgorithm.AES_CBC, 256, HashAlgorithm.SHA2_384, Group.ECP_384),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_384),
    ),
    "aes256-sha512-ecp521": (
        ("aes256-sha512-ecp521", "aes256-sha512-ecp521"),
        (EncryptionAlgorithm.AES_CBC, 256, HashAlgorithm.SHA2_512, Group.ECP_521),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_512),
    ),
}
SUITES_OF_ALL = SUITES | MORE_SUITES


def our_config(suite, method, **changes):
    _, (encryption, bits, hash_algorithm, group), (esp, esp_bits, integrity) = SUITES_OF_ALL[suite]
    transform_set = TransformSet("ts", esp, esp_bits, integrity, EncapsulationMode.TRANSPORT)
    flow = IpsecFlow(
        name="Tunnel1",
        local=Endpoint(OURS, 500),
        remote=Endpoint(THEIRS, 500),
        local_proxy=ProxyIdentity(OURS, protocol=47),
        remote_proxy=ProxyIdentity(THEIRS, protocol=47),
        transform_sets=(transform_set,),
        pfs=changes.pop("pfs", None),
    )
    words = {
        "hostname": "spoke1.example.net",
        "policies": (IsakmpPolicy(10, encryption, bits, hash_algorithm, method, group),),
        "flows": (flow,),
    }
    return IsakmpConfig(**(words | changes))


def psk_config(suite, key=SECRET, **changes):
    keyring = Keyring("default", (PreSharedKey(THEIRS, "255.255.255.255", key),))
    return our_config(suite, AuthMethod.PRE_SHARED_KEY, keyrings=(keyring,), **changes)


def psk_connection(suite, **changes):
    proposal, esp_proposal = SUITES_OF_ALL[suite][0]
    words = {"proposal": proposal, "esp_proposal": esp_proposal, "pre_shared_key": SECRET}
    return Connection(local=THEIRS, remote=OURS, **(words | changes))


def rsa_config(suite, pki, leaf, **changes):
    words = {
        "credentials": (credential(pki, leaf),),
        "trusted_authorities": authorities(pki),
    }
    return our_config(suite, AuthMethod.RSA_SIG, **(words | changes))


def rsa_connection(suite, pki, leaf, **changes):
    proposal, esp_proposal = SUITES[suite][0]
    words = {
        "proposal": proposal,
        "esp_proposal": esp_proposal,
        "certificate": leaf.certificate,
        "key": leaf.key,
        "authorities": (pki.root, pki.sub_ca),
    }
    return Connection(local=THEIRS, remote=OURS, **(words | changes))


def bring_up(ours, charon, *, we_initiate):
    if we_initiate:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
    else:
        charon.start_initiating()
    ours.run_until(charon.is_up, "child on charon's side")
    ours.run_until(lambda: bool(ours.of(InstallIpsecSa)), "pair on our side")


def check_same_keys(ours, charon):
    """Phase 1 against charon's log, KEYMAT of both directions against what its kernel got."""
    (material,) = ours.of(KeyMaterial)
    theirs = parse_main_mode(charon.log_file.read_text())
    others = dict(material.others)
    for name in ("g_xy", "skeyid", "skeyid_d", "skeyid_a", "skeyid_e", "iv"):
        assert others[name] == getattr(theirs, name), name
    assert material.encryption_key == theirs.encryption_key
    (installed,) = ours.of(InstallIpsecSa)
    check_kernel_keys(installed, charon)


def check_kernel_keys(installed, charon):
    """The pair we installed is the last one that charon gave to its kernel."""
    if not charon.shows_keys:
        return
    kernel = {
        sa.spi: (sa.mode, sa.destination, sa.encryption_key, sa.integrity_key)
        for sa in read_kernel_sas(charon.sa_file)[-2:]
    }
    assert kernel == {
        keys.spi: ("transport", destination, keys.encryption_key, keys.authentication_key)
        for keys, destination in ((installed.inbound, OURS), (installed.outbound, THEIRS))
    }
