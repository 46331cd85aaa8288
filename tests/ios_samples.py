"""Lines made from the command table itself: one a row, with values that its parameters take."""

from __future__ import annotations

from ikelab.ios.grammar import Element, Group, Node
from ikelab.ios.parameters import Line


def elements(nodes: tuple[Node, ...]) -> list[Element]:
    found: list[Element] = []
    for node in nodes:
        found += elements(node.nodes) if isinstance(node, Group) else [node]
    return found


EXAMPLES = (
    *("192.0.2.1", "Tunnel1", "http://a.b", "ftp://a.b", "0" * 32, "0200", "cn=a", "ab"),
    *("1", "0x1", "10", "80", "200", "3000", "2009", "april", "14:58:59", "sunday", "2:30"),
)


def sample(nodes: tuple[Node, ...], with_groups: bool) -> str:
    """A line of the row: samples of its parameters, its groups all or none."""
    words = []
    for node in nodes:
        if isinstance(node, Group):
            words += [sample(node.nodes, True)] if with_groups else []
        elif node.parameter is None:
            words.append(node.options[0].text)
        else:
            words.append(next(x for x in EXAMPLES if node.parameter.take(Line.split(x), 0)))
    return " ".join(word for word in words if word)
