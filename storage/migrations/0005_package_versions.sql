-- What packages of a format hold. A version names one manifest, once and for ever: the row stays when
-- gc has removed the manifest (manifest_id null), so that its name never takes other bytes.
-- order_key compares as text, prerelease ones come after all others. facts: JSON of what the adapter
-- read; state: JSON of what changes without changing bytes (deprecated, yanked, ...).
create table package_versions (
    id {id},
    package_id bigint not null references packages (id),
    name {text} not null,
    tag {text} not null,
    order_key {text} not null,
    prerelease smallint not null default 0,
    digest {text} not null,
    manifest_id bigint references manifests (id),
    facts {text} not null default '{}',
    state {text} not null default '{}',
    published_at bigint not null,
    published_by bigint references accounts (id),
    unique (package_id, name),
    unique (package_id, tag)
);
create index package_versions_manifest on package_versions (manifest_id) where manifest_id is not null;
create index package_versions_order on package_versions (package_id, prerelease, order_key);

-- The files of a version, titled as in its manifest, under the digest that its layer has.
create table version_files (
    version_id bigint not null references package_versions (id),
    name {text} not null,
    media_type {text} not null,
    digest {text} not null,
    size bigint not null,
    md5 {text} not null,
    sha1 {text} not null,
    sha512 {text} not null,
    primary key (version_id, name)
) {clustered};

-- A version's part of a document about its package, rendered when the version or its state changes.
create table version_fragments (
    id {id},
    version_id bigint not null references package_versions (id),
    kind {text} not null,
    bytes {bytes} not null,
    unique (version_id, kind)
);

-- Whether an owner's packages of a format are open to the anonymous: one that is public says so.
create index packages_open on packages (owner_id, format) where visibility = 2 and deleted_at is null;
