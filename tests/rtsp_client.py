"""What the test server knows of one of its clients: requests, credentials, where to send."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import struct
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from h264_rtp import Picture, Recording, rtp


@dataclass(frozen=True)
class Credentials:
    """A name and a password, and how they may be sent: RFC 7617 and the older form of 7616."""

    user: str
    password: str
    schemes: tuple[str, ...]
    realm: str
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    def challenges(self) -> list[str]:
        """The values of WWW-Authenticate."""
        each = {
            "digest": f'Digest realm="{self.realm}", nonce="{self.nonce}"',
            "basic": f'Basic realm="{self.realm}"',
        }
        return [each[scheme] for scheme in self.schemes]

    def accept(self, method: str, header: str) -> bool:
        """Whether an Authorization header holds the right ones."""
        scheme, _, rest = header.partition(" ")
        if scheme.lower() not in self.schemes:
            return False
        if scheme.lower() == "basic":
            return b64decode(rest).decode() == f"{self.user}:{self.password}"
        given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        secret = _md5(f"{self.user}:{self.realm}:{self.password}")
        request = _md5(f"{method}:{given.get('uri', '')}")
        return given.get("response") == _md5(f"{secret}:{self.nonce}:{request}")


class Camera(Protocol):
    """What a client asks of its server."""

    path: str
    codec: str
    recording: Recording
    credentials: Credentials | None
    requests: list[str]


class Client:
    """One connection. `playing`: it asked for pictures; it gets them from a keyframe on."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.playing = False
        self._joined = False
        self._received = b""
        self._sequence = secrets.randbelow(1 << 16)
        self._source = secrets.randbits(32)
        self._channel = 0
        self._udp: socket.socket | None = None

    def read(self, camera: Camera) -> bool:
        """Take what arrived and answer whole requests; False where the client hung up."""
        data = self.connection.recv(65536)
        self._received += data
        while self._received:
            if self._received[:1] == b"$":  # RTCP of the client; nobody needs it
                length = 4 + int.from_bytes(self._received[2:4], "big")
                if len(self._received) < max(4, length):
                    break
                self._received = self._received[length:]
                continue
            head, end, rest = self._received.partition(b"\r\n\r\n")
            body = re.search(rb"(?i)^content-length: *(\d+)", head, re.M)
            length = int(body[1]) if body else 0
            if not end or len(rest) < length:
                break
            self._received = rest[length:]
            self.connection.sendall(self._answer(camera, head.decode()).encode())
        return bool(data)

    def wants(self, picture: Picture) -> bool:
        """Whether this picture is to be sent: from the first keyframe after PLAY on."""
        self._joined = self.playing and (self._joined or picture.keyframe)
        return self._joined

    def send(self, payload: bytes | None, *, timestamp: int, last: bool) -> None:
        """One RTP packet; None leaves it out, and its number with it."""
        self._sequence += 1
        if payload is None:
            return
        packet = rtp(
            payload,
            sequence=self._sequence,
            timestamp=timestamp,
            last=last,
            source=self._source,
        )
        if self._udp is not None:
            self._udp.send(packet)
        else:
            self.connection.sendall(struct.pack("!cBH", b"$", self._channel, len(packet)) + packet)

    def close(self) -> None:
        """Close its sockets."""
        self.connection.close()
        if self._udp is not None:
            self._udp.close()

    def _answer(self, camera: Camera, head: str) -> str:
        request, *lines = head.split("\r\n")
        method, url, _ = request.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        camera.requests.append(method)
        status, answer, body = self._reply(camera, method, url, headers)
        answer = [f"CSeq: {headers.get('cseq', '0')}", *answer]
        if body:
            answer += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        return "\r\n".join([f"RTSP/1.0 {status}", *answer, "", body])

    def _reply(
        self, camera: Camera, method: str, url: str, headers: dict[str, str]
    ) -> tuple[str, list[str], str]:
        """The status, the headers and the body of one answer."""
        if method == "OPTIONS":
            verbs = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN"
            return "200 OK", [f"Public: {verbs}"], ""
        allowed = camera.credentials
        if allowed and not allowed.accept(method, headers.get("authorization", "")):
            return (
                "401 Unauthorized",
                [f"WWW-Authenticate: {challenge}" for challenge in allowed.challenges()],
                "",
            )
        if urlsplit(url).path.strip("/").removesuffix("/track0") != camera.path:
            return "404 Not Found", [], ""
        session = "Session: 1;timeout=60"
        if method == "DESCRIBE":
            return "200 OK", [f"Content-Base: {url}/"], camera.recording.sdp(camera.codec)
        if method == "SETUP":
            transport = self._set_up(headers.get("transport", ""))
            if transport is None:
                return "461 Unsupported Transport", [], ""
            return "200 OK", [session, f"Transport: {transport}"], ""
        if method in ("PLAY", "PAUSE", "TEARDOWN"):
            self.playing = method == "PLAY"
        return "200 OK", [session], ""

    def _set_up(self, asked: str) -> str | None:
        if tcp := re.search(r"interleaved=(\d+)-(\d+)", asked):
            self._channel = int(tcp[1])
            return f"RTP/AVP/TCP;unicast;interleaved={tcp[1]}-{tcp[2]}"
        if udp := re.search(r"client_port=(\d+)-(\d+)", asked):
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.bind((self.connection.getsockname()[0], 0))
            self._udp.connect((self.connection.getpeername()[0], int(udp[1])))
            port = self._udp.getsockname()[1]
            return f"{asked};server_port={port}-{port + 1}"
        return None


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
