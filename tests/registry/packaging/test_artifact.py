"""A version as a manifest: rendered, and known without being read again."""

import pytest

from registry.manifests import OCI_MANIFEST, parse_manifest
from registry.package_texts import text_of, tidy
from registry.packaging.artifact import manifest_of, render_manifest
from registry.packaging.files import held
from tests.registry.packaging.generic import BIN, Generic, facts

TEXTS = {"description": "pads\n\t\x07text  ☃" + "x" * 2000, "source": "https://x.test/a"}


@pytest.mark.parametrize("said", [{}, TEXTS, {"description": "\n", "source": "no address"}])
@pytest.mark.parametrize("names", [[], ["b.bin", "a.bin"]])
def test_what_is_known_of_a_manifest_is_what_its_bytes_say(
    names: list[str], said: dict[str, str]
) -> None:
    adapter, read = Generic(), facts({"package": "acme:pad", "version": "1.0.0", **said})
    config = held("config", adapter.metadata_type, read.metadata)
    files = [held(name, BIN, name.encode()) for name in names]
    data = render_manifest(adapter, "pad", read, config, files, 0)
    assert manifest_of(adapter, config, files) == parse_manifest(data, OCI_MANIFEST)
    assert text_of(data) == tidy(read.text)
    assert tidy(read.text).description.isprintable()
