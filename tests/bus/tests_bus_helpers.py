"""What tests of the bus on a real socket share."""

import asyncio

from runloop import rmp
from runloop.bus import frames

GENERIC = "observation.generic.v1"
ASK = "intent.ctrl.request.v1"
TOKEN = "f" * 64


class Raw:
    """A peer that sends whatever bytes a test wants."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.decoder = rmp.FrameDecoder()
        self.sent = 0

    @classmethod
    async def connect(cls, server, *, greet=True):
        raw = cls(*await asyncio.open_unix_connection(server.path))
        if greet:
            raw.send(frames.HELLO, frames.Hello("client", "raw", "1").payload())
            assert (await raw.frame()).type == frames.WELCOME
        return raw

    def send(self, type_, payload, now=None, ttl_ms=rmp.DEFAULT_TTL_MS, msg_id=None, **meta):
        from runloop.bus.server import now_ms

        envelope = rmp.Envelope(type_, payload, meta or None)
        self.sent += 1
        given = {"msg_id": self.sent if msg_id is None else msg_id, "created_at_ms": now_ms() if now is None else now, "ttl_ms": ttl_ms}
        self.writer.write(rmp.encode_frame(envelope, trace_id=1, **given))

    async def frame(self):
        while True:
            for frame in self.decoder.frames():
                return frame
            data = await self.reader.read(65536)
            if not data:
                return None
            self.decoder.feed(data)

    async def end(self):
        """The last frame before the connection ended."""
        last = None
        while (frame := await self.frame()) is not None:
            last = frame
        self.writer.close()
        return last.type, last.envelope.payload["code"]
