"""`debug crypto ipsec`: pairs of SAs that come and go, in the words of public traces of IOS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ikelab.ios.debugging import IPSEC
from ikelab.ios.log_line import LogLine
from ikelab.ios.show_ipsec import transform_words
from ikelab.isakmp.events import DeleteIpsecSa, InstallIpsecSa


@dataclass(slots=True)
class IpsecLog:
    """Lines of single actions; of each SA it remembers what its end is told with."""

    _sas: dict[bytes, str] = field(default_factory=dict)
    _count: int = 0

    def lines(self, action: object, *, switched_on: bool) -> Iterator[LogLine]:
        """The lines of an action; what later ones need is remembered in any case."""
        match action:
            case InstallIpsecSa():
                told = [self._created(action, inbound) for inbound in (True, False)]
                texts = [f"IPSEC(create_sa): sa created,\n{text}" for text in told]
            case DeleteIpsecSa(inbound_spi=inbound, outbound_spi=outbound):
                gone = [self._sas.pop(spi, "") for spi in (inbound, outbound)]
                texts = [f"IPSEC(delete_sa): deleting SA,\n{text}" for text in gone if text]
            case _:
                return
        if switched_on:
            yield from (LogLine(text, IPSEC) for text in texts)

    def _created(self, action: InstallIpsecSa, inbound: bool) -> str:
        keys, end = (action.inbound, action.local) if inbound else (action.outbound, action.remote)
        self._count += 1
        spi = keys.spi
        text = (
            f"  (sa) sa_dest= {end.address}, sa_proto= 50,\n"
            f"    sa_spi= 0x{spi.hex().upper()}({int.from_bytes(spi, 'big')}),\n"
            f"    sa_trans= {transform_words(action.transform)} , sa_conn_id= {self._count}"
        )
        self._sas[spi] = text
        return text
