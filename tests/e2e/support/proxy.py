"""A TCP proxy between a client and the server that cuts downloads."""

import socket
import struct
import threading


class CuttingProxy:
    """Forwards to `server`, and cuts the connections that fetch NARs.

    `cuts` says where, download by download: a number of bytes after the request was seen, headers
    included, or "last" for just before the end of the response: before the last chunk of a chunked
    one, before the last byte of one whose length is known. When `cuts` is used up, nothing is cut
    any more. `hard` cuts by a reset, otherwise by an orderly end. `on_cut` is called after each cut;
    a client that comes back waits until that is done.
    """

    def __init__(self, server, cuts, hard=True, on_cut=None):
        self.server = server
        self.cuts = list(cuts)
        self.hard = hard
        self.on_cut = on_cut
        self.done = []
        self.ready = threading.Event()
        self.ready.set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def die(self):
        """From now on, nothing listens there."""
        # Closing alone does not end an accept() of another thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self.ready.wait()
        try:
            upstream = socket.create_connection(("127.0.0.1", self.server.port))
        except OSError:
            self.cut(client)
            return
        connection = _Connection(self, client, upstream)
        threading.Thread(target=connection.requests, daemon=True).start()
        connection.responses()

    def next_cut(self):
        with self._lock:
            return self.cuts.pop(0) if self.cuts else None

    def cut_done(self, where):
        self.done.append(where)
        if self.on_cut:
            self.on_cut()
        self.ready.set()

    def cut(self, client):
        """Ends a client's connection as a fault of the network would."""
        if self.hard:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        client.close()


class _Connection:
    def __init__(self, proxy, client, upstream):
        self.proxy = proxy
        self.client = client
        self.upstream = upstream
        self.cut_at = None  # bytes from the server after which to cut, or "last"
        self.seen = 0
        self.head = b""

    def requests(self):
        try:
            while data := self.client.recv(1 << 16):
                if data.startswith(b"GET /nar/"):
                    self.seen, self.head = 0, b""
                    self.cut_at = self.proxy.next_cut()
                self.upstream.sendall(data)
            self.upstream.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def responses(self):
        try:
            while data := self.upstream.recv(1 << 16):
                keep = self._before_cut(data)
                self.client.sendall(data[:keep])
                self.seen += len(data)
                if keep < len(data):
                    return self._end(self.cut_at)
            self.client.shutdown(socket.SHUT_WR)
        except OSError:
            self._end()

    def _end(self, cut_at=None):
        if cut_at is not None:
            self.proxy.ready.clear()
        self.proxy.cut(self.client)
        # Ends the other thread's wait, too, which otherwise keeps the connection open.
        try:
            self.upstream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.upstream.close()
        if cut_at is not None:
            self.proxy.cut_done(cut_at)

    def _before_cut(self, data):
        """How many bytes of `data` still go through."""
        if self.cut_at is None:
            return len(data)
        if self.cut_at != "last":
            return min(len(data), max(0, self.cut_at - self.seen))
        if b"\r\n\r\n" not in self.head:
            self.head += data
        headers, separator, _ = self.head.partition(b"\r\n\r\n")
        if not separator:
            return len(data)
        if b"transfer-encoding: chunked" in headers.lower():
            return len(data) - 5 if data.endswith(b"0\r\n\r\n") else len(data)
        length = int(headers.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        end = len(headers) + 4 + length
        return min(len(data), max(0, end - 1 - self.seen))
