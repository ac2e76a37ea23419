"""BuildKit's cache in both forms: an image, and the older index whose entries are blobs.

Pushed as BuildKit does it, blobs first and then the manifest: no BuildKit is needed for that.
"""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell


def push(registry: Registry, name: str, layout: images.Layout, made: images.Descriptor) -> None:
    """Every blob by POST and one PUT, then the manifest under a tag."""
    body = layout.blob(made["digest"]).read_bytes()
    with registry.http() as http:
        for path in (layout.path / "blobs" / "sha256").iterdir():
            digest = f"sha256:{path.name}"
            if digest != made["digest"]:
                opened = http.post(f"/v2/{name}/blobs/uploads/")
                assert opened.status_code == 202
                put = http.build_request(
                    "PUT",
                    http.base_url.join(opened.headers["location"]).copy_merge_params(
                        {"digest": digest}
                    ),
                    content=path.read_bytes(),
                )
                assert http.send(put).status_code == 201
        headers = {"Content-Type": made["mediaType"]}
        pushed = http.put(f"/v2/{name}/manifests/cache", content=body, headers=headers)
        assert pushed.status_code == 201, pushed.text


@pytest.mark.parametrize("as_image", [True, False], ids=["image", "index"])
def test_a_cache_comes_back_as_it_was_pushed(
    registry: Registry, name: str, tmp_path: Path, as_image: bool
) -> None:
    made = images.cache_layout(tmp_path / "cache", as_image=as_image)
    layout = images.Layout(tmp_path / "cache")
    push(registry, name, layout, made)
    with registry.http() as http:
        accept = {"Accept": f"{images.OCI_MANIFEST}, {images.OCI_INDEX}"}
        got = http.get(f"/v2/{name}/manifests/cache", headers=accept)
        assert got.content == layout.blob(made["digest"]).read_bytes()
        assert got.headers["content-type"] == made["mediaType"]
        entries = json.loads(got.content)["layers" if as_image else "manifests"]
        for entry in entries:
            blob = http.get(f"/v2/{name}/blobs/{entry['digest']}")
            assert blob.content == layout.blob(entry["digest"]).read_bytes()


def test_a_cache_in_image_form_is_copied_by_other_clients(
    run: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    made = images.cache_layout(tmp_path / "cache", as_image=True)
    push(registry, name, images.Layout(tmp_path / "cache"), made)
    login = ("crane", "auth", "login", "-u", registry.user, "--password-stdin", registry.host)
    run(*login, stdin=registry.password)
    source = f"{registry.host}/{name}"
    run("crane", "copy", f"{source}:cache", f"{source}-copy:cache")
    assert run("crane", "digest", f"{source}-copy:cache").strip() == made["digest"]
