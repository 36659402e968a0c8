"""A small hub on loopback, as the hub's own client sees it, which misbehaves on demand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

LARGE = (".safetensors", ".bin", ".parquet", ".model")  # kept in LFS, with a SHA-256
CHUNK_BYTES = 1 << 12  # what a download may lose when it is stopped; 10 MB outside of tests
TIMEOUT_S = 0.8  # long enough for a busy machine, short enough to wait for
STALL_S = 30  # longer than any client of the tests waits


@dataclass
class Hub:
    """Repositories by (kind, id, commit), and what is wrong with the server: `fault(kind of request, path) -> name`."""

    repositories: dict[tuple[str, str, str], dict[str, bytes]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)  # "api" or a file's name -> fault
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    commits: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def add(self, kind: str, name: str, commit: str, files: dict[str, bytes]) -> None:
        """`kind`: model or dataset."""
        self.repositories[kind, name, commit] = files
        self.commits.setdefault((kind, name), []).append(commit)

    def add_folder(self, kind: str, name: str, commit: str, folder: Path) -> None:
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        self.add(kind, name, commit, files)

    def asked(self, part: str) -> list[tuple[str, str, str | None, str | None]]:
        """(method, path, Range, Authorization) of the requests whose path has `part`."""
        return [request for request in self.requests if part in request[1]]


def digest_of(name: str, content: bytes) -> str:
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub that is up while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def point_client_at(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's huggingface_hub, which read the environment when it was imported, use `hub` and `cache`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", TIMEOUT_S)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK_BYTES)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


class _Handler(BaseHTTPRequestHandler):
    """One request. Answers are those of huggingface.co, as far as its client reads them."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at `hub.requests`."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, path, self.headers.get("Range"), self.headers.get("Authorization")))
        if found := re.fullmatch(r"/api/(model|dataset)s/(.+)/commits/[^/]+", path):
            ids = self.hub.commits.get((found[1], found[2]), [])
            line = {"authors": [], "date": "2023-01-01T00:00:00.000Z", "title": "", "message": ""}
            self._json([{"id": commit, **line} for commit in ids])
        elif found := re.fullmatch(r"/api/(model|dataset)s/(.+)/revision/([^/]+)", path):
            self._information(*found.groups())
        elif found := re.fullmatch(r"/(datasets/)?(.+)/resolve/([0-9a-f]{40})/(.+)", path):
            self._file("dataset" if found[1] else "model", *found.groups()[1:])
        else:
            self._refuse(404)

    def _information(self, kind: str, name: str, commit: str) -> None:
        fault = self.hub.faults.get("api")
        if fault and self._misbehave(fault):
            return
        files = self.hub.repositories.get((kind, name, commit))
        if files is None:
            known = (kind, name) in self.hub.commits
            self._refuse(404 if known else 401, "RevisionNotFound" if known else "RepoNotFound")
            return
        claimed = dict.fromkeys(files, 10**15) if fault == "enormous" else {}
        siblings = []
        for path, content in files.items():
            size = claimed.get(path, len(content))
            line = {"rfilename": path, "size": size, "blobId": hashlib.sha1(content).hexdigest()}
            digest = digest_of(path, content)
            if path.endswith(LARGE):
                line["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
            else:
                line["blobId"] = digest
            siblings.append(line)
        answered = "f" * 40 if fault == "another commit" else commit
        self._json({"id": name, "sha": answered, "siblings": siblings})

    def _file(self, kind: str, name: str, commit: str, path: str) -> None:
        content = self.hub.repositories.get((kind, name, commit), {}).get(path)
        if content is None:
            self._refuse(404, "EntryNotFound")
            return
        fault = self.hub.faults.get(path, "")
        if fault == "elsewhere" and self.headers["Host"].startswith("127.0.0.1"):
            self._refer(self.hub.address.replace("127.0.0.1", "localhost") + self.path)
            return
        if fault and self._misbehave(fault):
            return
        if fault == "wrong bytes":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "short":
            content = content[:-10]
        start = int(found[1]) if (found := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{digest_of(path, content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if path.endswith(LARGE):
            self.send_header("X-Linked-Etag", f'"{digest_of(path, content)}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "breaks off":
            self.wfile.write(content[start : start + len(content) // 2])
            self.wfile.flush()
            self.hub.faults[path] = "refuses"  # and is gone for good
            self.close_connection = True
            return
        if fault == "drops once":
            self.wfile.write(content[start : start + len(content) // 2])
            del self.hub.faults[path]
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _misbehave(self, fault: str) -> bool:
        """Answer with a fault that comes before any content. False: it is of another kind."""
        if fault == "gated":
            self._refuse(403, "GatedRepo")
        elif fault.isdigit():
            self._refuse(int(fault))
        elif fault == "echo":  # a server that says the caller's secret back
            self._refuse(418, message=f"bad {self.headers.get('Authorization')}")
        elif fault == "stalls":
            self.hub.closing.wait(STALL_S)
        elif fault == "refuses":
            self.close_connection = True
        elif fault == "garbage":
            self._send(b"<html>captive portal</html>", "text/html")
        else:
            return False
        return True

    def _refer(self, address: str) -> None:
        """As the hub sends its callers on to where large files lie."""
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
