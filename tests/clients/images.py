"""Content for the client tests: images, indexes, artifacts, charts, features, from numbers alone.

Every builder is deterministic (the same numbers give the same digests), streams what is large, and
writes the shapes of the image specification (https://github.com/opencontainers/image-spec):
image-layout.md, manifest.md, image-index.md, config.md, layer.md; `docker_archive` writes what
`docker load` reads.
"""

import hashlib
import io
import json
import random
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
EPOCH = "2024-01-01T00:00:00Z"
EPOCH_SECONDS = 1704067200

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_PLAIN = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

Descriptor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Types:
    """The media types of one family of images."""

    index: str
    manifest: str
    config: str
    layer: str


OCI = Types(OCI_INDEX, OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
DOCKER = Types(DOCKER_LIST, DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER)


@dataclass(slots=True)
class Layout:
    """An OCI image layout: blobs by digest, and an index.json that names the entries."""

    path: Path
    entries: list[Descriptor] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, chunks: Iterable[bytes], media_type: str, **more: Any) -> Descriptor:
        """Write a blob and return its descriptor."""
        digest, size = hashlib.sha256(), 0
        partial = self.path / "blobs" / "partial"
        with partial.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += file.write(chunk)
        partial.rename(self.path / "blobs" / "sha256" / digest.hexdigest())
        return {
            "mediaType": media_type,
            "digest": f"sha256:{digest.hexdigest()}",
            "size": size,
            **more,
        }

    def add_json(self, document: Any, media_type: str, **more: Any) -> Descriptor:
        return self.add([compact(document)], media_type, **more)

    def blob(self, digest: str) -> Path:
        return self.path / "blobs" / digest.replace(":", "/")

    def name(self, descriptor: Descriptor, tag: str | None) -> Descriptor:
        """Make a manifest an entry of the layout, under a tag if one is given."""
        named = {"org.opencontainers.image.ref.name": tag} if tag else {}
        entry = {**descriptor, "annotations": {**descriptor.get("annotations", {}), **named}}
        self.entries.append(entry if entry["annotations"] else descriptor)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.entries}
        (self.path / "index.json").write_bytes(compact(index))
        return descriptor


def compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


# Bytes


