"""Reading a table from a bucket: `make bench-remote`, which installs moto, whose server on this machine is the bucket.

A table as large as the whole benchmark's 200-epoch part is written, put into the bucket as a folder and as an archive,
and one epoch's column of all cells is read from each, by processes that have no copies yet, that have them, and from
the folder on disk.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import boto3
import obstore
from full_size import write_full_size
from moto.server import ThreadedMotoServer

ROUNDS = 5

CODE = """
import sys, time
from nb201_env import open_table
from nb201_env.tables import places
counts = []
for name in ("whole", "part"):
    read = getattr(places.Place, name)
    setattr(places.Place, name, lambda *given, read=read: counts.append(len(found := read(*given))) or found)
import numpy, zarr
began = time.perf_counter()
table = open_table(sys.argv[1])
opened = time.perf_counter()
table.accuracy("cifar10", epoch=100)
print(opened - began, time.perf_counter() - opened, sum(counts), len(counts))
"""


def read(where: str, cache: str) -> list[float]:
    """Of a fresh process: seconds to open, seconds to read, bytes read from the bucket, requests."""
    given = [sys.executable, "-c", CODE, where]
    done = subprocess.run(given, capture_output=True, text=True, check=True, env=os.environ | {"NB201_CACHE": cache})
    return [float(one) for one in done.stdout.split()]


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        table, archive = Path(folder, "full.zarr"), Path(folder, "full.zarr.zip")
        write_full_size(table)
        files = [path for path in table.rglob("*") if path.is_file()]
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.write(path, path.relative_to(table).as_posix())
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                       "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}  # fmt: skip
        boto3.client("s3").create_bucket(Bucket="tables")
        bucket = obstore.store.from_url("s3://tables")
        for path in files:
            obstore.put(bucket, f"full.zarr/{path.relative_to(table).as_posix()}", path)
        obstore.put(bucket, "full.zarr.zip", archive)
        size = sum(path.stat().st_size for path in files)
        print(f"the table: {size:,} bytes in {len(files)} files; medians of {ROUNDS} processes each")
        for where in (str(table), "s3://tables/full.zarr", "s3://tables/full.zarr.zip"):
            for kind in ("no copies", "copies"):
                runs = []
                for _ in range(ROUNDS):
                    with tempfile.TemporaryDirectory() as cache:
                        if kind == "copies":
                            read(where, cache)
                        runs.append(read(where, cache))
                opening, reading, count, requests = (statistics.median(one) for one in zip(*runs, strict=True))
                name = where if "://" in where else "the folder on disk"
                print(
                    f"{name}, {kind}: opened in {1e3 * opening:.0f} ms, a column in {1e3 * reading:.0f} ms, "
                    f"{count:,.0f} bytes ({count / size:.2%}) by {requests:.0f} requests",
                    flush=True,
                )
                if "://" not in where:
                    break
        server.stop()


if __name__ == "__main__":
    main()
