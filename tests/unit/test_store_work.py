"""What the certificate server's store does for one request, counted, not timed."""

from __future__ import annotations

from ikelab.pki.store import MAX_REQUEST_ID, IssuedCertificate
from ikelab.runtime.store import SqliteCaStore
from tests.unit.test_store import new_request


def test_what_a_ca_has_issued_makes_no_request_dearer() -> None:
    store = SqliteCaStore(":memory:")

    def issue(serial: int) -> int:
        """Steps of SQLite's machine for one enrollment, in tens."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        store.connection.set_progress_handler(count, 10)
        added = store.add_request(new_request(f"{serial}", automatic=True))
        assert added is not None
        store.grant_request(added.number, IssuedCertificate(serial, b"certificate"), [])
        return steps

    steps = [issue(serial) for serial in range(1, 4 * MAX_REQUEST_ID)]
    early, late = steps[MAX_REQUEST_ID + 10 : MAX_REQUEST_ID + 60], steps[-50:]
    assert sum(late) < 1.1 * sum(early)
    store.close()
