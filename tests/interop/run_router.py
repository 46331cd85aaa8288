"""The child process of `our_router.start_our_router`: one router daemon in its namespace.

    python -m tests.interop.run_router NODESPEC.json READY_FD

The lab's supervisor forks its routers from a preloaded parent; a test starts one by exec, because
pytest's process has threads.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from ikelab.runtime.namespace import enter
from ikelab.runtime.nodespec import NodeKind, NodeSpec
from ikelab.runtime.routerd import main


def read_spec(file: Path) -> NodeSpec:
    """The node of a JSON file, whose keys are NodeSpec's."""
    fields = json.loads(file.read_text())
    return NodeSpec(
        lab=fields["lab"],
        name=fields["name"],
        kind=NodeKind(fields["kind"]),
        mode=fields["mode"],
        config=fields["config"],
        config_file=fields["config_file"],
        debugging=tuple(fields.get("debugging", ())),
        run_root=Path(fields["run_root"]),
    )


if __name__ == "__main__":
    gc.freeze()  # as the supervisor of a lab does before it forks its nodes
    spec = read_spec(Path(sys.argv[1]))
    enter(spec.namespace)
    sys.exit(main(spec, int(sys.argv[2])))
