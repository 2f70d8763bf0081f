"""500 requests a second, one every two milliseconds, over ten connections in turn: processor time and latency of peers.

The scenario `rate` of the comparison sends the same number in bunches: its generator starts all connections at once, and each
asks again twenty milliseconds after it began. How near together ten connections begin depends on how long the peer's
handshakes take, and with it how many of the requests arrive together after a rest of fifteen milliseconds. Here they come
evenly, whoever answers.

    BENCH=../shared/bench PEER_PATH=$PWD/benches/peer python3 benches/even.py nginx torwart torwart-full

Three interleaved rounds of 1 500 requests; prints the medians with least and most. Needs what the comparison needs.
"""

import contextlib
import os
import socket
import statistics
import sys
import time

PEERS = sys.argv[1:]
sys.path.insert(0, os.environ["BENCH"])
# The comparison is a program, not a library: it is given something to do that is nothing.
sys.argv[1:] = ["report", os.devnull]
with contextlib.redirect_stdout(None):
    import bench  # noqa: E402

ROUNDS = 3
CONNECTIONS = 10
REQUESTS = 1500
GAP = 0.002
ANSWER = 1024


def connect(peer):
    stream = socket.create_connection(("127.0.0.1", peer.port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bench.cctx().wrap_socket(stream, server_hostname="localhost")


def ask(stream, request):
    stream.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < ANSWER:
        more = stream.recv(65536)
        if not more:
            raise RuntimeError("closed early")
        answer += more
    if b" 200 " not in answer[:15]:
        raise RuntimeError(answer[:80])


def measure(peer):
    """Microseconds: processor time of the peer for each request, the median and the 99th percentile of latency."""
    token = bench.tokens("RS256")[0]
    head = ["GET /api/data HTTP/1.1", f"Host: localhost:{peer.port}", f"Authorization: Bearer {token}", "", ""]
    request = "\r\n".join(head).encode()
    streams = [connect(peer) for _ in range(CONNECTIONS)]
    for stream in streams:
        ask(stream, request)
    time.sleep(0.5)
    latencies, before, due = [], bench.cpu(peer.p.pid)[0], time.perf_counter()
    for number in range(REQUESTS):
        due += GAP
        time.sleep(max(0, due - time.perf_counter()))
        begun = time.perf_counter()
        ask(streams[number % CONNECTIONS], request)
        latencies.append((time.perf_counter() - begun) * 1e6)
    used = (bench.cpu(peer.p.pid)[0] - before) * 1e6 / REQUESTS
    for stream in streams:
        stream.close()
    latencies.sort()
    return used, latencies[REQUESTS // 2], latencies[REQUESTS * 99 // 100]


def main(names):
    os.sched_setaffinity(0, {int(bench.LOAD_CPU)})
    upstream = bench.upstream()
    figures = {name: [] for name in names}
    try:
        for _ in range(ROUNDS):
            for name in names:
                peer = bench.Peer(name)
                peer.start()
                try:
                    figures[name].append(measure(peer))
                finally:
                    peer.stop()
    finally:
        bench.stop(upstream)
    print(f"{'':14} {'processor µs':>18} {'median µs':>18} {'99th µs':>18}")
    for name, rounds in figures.items():
        columns = [f"{statistics.median(c):.0f} ({min(c):.0f}-{max(c):.0f})" for c in zip(*rounds, strict=True)]
        print(f"{name:14}", *(f"{column:>18}" for column in columns))


if __name__ == "__main__":
    main(PEERS)
