"""No list makes a worker grow by more than a bounded amount, however large what it lists is."""

import re
from pathlib import Path

import pytest
from helpers.databases import Databases
from helpers.service import Service, call, serve

MAX_GROWTH_KB = 100_000
# One character beyond the Basic Multilingual Plane, so that Python needs four bytes for each of the others too.
TEXT = "\U0001f600" + "x" * 60_000
PANEL = {"sections": [{"id": "\U0001f600", "label": "A", "fields": [{"key": "k", "label": "x" * 255}] * 100}] * 30}


def memory_of_worker(service: Service, name: str) -> int:
    """Kilobytes that the only worker has now (VmRSS), or had at most (VmHWM)."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    [memory] = re.findall(rf"{name}:\s+([0-9]+) kB", Path(f"/proc/{children[0]}/status").read_text())
    return int(memory)


@pytest.mark.processes
def test_no_list_makes_a_worker_grow_by_more_than_100_mb(kind: str, databases: Databases, tmp_path: Path) -> None:
    with serve(databases.create(kind), tmp_path, WEB_CONCURRENCY="1") as service:
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]
        path = f"/api/contacts/{contact['id']}"
        lists = [f"{path}/sessions?limit=100", f"{path}/messages?limit=100", "/api/flows?limit=100"]
        for number in range(40):
            session = {"session_data": {f"{part}": TEXT for part in range(17)}}
            assert call(service, "PUT", f"{path}/session-data", session)[0] == 201
            flow = f"/api/flows/018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c{number:02}"
            assert call(service, "PUT", flow, {"name": "F", "panel_config": PANEL})[0] == 201
        for _ in range(100):
            message = {"direction": "outgoing", "type": "text", "content": {"body": TEXT}}
            recorded = call(service, "POST", f"{path}/messages", message)[1]["data"]["id"]
            error = {"status": "failed", "error": {"text": TEXT}}
            assert call(service, "PUT", f"/api/messages/{recorded}/status", error)[0] == 200
        for each in lists:
            before = memory_of_worker(service, "VmRSS")
            assert call(service, "GET", each)[0] == 200
            grown = memory_of_worker(service, "VmHWM") - before
            assert grown < MAX_GROWTH_KB, each
