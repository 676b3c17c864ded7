"""Hosts the engine for the Go process that started it.

Arguments: the library's directory, the data directory, the number of lines. A line is a pair of pipes, from file descriptor 3 on: requests come
on the first, replies go on the second, one at a time. Both are a length (4 bytes, big endian), a JSON header of that length, and the bytes that the
header counts. The process ends when the requests end.

Every request has an engine connection of its own, which costs a millisecond: no setting, parameter, database or temporary table outlives it.
"""

import fcntl
import json
import os
import signal
import struct
import sys
import threading
import time


def read(pipe, size):
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve(engine, data_dir, requests, replies):
    try:
        while True:
            request = json.loads(read(requests, struct.unpack(">I", read(requests, 4))[0]))
            sql, data = read(requests, request["sql"]), read(requests, request["data"])
            try:
                reply, body = run(engine, data_dir, request, sql, data)
            except Exception as error:
                reply, body = {"error": str(error)}, b""
            reply["body"] = len(body)
            header = json.dumps(reply).encode()
            replies.write(struct.pack(">I", len(header)) + header)
            replies.write(body)
            replies.flush()
    except (EOFError, BrokenPipeError):
        return


def run(engine, data_dir, request, sql, data):
    connection = engine.connect(data_dir)
    try:
        for statement in request["setup"] or []:
            connection.query(statement)
        if request["insert"]:
            insert = connection.send_insert(sql, request["format"])
            connection.insert_append(insert, data)
            result = connection.insert_done(insert)
        else:
            result = connection.query(sql, request["format"], params=request["params"] or {})
        statistics = {
            "read_rows": result.rows_read(),
            "read_bytes": result.bytes_read(),
            "written_rows": result.rows_written(),
            "written_bytes": result.bytes_written(),
        }
        return statistics, result.bytes()
    finally:
        connection.close()


def lock(data_dir):
    """Waits for the death of a host that was just killed; the lock is held as long as this process lives."""
    file = os.open(os.path.join(data_dir, "host.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    deadline = time.monotonic() + 10
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit("another engine uses the data directory " + data_dir)
            time.sleep(0.02)


def main(library, data_dir, lines):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    lock(data_dir)
    sys.path.insert(0, library)
    import _chdb as engine

    engine.set_signal_handlers_enabled(0)
    keeper = engine.connect(data_dir)  # the engine runs as long as one connection is open
    threads = []
    for i in range(int(lines)):
        pipes = os.fdopen(3 + 2 * i, "rb"), os.fdopen(4 + 2 * i, "wb")
        threads.append(threading.Thread(target=serve, args=(engine, data_dir, *pipes)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.close()


main(*sys.argv[1:])
