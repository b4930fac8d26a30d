"""Tables in a bucket, of moto's server: `make test-cloud`."""

import zipfile

import numpy as np
import pytest

from nb201_env import UnreachableError, open_table
from nb201_env.tables import remote
from nb201_env.tables.opening import DATA, EMBEDDED

moto_server = pytest.importorskip("moto.server", reason="make test-cloud installs moto")
obstore = pytest.importorskip("obstore")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("NB201_CACHE", str(tmp_path / "cache"))
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket="tables")
    store = obstore.store.from_url("s3://tables")
    content = (DATA / EMBEDDED["mini"]).read_bytes()
    obstore.put(store, "some/mini.zarr.zip", content)
    with zipfile.ZipFile(DATA / EMBEDDED["mini"]) as archive:
        for name in archive.namelist():
            obstore.put(store, f"some/mini.zarr/{name}", archive.read(name))
    yield server
    server.stop()
    remote.remote_files.cache_clear()


@pytest.mark.parametrize("name", ["mini.zarr", "mini.zarr.zip"])
def test_a_table_in_a_bucket_equals_the_local_one(bucket, name):
    table, local = open_table(f"s3://tables/some/{name}"), open_table("mini")
    for dataset in local.datasets:
        np.testing.assert_array_equal(table.accuracy(dataset, epoch=3), local.accuracy(dataset, epoch=3))
    assert table.verify() == []


def test_what_is_not_in_the_bucket_or_not_allowed_is_one_clear_error(bucket, monkeypatch):
    with pytest.raises(UnreachableError, match=r"no table at s3://tables/none.zarr: there is no manifest"):
        open_table("s3://tables/none.zarr")
    with pytest.raises(UnreachableError, match=r"s3://no-bucket/mini.zarr"):
        open_table("s3://no-bucket/mini.zarr")


def test_a_server_that_is_gone_in_the_middle_is_one_clear_error(bucket, monkeypatch):
    table = open_table("s3://tables/some/mini.zarr")
    bucket.stop()
    with pytest.raises(UnreachableError, match=r"s3://tables/some/mini.zarr cannot be read"):
        table.accuracy("digits")
