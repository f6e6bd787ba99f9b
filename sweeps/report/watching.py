"""The page of `sweeps watch`: served to this machine alone, to whoever has its address."""

import gzip
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from sweeps.errors import StudyError
from sweeps.report.live import Live
from sweeps.report.markup import escape
from sweeps.report.page import ASSETS, DRAWING, document, filled
from sweeps.results.results import load

HOST = "127.0.0.1"
NAMES = (HOST, "localhost", "[::1]")  # that a browser on this machine, or at the end of a tunnel, asks by
SCRIPTS = (*DRAWING, "members.js", "watch.js")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Answer(NamedTuple):
    """What is sent.

    Attributes:
        body: the bytes.
        kind: their type.
        status: of HTTP.
    """

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = 200


class Watch(ThreadingHTTPServer):
    """Serves the page of a run until it is closed.

    Args:
        directory: the run directory.
        port: the port; 0 takes any that is free.

    Attributes:
        address: where the page is, with the token that whoever asks must know.

    Raises:
        StudyError: it is not a run directory, or the port is taken.
    """

    daemon_threads = True
    allow_reuse_port = False  # two of them would share what comes in

    def __init__(self, directory: Path, port: int = 0):
        if not 0 <= port < 2**16:
            raise StudyError(f"Give --port a number from 0 to 65535, not {port}.")
        self.live, self.token = Live(directory), secrets.token_urlsafe(24)
        self.files = _files(str(self.live.manifest["study"]))
        self.reporting = threading.Lock()  # a report takes a while, and memory
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise StudyError(
                f"Port {port} cannot be listened on: {error.strerror}. Name another, or leave --port out, "
                f"which takes one that is free."
            ) from error
        self.address = f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    def server_bind(self) -> None:
        """Takes the port, and asks no name server what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a browser that has gone is no error of anyone's."""

    def answer(self, path: str, host: str | None) -> Answer:
        """What is sent for a request.

        Args:
            path: what is asked for, with the query.
            host: what the browser takes this server for; a page of another site that was led here says its
                own name.
        """
        name = (host or "").rpartition(":")[0] if not (host or "").endswith("]") else host
        if (name or host) not in NAMES:
            return Answer(b"this server answers to 127.0.0.1 and localhost alone\n", status=403)
        asked = urlsplit(path)
        _, token, *rest = [*asked.path.split("/"), ""]
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return Answer(
                b"the address of this page ends in a token; `sweeps watch` printed it\n", status=403
            )
        file = "/".join(rest).rstrip("/")
        if file == "state.json":
            version = (parse_qs(asked.query).get("version") or [""])[0]
            text = self.live.state(int(version) if version.isdecimal() else -1)
            return Answer(text.encode(), "application/json")
        if file == "report.html":
            return self._report()
        return self.files.get(file) or Answer(b"there is no such page\n", status=404)

    def _report(self) -> Answer:
        """The whole report, of what is committed now."""
        with self.reporting:
            try:
                text = document(load(self.live.directory))
            except StudyError as error:
                return Answer(f"{error}\n".encode(), status=404)
            return Answer(text.encode(errors="backslashreplace"), "text/html; charset=utf-8")


class Handler(BaseHTTPRequestHandler):
    """Reads a request, and sends the server's answer."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sweeps", ""
    timeout = 60  # seconds for a request to come in

    def do_GET(self) -> None:
        """Sends what is asked for."""
        assert isinstance(self.server, Watch)
        try:
            answer = self.server.answer(self.path, self.headers.get("Host"))
        except Exception as error:  # a run directory may be damaged in ways that nobody has thought of
            answer = Answer(f"{type(error).__name__}: {error}\n".encode(), status=500)
        body, packed = answer.body, "gzip" in (self.headers.get("Accept-Encoding") or "")
        packed = packed and len(body) > 1000
        if packed:
            body = gzip.compress(body, 1)
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": answer.kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",  # which would hold the token
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            **({"Content-Encoding": "gzip"} if packed else {}),
            **({} if self.path.endswith("report.html") else {"Content-Security-Policy": POLICY}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """Sends all but the body."""
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is the user's."""


def _files(study: str) -> dict[str, Answer]:
    """What does not change while a run is watched."""

    def read(name: str) -> str:
        return (ASSETS / name).read_text(encoding="utf-8")

    page = filled(read("watch.html"), {"study": escape(study)})
    return {
        "": Answer(page.encode(errors="backslashreplace"), "text/html; charset=utf-8"),
        "page.css": Answer((read("page.css") + read("watch.css")).encode(), "text/css; charset=utf-8"),
        "watch.js": Answer("\n".join(map(read, SCRIPTS)).encode(), "text/javascript; charset=utf-8"),
    }
