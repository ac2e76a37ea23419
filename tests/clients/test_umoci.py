"""Images made by umoci, pushed and pulled by skopeo."""

from pathlib import Path

from tests.clients.server import Registry
from tests.clients.shell import Shell


def make(run: Shell, directory: Path) -> Path:
    """An image of two layers, made by umoci alone; returns its layout."""
    layout = directory / "layout"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:v1")
    for number in (1, 2):
        target = directory / f"bundle-{number}"
        run("umoci", "unpack", "--rootless", "--image", f"{layout}:v1", target)
        (target / "rootfs" / f"file-{number}").write_text(f"layer {number}" * 1000)
        run("umoci", "repack", "--image", f"{layout}:v1", target)
    run("umoci", "config", "--image", f"{layout}:v1", "--config.cmd", "/file-1")
    run("umoci", "gc", "--layout", layout)
    return layout


def test_an_image_of_umoci_comes_back_as_it_was_pushed(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    options = ("--tls-verify=false", "-u", registry.user, "-p", registry.password)
    run("skopeo", "login", *options, registry.host)
    layout = make(run, tmp_path)
    image = f"docker://{repository}:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:v1", image)
    run("skopeo", "copy", "--src-tls-verify=false", image, f"oci:{tmp_path}/out:v1")
    blobs = [tmp_path / at / "blobs" / "sha256" for at in ("layout", "out")]
    assert {file.name for file in blobs[0].iterdir()} == {file.name for file in blobs[1].iterdir()}
    run("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/out:v1", tmp_path / "back")
    assert (tmp_path / "back" / "rootfs" / "file-2").read_text() == "layer 2" * 1000
