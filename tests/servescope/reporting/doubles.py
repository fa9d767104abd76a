"""Servers that stand in for those of others: real sockets, small, and they remember everything."""

import base64
import hashlib
import hmac
import json
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Served:
    """A server in a thread, for as long as the block lasts."""

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def port(self):
        return self.server.server_address[1]


class MailTalk(socketserver.StreamRequestHandler):
    def handle(self):
        if self.server.post.wraps:
            self._secure()
        self.sent_to, self.is_in = [], False
        self.say("220 test double")
        while line := self.rfile.readline():
            verb = line.split(b" ")[0].strip().upper().decode("ascii", "replace")
            told = getattr(self, f"do_{verb}", None)
            if told is None:
                self.say("502 unknown")
            elif told(line.strip().decode("utf-8")) is False:
                return

    def finish(self):
        super().finish()
        self.request.close()

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()

    def _secure(self):
        self.request = self.server.post.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")
        self.server.post.secured += 1

    def do_EHLO(self, line):
        can = ["test"]
        can += ["STARTTLS"] if self.server.post.tls and not self.server.post.wraps else []
        can += ["AUTH PLAIN"] if self.server.post.login else []
        for one in can[:-1]:
            self.say(f"250-{one}")
        self.say(f"250 {can[-1]}")

    def do_STARTTLS(self, line):
        self.say("220 go on")
        self._secure()

    def do_AUTH(self, line):
        _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
        self.server.post.logins.append((user, password))
        self.is_in = (user, password) == self.server.post.login
        self.say("235 fine" if self.is_in else f"535 no such login {password}")

    def do_MAIL(self, line):
        if self.server.post.login and not self.is_in:
            self.say("530 log in first")
        else:
            self.say("250 fine")

    def do_RCPT(self, line):
        address = line.split("<")[1].split(">")[0]
        if address in self.server.post.refuses:
            self.say("550 unknown here")
            return
        self.sent_to.append(address)
        self.say("250 fine")

    def do_DATA(self, line):
        self.say("354 go on")
        body = b""
        while (part := self.rfile.readline()) != b".\r\n":
            body += part[1:] if part.startswith(b"..") else part
        answer = self.server.post.answers.pop(0) if self.server.post.answers else "250 kept"
        if answer.startswith("250"):
            self.server.post.letters.append((tuple(self.sent_to), body))
        self.say(answer)

    def do_RSET(self, line):
        self.say("250 fine")

    def do_QUIT(self, line):
        self.say("221 bye")
        return False


class MailServer(socketserver.ThreadingTCPServer):
    """One thread a client."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """A client that leaves is no news."""


class Post(Served):
    """An SMTP server (RFC 5321) with STARTTLS, TLS and AUTH; test double.

    Args:
        answers: what it says to DATA, one a letter; then 250.
        refuses: addresses that it refuses.
        tls: context; `wraps` speaks TLS from the first byte.
        login: user and password it wants.
    """

    def __init__(self, *, answers=(), refuses=(), tls=None, wraps=False, login=None):
        self.answers, self.refuses, self.tls, self.login = list(answers), refuses, tls, login
        self.letters, self.logins, self.secured = [], [], 0
        self.wraps = wraps
        self.server = MailServer(("127.0.0.1", 0), MailTalk)
        self.server.post = self


class Web(Served):
    """An HTTP server that keeps what it is sent; test double.

    Args:
        answers: (status, headers, body), one a request; then 200.
        check: request to a status, instead.
    """

    def __init__(self, *answers, check=None, tls=None):
        self.answers, self.got = list(answers), []
        outer = self

        class Talk(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                heads = {k.lower(): v for k, v in self.headers.items()}
                got = {"method": self.command, "path": self.path, "headers": heads, "body": body}
                outer.got.append(got)
                status, headers, said = outer.answers.pop(0) if outer.answers else (200, {}, b"ok")
                if check is not None:
                    status, said = check(got)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_POST = do_PUT = do_GET = _take  # noqa: N815 - as the server calls them

            def log_message(self, *_):
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Talk)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def bodies(self):
        return [json.loads(one["body"]) for one in self.got]


def signature_checker(access_key, secret_key, region):
    """Checks SigV4 as a server does: from the request alone, written after the specification."""

    def check(got):
        heads = got["headers"]
        if hashlib.sha256(got["body"]).hexdigest() != heads.get("x-amz-content-sha256"):
            return 400, b"XAmzContentSHA256Mismatch"
        parts = dict(
            part.strip().split("=", 1)
            for part in heads["authorization"].split(" ", 1)[1].split(",")
        )
        key, day, told_region, service, _ = parts["Credential"].split("/")
        names = parts["SignedHeaders"].split(";")
        if key != access_key or told_region != region or "host" not in names:
            return 403, b"InvalidAccessKeyId"
        lines = [got["method"], got["path"], ""]
        lines += [f"{name}:{heads[name].strip()}" for name in names]
        lines += ["", ";".join(names), heads["x-amz-content-sha256"]]
        request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        text = "\n".join(
            ["AWS4-HMAC-SHA256", heads["x-amz-date"], f"{day}/{region}/{service}/aws4_request",
             request]
        )  # fmt: skip
        signing = ("AWS4" + secret_key).encode()
        for part in (day, region, service, "aws4_request"):
            signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
        expected = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, parts["Signature"]):
            return 403, b"SignatureDoesNotMatch"
        return 200, b""

    return check


def server_tls(folder):
    """A server's side of TLS with the certificate of the tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context
