"""lab.yaml: what it means, every error in its place, and what a stranger may not do with it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.lab.checks import (
    Advance,
    Configure,
    Exec,
    ForgetClock,
    Ping,
    PowerOff,
    Refused,
    ShowContains,
    Trust,
    Wait,
)
from ikelab.lab.topology import NODES, load
from ikelab.lab.yaml_reader import FILE_OCTETS
from ikelab.runtime.clock import ClockSetting
from ikelab.runtime.nodespec import Attachment, FtpUser, NodeKind, NtpService, Route
from tests.unit.lab_files import CA, LAB, ROUTER, errors, loaded, write_lab

REPOSITORY = Path(__file__).parents[2]


def changed(old: str, new: str) -> str:
    """The small lab with one place different."""
    assert LAB.count(old) == 1, old
    return LAB.replace(old, new)


# --- what it means -------------------------------------------------------------------------------


def test_a_lab_is_read_into_its_canonical_form(tmp_path: Path) -> None:
    topology = loaded(tmp_path)
    assert (topology.name, topology.title, topology.mode) == (
        "small",
        "two nodes and a disk",
        "modern",
    )
    assert [(s.name, s.prefix) for s in topology.segments] == [("lan", "192.0.2.0/24")]
    assert [(n.name, n.kind) for n in topology.nodes] == [
        ("disk", NodeKind.STORAGE),
        ("ca", NodeKind.CA),
        ("r1", NodeKind.ROUTER),
    ]
    disk, _, router = topology.nodes
    assert disk.attachments == (Attachment("eth0", "eth0", "lan", "192.0.2.9/24"),)
    assert disk.ftp_users == (FtpUser("ca", "secret-word"),)
    assert router.attachments == (
        Attachment("GigabitEthernet0/0", "gi0-0", "lan", "192.0.2.2/24", up=True),
    )
    assert router.config == (tmp_path / "configs/r1.cfg").read_text()
    assert router.namespace == "ikelab-small-r1"
    assert topology.trust == (Trust("r1", "ra", "ca"),)
    assert topology.checks == (Ping("r1", "192.0.2.1", None, 5),)


def test_a_lab_and_its_nodes_have_clocks(tmp_path: Path) -> None:
    text = changed("segments:", "clock: 2009-04-02T14:58:59Z\nsegments:")
    own = "configs/r1.cfg\n    clock: {date: 2002-02-01, set: no}\n"
    topology = loaded(tmp_path, text.replace("configs/r1.cfg\n", own))
    assert topology.clock == datetime(2009, 4, 2, 14, 58, 59, tzinfo=UTC)
    assert topology.node("r1").clock == ClockSetting(datetime(2002, 2, 1, tzinfo=UTC), False)
    assert topology.node("ca").clock == ClockSetting()


TIME = "  time: {kind: ntp, addresses: {lan: 192.0.2.8}, stratum: 2, reference: 10.81.254.202}\n"


def test_a_time_server_says_what_it_is_set_by(tmp_path: Path) -> None:
    node = loaded(tmp_path, changed("nodes:\n", "nodes:\n" + TIME)).node("time")
    assert (node.kind, node.ntp) == (NodeKind.NTP, NtpService(2, "10.81.254.202"))
    assert node.attachments == (Attachment("eth0", "eth0", "lan", "192.0.2.8/24"),)
    assert not node.has_console


def test_a_time_server_alone_is_a_clock_of_stratum_1(tmp_path: Path) -> None:
    text = changed("nodes:\n", "nodes:\n  time: {kind: ntp, addresses: {lan: 192.0.2.8}}\n")
    assert loaded(tmp_path, text).node("time").ntp == NtpService(1, "LOCL")


def test_all_kinds_of_checks_are_read(tmp_path: Path) -> None:
    checks = """\
  - wait: {node: r1, for: tunnel-up, of: Tunnel1, within: 7}
  - wait: {node: ca, for: ca-enabled}
  - ping: {from: r1, to: 192.0.2.1, source: 192.0.2.2, count: 3}
  - unreachable: {from: r1, to: 10.0.0.1}
  - show-contains: {node: r1, command: show crypto isakmp sa, text: QM_IDLE}