def noise(seed: int, size: int) -> Iterator[bytes]:
    """`size` bytes that do not compress, at memory speed: one random block, numbered again and
    again (gzip looks back 32 KiB only)."""
    block = random.Random(seed).randbytes(CHUNK - 8)
    for number in range(size // CHUNK):
        yield number.to_bytes(8, "big") + block
    if rest := size % CHUNK:
        yield block[:rest]


def tar(files: Iterable[tuple[str, int, int, Iterable[bytes]]]) -> Iterator[bytes]:
    """A tar stream of (path, mode, size, chunks), with the directories that the paths need."""
    made: set[str] = set()
    for path, mode, size, chunks in files:
        for parent in reversed(Path(path).parents):
            if (directory := parent.as_posix()) not in {".", *made}:
                made.add(directory)
                yield header(directory, 0o755, 0, tarfile.DIRTYPE)
        yield header(path, mode, size, tarfile.REGTYPE)
        yield from chunks
        yield bytes(-size % 512)
    yield bytes(1024)


def header(path: str, mode: int, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(path)
    info.mode, info.size, info.type, info.mtime = mode, size, kind, EPOCH_SECONDS
    return info.tobuf(tarfile.PAX_FORMAT)


def gzipped(chunks: Iterable[bytes], level: int = 1) -> Iterator[bytes]:
    """A gzip stream without name and time, so that the same bytes have the same digest."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, 31)
    for chunk in chunks:
        if out := compressor.compress(chunk):
            yield out
    yield compressor.flush()


def layer(number: int, size: int) -> Iterator[bytes]:
    """The tar of layer `number`: a script, a text and `size` bytes of data."""
    script = f"#!/bin/sh\necho layer {number}\n".encode()
    notes = f"layer {number}\n".encode() * 40
    yield from tar(
        [
            (f"usr/bin/layer-{number}", 0o755, len(script), [script]),
            (f"usr/share/doc/layer-{number}/README", 0o644, len(notes), [notes]),
            (f"var/lib/layer-{number}/data", 0o644, size, noise(number, size)),
        ]
    )


def digest_and_size(chunks: Iterable[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


# Images


def platform_of(text: str) -> dict[str, str]:
    """`linux/arm64/v8` as the platform object of an index."""
    keys = ("os", "architecture", "variant")
    return dict(zip(keys, text.split("/"), strict=False))


def image_config(diff_ids: Sequence[str], platform: str) -> dict[str, Any]:
    history = [{"created": EPOCH, "created_by": f"COPY layer-{at}"} for at in range(len(diff_ids))]
    return {
        **platform_of(platform),
        "created": EPOCH,
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Cmd": ["/usr/bin/layer-1"],
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.title": "packhouse test"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]},
        "history": history,
    }


def image(
    layout: Layout,
    *,
    layers: Sequence[int] = (1, 2, 3),
    layer_size: int = 50_000,
    platform: str = "linux/amd64",
    types: Types = OCI,
) -> Descriptor:
    """Add one image. Each number in `layers` is a layer: images that share a number share it."""
    descriptors = [layout.add(gzipped(layer(at, layer_size)), types.layer) for at in layers]
    diff_ids = [digest_and_size(layer(at, layer_size))[0] for at in layers]
    config = layout.add_json(image_config(diff_ids, platform), types.config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": types.manifest,
        "config": config,
        "layers": descriptors,
    }
    return layout.add_json(manifest, types.manifest)


def index(layout: Layout, children: Sequence[Descriptor], types: Types = OCI) -> Descriptor:
    document = {"schemaVersion": 2, "mediaType": types.index, "manifests": list(children)}
    return layout.add_json(document, types.index)


def artifact(
    layout: Layout,
    *,
    artifact_type: str,
    files: dict[str, bytes],
    subject: Descriptor | None = None,
) -> Descriptor:
    """Add an artifact manifest: one layer for each file, titled with its name, an empty config."""
    titled = [
        layout.add([data], "text/plain", annotations={"org.opencontainers.image.title": name})
        for name, data in files.items()
    ]
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": layout.add([b"{}"], OCI_EMPTY, data="e30="),
        "layers": titled,
        "annotations": {"org.opencontainers.image.created": EPOCH},
    }
    if subject:
        manifest["subject"] = {key: subject[key] for key in ("mediaType", "digest", "size")}
    return layout.add_json(manifest, OCI_MANIFEST, artifactType=artifact_type)


def image_layout(
    path: Path,
    *,
    tag: str = "latest",
    layers: Sequence[int] = (1, 2, 3),
    layer_size: int = 50_000,
    platform: str = "linux/amd64",
    types: Types = OCI,
) -> Descriptor:
    """A layout with one image; returns its manifest's descriptor."""
    layout = Layout(path)
    made = image(layout, layers=layers, layer_size=layer_size, platform=platform, types=types)
    return layout.name(made, tag)


def index_layout(
    path: Path,
    *,
    tag: str = "latest",
    platforms: Sequence[str] = ("linux/amd64", "linux/arm64/v8", "linux/s390x"),
    layer_size: int = 20_000,
    nested: bool = False,
    types: Types = OCI,
) -> Descriptor:
    """A layout with a multi-architecture index, each image with a layer that all share.

    `nested` wraps every image but the first into an index of its own.
    """
    layout, children = Layout(path), []
    for number, platform in enumerate(platforms, start=10):
        made = image(
            layout, layers=(1, number), layer_size=layer_size, platform=platform, types=types
        )
        child = {**made, "platform": platform_of(platform)}
        children.append(index(layout, [child], types) if nested and number > 10 else child)
    return layout.name(index(layout, children, types), tag)


def cache_layout(path: Path, *, tag: str = "cache", as_image: bool) -> Descriptor:
    """A layout with a BuildKit cache: as an image, or as the older index whose entries are blobs.

    https://github.com/moby/buildkit cache/remotecache/export.go and v1/spec.go
    """
    layout = Layout(path)
    blobs = [layout.add(gzipped(layer(at, 5_000)), OCI_LAYER) for at in (21, 22)]
    records = [{"digest": f"sha256:{at:064x}", "layers": [{"layer": at}]} for at in (0, 1)]
    steps = [{"blob": blob["digest"], "parent": at - 1} for at, blob in enumerate(blobs)]
    config_type = "application/vnd.buildkit.cacheconfig.v0"
    config = layout.add_json({"layers": steps, "records": records}, config_type)
    if not as_image:
        return layout.name(index(layout, [*blobs, config]), tag)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": blobs,
    }
    return layout.name(layout.add_json(manifest, OCI_MANIFEST), tag)


def docker_archive(
    path: Path,
    *names: str,
    layers: Sequence[int] = (1, 2, 3),
    layer_size: int = 50_000,
    platform: str = "linux/amd64",
) -> str:
    """What `docker load` reads; returns the id of the image (`sha256:…` of its config)."""
    tars = [(at, *digest_and_size(layer(at, layer_size))) for at in layers]
    config = compact(image_config([digest for _, digest, _ in tars], platform))
    image_id = hashlib.sha256(config).hexdigest()
    manifest = [
        {
            "Config": f"{image_id}.json",
            "RepoTags": list(names),
            "Layers": [f"{digest}/layer.tar" for _, digest, _ in tars],
        }
    ]
    listing = compact(manifest)
    members: list[tuple[str, int, int, Iterable[bytes]]] = [
        (f"{digest}/layer.tar", 0o644, size, layer(at, layer_size)) for at, digest, size in tars
    ]
    members.append((f"{image_id}.json", 0o644, len(config), [config]))
    members.append(("manifest.json", 0o644, len(listing), [listing]))
    with path.open("wb") as file:
        file.writelines(tar(members))
    return f"sha256:{image_id}"


# Sources that other clients package themselves


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def helm_chart(root: Path, *, name: str = "pad", version: str = "0.1.0") -> Path:
    """The source directory of a chart."""
    config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\ntype: application\n",
        "values.yaml": "greeting: hello\n",
        "templates/map.yaml": config_map + "data:\n  greeting: {{ .Values.greeting }}\n",
    }
    return write_files(root / name, files)


def devcontainer_features(root: Path, *, version: str = "1.2.3") -> Path:
    """A directory of two features, as `devcontainer features publish` wants it."""
    for name in ("color", "hello"):
        about = {
            "id": name,
            "version": version,
            "name": name.title(),
            "options": {"greeting": {"type": "string", "default": "hey"}},
        }
        script = "#!/bin/sh\necho $GREETING\n"
        files = {"devcontainer-feature.json": json.dumps(about), "install.sh": script}
        write_files(root / "src" / name, files)
    return root / "src"


def devcontainer_templates(root: Path, *, version: str = "2.0.1") -> Path:
    """A directory of one template, as `devcontainer templates publish` wants it."""
    about = {"id": "plain", "version": version, "name": "Plain", "description": "A plain template"}
    container = {"name": "Plain", "image": "debian:bookworm"}
    files = {
        "devcontainer-template.json": json.dumps(about),
        ".devcontainer/devcontainer.json": json.dumps(container),
    }
    write_files(root / "src" / "plain", files)
    return root / "src"


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files of a tar, compressed or not, by path."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {
            member.name: file.read()
            for member in opened
            if member.isfile() and (file := opened.extractfile(member))
        }
