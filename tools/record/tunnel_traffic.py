"""Bytes through a tunnel: `serve ADDRESS PORT`, and `move ADDRESS PORT UP DOWN` to send and to fetch."""

import socket
import socketserver
import sys

_CHUNK = 65_536


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        up, down = map(int, self.rfile.readline().split())
        while up > 0:
            up -= len(self.rfile.read(min(up, _CHUNK)))
        while down > 0:
            down -= self.request.send(bytes(min(down, _CHUNK)))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def move(address: str, port: int, up: int, down: int) -> None:
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall(b"%d %d\n" % (up, down))
        connection.sendall(bytes(up))
        while down > 0:
            received = len(connection.recv(_CHUNK))
            if not received:
                raise ConnectionError("the far end closed too early")
            down -= received


if __name__ == "__main__":
    verb, address, port, *sizes = sys.argv[1:]
    if verb == "serve":
        _Server((address, int(port)), _Handler).serve_forever()
    else:
        move(address, int(port), int(sizes[0]), int(sizes[1]))
