"""Writes small labs for tests."""

from __future__ import annotations

from pathlib import Path

from ikelab.errors import ConfigError
from ikelab.lab.topology import Topology, load
from ikelab.lab.yaml_reader import ConfigErrors

ROUTER = """\
hostname {name}
crypto pki trustpoint ra
 enrollment url http://192.0.2.1
interface GigabitEthernet0/0
 ip address {address} 255.255.255.0
{more}
end
"""

CA = """\
hostname ca
crypto pki server ca
 no shutdown
interface GigabitEthernet0/0
 ip address 192.0.2.1 255.255.255.0
end
"""

LAB = """\
name: small
title: two nodes and a disk
segments:
  lan: {prefix: 192.0.2.0/24}
nodes:
  disk:
    kind: storage
    addresses: {lan: 192.0.2.9}
    ftp: {ca: secret-word}
  ca:
    kind: ca
    config: configs/ca.cfg
    interfaces: {GigabitEthernet0/0: lan}
  r1:
    kind: router
    config: configs/r1.cfg
    interfaces: {GigabitEthernet0/0: lan}
trust:
  - {node: r1, trustpoint: ra, ca: ca}
checks:
  - ping: {from: r1, to: 192.0.2.1}
"""


def write_lab(folder: Path, lab: str = LAB, **configs: str) -> Path:
    """A lab's folder; configs by name of node, the two of LAB when not given."""
    files = {"ca": CA, "r1": ROUTER.format(name="r1", address="192.0.2.2", more=""), **configs}
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "lab.yaml").write_text(lab)
    for name, text in files.items():
        (folder / "configs" / f"{name}.cfg").write_text(text)
    return folder


def loaded(folder: Path, lab: str = LAB, **configs: str) -> Topology:
    """A good lab."""
    return load(write_lab(folder, lab, **configs))


def errors(folder: Path, lab: str = LAB, **configs: str) -> list[str]:
    """What a faulty lab is told, file names without their folder."""
    write_lab(folder, lab, **configs)
    try:
        load(folder)
    except ConfigErrors as caught:
        return [str(error).replace(f"{folder}/", "") for error in caught.errors]
    except ConfigError as error:
        return [str(error).replace(f"{folder}/", "")]
    raise AssertionError("nothing was wrong")