"""
    lab = LAB.partition("  - ping:")[0] + checks
    assert loaded(tmp_path, lab).checks == (
        Wait("r1", "tunnel-up", "Tunnel1", 7),
        Wait("ca", "ca-enabled", None, 30),
        Ping("r1", "192.0.2.1", "192.0.2.2", 3),
        Ping("r1", "10.0.0.1", None, 1, reachable=False),
        ShowContains("r1", "show crypto isakmp sa", "QM_IDLE"),
    )


def test_deeds_stand_between_what_must_hold(tmp_path: Path) -> None:
    checks = """\
  - trust: {node: r1, trustpoint: ra, ca: ca, enroll: no}
  - exec: {node: r1, command: clear crypto isakmp}
  - configure: {node: r1, lines: [no crypto pki trustpoint ra, ip http server]}
  - power-off: {node: disk}
  - advance: 1d12h
  - forget-clock: {node: r1, date: 2002-02-01}
  - refused: {node: ca, reason: revoked}
"""
    lab = LAB.partition("  - ping:")[0] + checks
    assert loaded(tmp_path, lab).checks == (
        Trust("r1", "ra", "ca", enroll=False),
        Exec("r1", "clear crypto isakmp"),
        Configure("r1", ("no crypto pki trustpoint ra", "ip http server")),
        PowerOff("disk"),
        Advance(129600),
        ForgetClock("r1", datetime(2002, 2, 1, tzinfo=UTC)),
        Refused("ca", "revoked"),
    )


def test_a_trustpoint_that_enrolls_by_itself_cannot_be_told_not_to(tmp_path: Path) -> None:
    router = ROUTER.replace("192.0.2.1\n", "192.0.2.1\n auto-enroll 70\n", 1)
    text = router.format(name="r1", address="192.0.2.2", more="")
    assert errors(tmp_path, changed("ca: ca}", "ca: ca, enroll: no}"), r1=text) == [
        "lab.yaml:19:48: `enroll: no` and `auto-enroll` (leave one of the two out; trustpoint ra"
        " enrolls as soon as it can)"
    ]


def test_a_trust_entry_may_name_who_grants(tmp_path: Path) -> None:
    lab = changed("ca: ca}", "ca: ca, grant: ca}")
    assert loaded(tmp_path, lab).trust == (Trust("r1", "ra", "ca", grant="ca"),)


def test_nobody_grants_where_the_server_does_by_itself(tmp_path: Path) -> None:
    lab = changed("ca: ca}", "ca: ca, grant: ca}")
    automatic = CA.replace(" no shutdown", " grant auto\n no shutdown")
    assert errors(tmp_path, lab, ca=automatic) == [
        "lab.yaml:19:47: ca has `grant auto`: nothing waits there to be granted"
        " (leave `grant:` out, or `grant auto` out of its configuration)"
    ]


def test_scalars_are_the_text_that_stands_there(tmp_path: Path) -> None:
    lab = changed("title: two nodes and a disk", "title: no").replace("secret-word", "0123")
    topology = loaded(tmp_path, lab)
    assert topology.title == "no"
    assert topology.nodes[0].ftp_users[0].password == "0123"


def test_interface_names_may_be_short_as_at_the_console(tmp_path: Path) -> None:
    lab = LAB.replace("{GigabitEthernet0/0: lan}", "{gi0/0: lan}")
    assert loaded(tmp_path, lab).node("r1").attachments[0].interface == "GigabitEthernet0/0"


def test_shutdown_leaves_the_link_down(tmp_path: Path) -> None:
    config = ROUTER.format(name="r1", address="192.0.2.2", more=" shutdown")
    assert loaded(tmp_path, r1=config).node("r1").attachments[0].up is False


def test_routes_over_segments_are_the_labs_those_through_tunnels_the_nodes(tmp_path: Path) -> None:
    more = "ip route 10.1.0.0 255.255.0.0 192.0.2.1\nip route 10.2.0.0 255.255.0.0 20.0.0.4\n"
    config = ROUTER.format(name="r1", address="192.0.2.2", more=more)
    assert loaded(tmp_path, r1=config).node("r1").routes == (Route("10.1.0.0/16", "192.0.2.1"),)


def test_legacy_mode_takes_what_modern_mode_refuses(tmp_path: Path) -> None:
    config = ROUTER.format(name="r1", address="192.0.2.2", more="crypto isakmp policy 1\n hash md5")
    assert any("md5" in error.lower() for error in errors(tmp_path, r1=config))
    legacy = LAB.replace("segments:", "mode: legacy\nsegments:")
    assert loaded(tmp_path, legacy, r1=config).node("r1").mode == "legacy"


def test_passwords_are_in_no_repr(tmp_path: Path) -> None:
    assert "secret-word" not in repr(loaded(tmp_path).nodes)


def test_unknown_node_is_asked_for_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no node 'disc' in small \(did you mean 'disk'\?\)"):
        loaded(tmp_path).node("disc")


def test_the_labs_of_the_project_are_good() -> None:
    folders = sorted(path.parent for path in (REPOSITORY / "netns").glob("*/lab.yaml"))
    assert {"clock", "first-tunnel"} <= {folder.name for folder in folders}
    for folder in folders:
        assert load(folder).name == folder.name


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lab", "said"),
    [
        (changed("name: small\n", ""), "lab.yaml:1:1: the file lacks name"),
        (changed("name: small", "name: ../../etc"), "lab.yaml:1:7: '../../etc' cannot be a name"),
        (changed("name: small", "name: $(x)"), "lab.yaml:1:7: '$(x)' cannot be a name"),
        (changed("name: small", "name: " + "x" * 32), "cannot be a name"),
        (changed("name: small", "name: [a]"), "lab.yaml:1:7: name should be a word or text"),
        (changed("name: small", "name:"), "name should be a word or text, not nothing"),
        (changed("title:", "titel:"), "unknown key 'titel' in the file (did you mean 'title'?)"),
        (changed("title:", "name:"), "lab.yaml:2:1: 'name' stands here twice, first in line 1"),
        (changed("segments:", "mode: modren\nsegments:"), "did you mean 'modern'?"),
        (changed("192.0.2.0/24", "192.0.2.0/33"), "lab.yaml:4:17: '192.0.2.0/33' is no IPv4"),
        (changed("192.0.2.0/24", "192.0.2.1/24"), "host bits set"),
        (changed("192.0.2.0/24", "192.0.2.0"), "no network of hosts"),
        (changed("192.0.2.0/24", "fe80::/64"), "no IPv4 prefix"),
        (changed("{prefix: 192.0.2.0/24}", "192.0.2.0/24"), "should be a mapping"),
        (changed("  lan: {", "  lo: {"), "lab.yaml:4:3: a segment cannot be called 'lo'"),
        (changed("  lan: {", "  port3: {"), "a segment cannot be called 'port3'"),
        (changed("  lan: {", "  a-very-long-name: {"), "cannot be a name here"),
        (changed("{lan: 192.0.2.9}", "{lna: 192.0.2.9}"), "no segment 'lna' (did you mean 'lan'?)"),
        (changed("192.0.2.9", "192.0.3.9"), "lab.yaml:8:22: 192.0.3.9 is outside lan"),
        (changed("192.0.2.9", "192.0.2.999"), "'192.0.2.999' is no IPv4 address"),
        (changed("192.0.2.9", "224.0.0.1"), "no address of a host"),
        (changed("192.0.2.9", "192.0.2.2"), "192.0.2.2 of r1 is already disk's on lan"),
        (changed("    ftp: {ca: secret-word}\n", ""), "nodes.disk lacks ftp"),
        (changed("{ca: secret-word}", "{../x: secret-word}"), "'../x' cannot be a name"),
        (changed("  disk:\n", "  switch:\n"), "a node cannot be called 'switch'"),
        (changed("  disk:\n", "  supervisor:\n"), "a node cannot be called 'supervisor'"),
        (changed("kind: storage", "kind: stroage"), "did you mean 'storage'?"),
        (changed("    kind: storage\n", ""), "nodes.disk lacks kind"),
        (changed("configs/r1.cfg", "configs/r2.cfg"), "cannot be read: No such file"),
        (changed("configs/r1.cfg", "configs"), "configs cannot be read: Is a directory"),
        (changed("configs/r1.cfg", "../../../../etc/passwd"), "leads out of the lab's folder"),
        (changed("configs/r1.cfg", "/etc/passwd"), "'/etc/passwd' leads out of the lab's folder"),
        (changed("configs/r1.cfg", '"configs/r1.cfg\\0"'), "leads out of the lab's folder"),
        (changed("node: r1,", "node: r3,"), "lab.yaml:19:12: no node 'r3' (there are: disk"),
        (changed("trustpoint: ra", "trustpoint: rb"), "no trustpoint on r1 'rb'"),
        (changed("ca: ca}", "ca: r1}"), "r1 has no `crypto pki server`"),
        (changed("{node: r1, trustpoint: ra, ca: ca}", "{node: r1}"), "lacks trustpoint, ca"),
        (changed("ca: ca}", "ca: ca, grant: r1}"), "requests to ca wait at ca, not at r1"),
        (changed("from: r1,", "from: disk,"), "disk is a storage node, it has no console"),
        (changed("to: 192.0.2.1}", "to: ca}"), "lab.yaml:21:26: 'ca' is no IPv4 address"),
        (changed("to: 192.0.2.1}", "to: 192.0.2.1, count: 0}"), "a number from 1 to 1000, not '0'"),
        (changed("- ping:", "- pnig:"), "unknown key 'pnig' in checks[1] (did you mean 'ping'?)"),
        (changed("- ping: {from: r1, to: 192.0.2.1}", "- 3"), "should be a mapping"),
        (LAB + "    unreachable: {from: r1, to: 192.0.2.1}\n", "two checks in one item"),
        (LAB + "  - show-contains: {node: r1, command: reload, text: x}\n", "a check only shows"),
        (LAB + "  - wait: {node: r1, for: tunel-up}\n", "did you mean 'tunnel-up'?"),
        (LAB + "  - wait: {node: r1, for: ready, within: 99999}\n", "from 1 to 3600"),
        (changed("ca: ca}", "ca: ca, enroll: maybe}"), "lab.yaml:19:48: trust[1].enroll cannot be"),
        (changed("ca: ca}", "ca: ca, grant: ca, enroll: no}"), "granted without a request"),
        (LAB + "  - power-off: {node: r2}\n", "lab.yaml:22:23: no node 'r2'"),
        (
            changed("nodes:\n", "nodes:\n" + TIME.replace("stratum: 2", "stratum: 16")),
            "nodes.time.stratum should be a number from 1 to 15",
        ),
        (
            changed("nodes:\n", "nodes:\n" + TIME.replace("stratum: 2", "stratum: 1")),
            "'10.81.254.202' is no clock (write GPS, LOCL or another",
        ),
        (
            changed("nodes:\n", "nodes:\n" + TIME) + "  - exec: {node: time, command: x}\n",
            "time is a ntp node, it has no console",
        ),
        ("clock: 1.4.2009\n" + LAB, "lab.yaml:1:8: '1.4.2009' is no date"),
        (LAB + "  - advance: soon\n", "lab.yaml:22:14: 'soon' is no span of time"),
        (LAB + "  - power-off: r1\n", "lab.yaml:22:16: checks[2].power-off should be a mapping"),
        (LAB + "  - exec: {node: disk, command: x}\n", "lab.yaml:22:18: disk is a storage node"),
        (LAB + "  - exec: {node: r1}\n", "checks[2].exec lacks command"),
        (
            LAB + "  - configure: {node: r1, lines: end}\n",
            "lab.yaml:22:34: checks[2].configure.lines",
        ),
        (LAB + "  - refused: {node: r1, why: x}\n", "unknown key 'why' in checks[2].refused"),
        (LAB + "  - refused: {node: r1, reason: revokd}\n", "(did you mean 'revoked'?)"),
        (LAB + "  - trust: {node: r1, trustpoint: rb, ca: ca}\n", "lab.yaml:22:35: no trustpoint"),
        ("", "lab.yaml: the file is empty"),
        ("- a\n", "lab.yaml:1:1: the file should be a mapping"),
        ("a: [\n", "lab.yaml:2:1: not YAML"),
        ("a: b: c\n", "lab.yaml:1:5: not YAML"),
        ("a: \x00\n", "lab.yaml: not YAML"),
        ("? [a]\n: b\n", "a key of the file should be a word or text, not a list"),
    ],
)
def test_an_error_says_where_and_what(tmp_path: Path, lab: str, said: str) -> None:
    assert any(said in error for error in errors(tmp_path, lab)), errors(tmp_path, lab)


def test_every_error_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    lab = changed("192.0.2.9", "192.0.3.9").replace("trustpoint: ra", "trustpoint: rb")
    config = ROUTER.format(name="r1", address="192.0.2.2", more=" ip adress x\n frobnicate")
    told = errors(tmp_path, lab, r1=config, ca=CA.replace("hostname", "frobnicate"))
    assert len(told) == 5
    assert [error.partition(":")[0] for error in told] == [
        "lab.yaml",
        "configs/ca.cfg",
        "configs/r1.cfg",
        "configs/r1.cfg",
        "lab.yaml",
    ]


def test_an_error_in_a_configuration_has_its_own_file_and_line(tmp_path: Path) -> None:
    config = ROUTER.format(name="r1", address="192.0.2.2", more=" frobnicate")
    assert errors(tmp_path, r1=config)[0].startswith("configs/r1.cfg:6:2:")


@pytest.mark.parametrize(
    ("interfaces", "said"),
    [
        ("{GigabitEthernet0/1: lan}", "the configuration of r1 has no GigabitEthernet0/1"),
        ("{Tunnel1: lan}", "no interface 'Tunnel1'"),
        ("{wlan0: lan}", "no interface 'wlan0'"),
        ("{GigabitEthernet0/0: wan}", "no segment 'wan'"),
        ("{}", "GigabitEthernet0/0 has 192.0.2.2 but no segment"),
    ],
)
def test_interfaces_must_fit_the_configuration(tmp_path: Path, interfaces: str, said: str) -> None:
    head, _, tail = LAB.rpartition("{GigabitEthernet0/0: lan}")
    assert any(said in error for error in errors(tmp_path, head + interfaces + tail))


def test_address_must_fit_its_segment(tmp_path: Path) -> None:
    outside = ROUTER.format(name="r1", address="192.0.3.2", more="")
    assert (
        "r1 has 192.0.3.2/24 on GigabitEthernet0/0, outside lan" in errors(tmp_path, r1=outside)[0]
    )
    mask = outside.replace("192.0.3.2 255.255.255.0", "192.0.2.2 255.255.0.0")
    assert "mend the address or the mask" in errors(tmp_path, r1=mask)[0]


def test_two_nodes_cannot_have_one_address(tmp_path: Path) -> None:
    same = ROUTER.format(name="r1", address="192.0.2.1", more="")
    assert "192.0.2.1 of r1 is already ca's on lan" in errors(tmp_path, r1=same)[0]


# --- a stranger's file ---------------------------------------------------------------------------


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nname: *b\n"


@pytest.mark.parametrize(
    ("lab", "said"),
    [
        (BOMB, "lab.yaml:1:4: anchors and aliases (& and *) are not taken here"),
        ("name: *x\n", "anchors and aliases"),
        ("name: !!python/object/apply:os.system [reboot]\n", "the tag"),
        ("name: !x y\n", "the tag '!x' is not taken here"),
        ("a: " + "[" * 5000 + "\n", "nested deeper than"),
        ("a: [" + "x," * 70_000 + "]\n", "more than 60000 values"),
        ("a: " + "x" * FILE_OCTETS, "larger than 256 KB"),
    ],
)
def test_what_a_lab_has_no_use_for_is_refused_before_it_is_built(
    tmp_path: Path, lab: str, said: str
) -> None:
    (error,) = errors(tmp_path, lab)
    assert said in error


def test_too_many_nodes_are_one_error(tmp_path: Path) -> None:
    nodes = "".join(f"  n{number}: {{}}\n" for number in range(NODES + 1))
    lab = f"name: big\nsegments: {{}}\nnodes:\n{nodes}"
    (error,) = errors(tmp_path, lab)
    assert "1001 nodes; at most 1000 are possible" in error


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hostname stolen\n")
    folder = write_lab(tmp_path / "lab")
    (folder / "configs/r1.cfg").unlink()
    (folder / "configs/r1.cfg").symlink_to(secret)
    with pytest.raises(ConfigError, match="leads out of the lab's folder"):
        load(folder)


def test_a_lab_may_lie_behind_a_link_itself(tmp_path: Path) -> None:
    write_lab(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    assert load(tmp_path / "link").name == "small"


def test_a_pipe_in_place_of_a_configuration_does_not_block(tmp_path: Path) -> None:
    folder = write_lab(tmp_path)
    (folder / "configs/r1.cfg").unlink()
    os.mkfifo(folder / "configs/r1.cfg")
    with pytest.raises(ConfigError, match="not a file"):
        load(folder)


def test_text_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    folder = write_lab(tmp_path)
    (folder / "lab.yaml").write_bytes(b"name: small\ntitle: gr\xfc\xdfe\n")
    with pytest.raises(ConfigError, match=r"lab.yaml:2: not UTF-8 text"):
        load(folder)


def test_a_folder_without_a_lab_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path)


def test_nodes_print_the_debug_log_unless_the_lab_says_otherwise(tmp_path: Path) -> None:
    assert {node.debugging for node in loaded(tmp_path).nodes} == {("crypto isakmp",)}
    chosen = changed("segments:", "debug: [crypto ipsec, crypto pki validation]\nsegments:")
    both = ("crypto ipsec", "crypto pki validation")
    assert {node.debugging for node in loaded(tmp_path, chosen).nodes} == {both}
    silent = changed("segments:", "debug: []\nsegments:")
    assert {node.debugging for node in loaded(tmp_path, silent).nodes} == {()}


def test_the_log_may_be_that_of_later_images(tmp_path: Path) -> None:
    assert {node.dialect for node in loaded(tmp_path).nodes} == {"12.4"}
    later = changed("segments:", "dialect: 15\nsegments:")
    assert {node.dialect for node in loaded(tmp_path, later).nodes} == {"15"}
    other = changed("segments:", "dialect: 16\nsegments:")
    assert "16" in "\n".join(errors(tmp_path, other))


def test_debugging_that_does_not_exist_is_complained_of(tmp_path: Path) -> None:
    lab = changed("segments:", "debug: [crypto isakpm]\nsegments:")
    assert "did you mean 'crypto isakmp'" in "\n".join(errors(tmp_path, lab))
