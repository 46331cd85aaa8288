"""Rows of the command table: `crypto call admission limit ike`."""

from __future__ import annotations

from dataclasses import replace

from ikelab.ios.arguments import Arguments
from ikelab.ios.config import RunningConfig
from ikelab.ios.row import Row, shown
from ikelab.ios.system_commands import GLOBAL


def _limit_row(grammar: str, name: str, help_text: str) -> Row:
    """One limit: an attribute of `AdmissionLimits`, 0 for none."""

    def write(config: RunningConfig, value: int) -> RunningConfig:
        return replace(config, admission=replace(config.admission, **{name: value}))

    def edit(config: RunningConfig, arguments: Arguments) -> RunningConfig:
        return write(config, arguments.number("limit"))

    lead = "Call admission control | Configure limits | IKE limits"
    return GLOBAL.row(
        grammar,
        f"Configure Call Admission Control | {lead} | {help_text} | Maximum number",
        edit,
        lambda config, _: write(config, 0),
        lambda config: [shown(limit=held)] if (held := getattr(config.admission, name)) else [],
    )


ADMISSION_ROWS = (
    _limit_row(
        "crypto call admission limit ike in-negotiation-sa <10-99999>:limit",
        "in_negotiation",
        "Maximum number of in-negotiation IKE SAs",
    ),
    _limit_row(
        "crypto call admission limit ike sa <1-99999>:limit",
        "sas",
        "Maximum number of IKE SAs, for peers that have none yet",
    ),
)
