-- Times are microseconds since 1970 UTC, sizes are bytes, booleans are smallint 0/1.
-- Tokens in braces are the engine's own words for the same thing: see storage/migrations. In a clustered
-- table the columns of the key come first: integrity_check of SQLite 3.40 lies about the others.

-- Users, organizations, teams and robots share one id space, so that one membership table and one
-- grants table serve all of them. Users and organizations also share one namespace of owners.
create table accounts (
    id {id},
    kind {text} not null check (kind in ('user', 'organization', 'team', 'robot')),
    name {text} not null unique,
    owner_id bigint references accounts (id),
    is_admin smallint not null default 0,
    default_visibility smallint not null default 0,
    password_hash {text},
    password_version bigint not null default 0,
    created_at bigint not null,
    disabled_at bigint
);
create index accounts_owned on accounts (owner_id, name) where owner_id is not null;

-- Every user is a member of itself, so that roles are one join of members and grants; a team and an
-- organization have members too. role: 1 member, 2 maintainer of a team, 3 the account itself.
create table members (
    user_id bigint not null references accounts (id),
    group_id bigint not null references accounts (id),
    role smallint not null default 1,
    primary key (user_id, group_id)
) {clustered};
create index members_group on members (group_id, user_id);

-- A project is the source repository that packages belong to: it carries visibility and roles.
create table projects (
    id {id},
    owner_id bigint not null references accounts (id),
    name {text} not null,
    folded_name {text} not null,
    visibility smallint not null default 0,
    created_at bigint not null,
    deleted_at bigint,
    unique (owner_id, folded_name)
);

-- Where the sources of a project live, as auth/sources.py writes it: names one project of an owner.
create table project_sources (
    owner_id bigint not null references accounts (id),
    url {text} not null,
    project_id bigint not null references projects (id),
    primary key (owner_id, url)
) {clustered};
create index project_sources_project on project_sources (project_id, url);

-- A package and its OCI repository are one row. own_visibility counts while no project is linked;
-- visibility is the effective one, rewritten in the transaction that changes project or link.
-- link_confirmed 0: only metadata named the project, so visibility is never wider than own_visibility.
-- published_at: the first manifest under a tag, after which metadata links no more.
create table packages (
    id {id},
    owner_id bigint not null references accounts (id),
    project_id bigint references projects (id),
    format {text} not null default 'container',
    name {text} not null,
    repository {text} not null unique,
    own_visibility smallint not null default 0,
    visibility smallint not null default 0,
    link_confirmed smallint not null default 1,
    revision bigint not null default 0,
    created_by bigint references accounts (id),
    created_at bigint not null,
    published_at bigint,
    deleted_at bigint,
    deletion_id bigint,
    unique (owner_id, format, name)
);
create index packages_visible on packages (visibility, repository);
create index packages_project on packages (project_id);

-- Names a package had before: pulls find it there, and nobody else gets the name until it is released.
create table aliases (
    repository {text} primary key,
    package_id bigint not null references packages (id),
    created_at bigint not null
) {clustered};
create index aliases_package on aliases (package_id, repository);

-- resource_kind: 1 owner (accounts), 2 project, 3 package. role: 1 read, 2 write, 3 admin.
create table grants (
    resource_id bigint not null,
    resource_kind smallint not null,
    grantee_id bigint not null references accounts (id),
    role smallint not null,
    created_at bigint not null,
    primary key (resource_id, resource_kind, grantee_id)
) {clustered};
create index grants_grantee on grants (grantee_id, resource_kind, resource_id);

-- scopes: bits 1 read, 2 write, 4 delete, 8 admin. Only the SHA-256 of a token is kept. One that a token
-- made has that as its parent, and ends with it. password_version: ends with that password.
-- limit_layers: how many layers of token_limits bound it; 0 for none.
create table tokens (
    id {id},
    kind {text} not null,
    account_id bigint not null references accounts (id),
    project_id bigint references projects (id),
    parent_id bigint references tokens (id),
    hash {text} not null unique,
    name {text} not null default '',
    scopes smallint not null,
    created_at bigint not null,
    expires_at bigint,
    revoked_at bigint,
    last_used_at bigint,
    password_version bigint,
    limit_layers smallint not null default 0,
    rotates smallint not null default 0
);
create index tokens_account on tokens (account_id, id);
create index tokens_parent on tokens (parent_id) where parent_id is not null;
create index tokens_refresh on tokens (expires_at) where kind = 'refresh';

-- Where a token counts: in each of its layers one row must cover what is asked for. A token that another
-- made has the other's layers and one of its own. resource_kind as in grants.
create table token_limits (
    token_id bigint not null references tokens (id),
    layer smallint not null,
    resource_kind smallint not null,
    resource_id bigint not null,
    primary key (token_id, layer, resource_kind, resource_id)
) {clustered};

-- What a refresh token's text was before: who brings it again has a copy.
create table used_refresh_tokens (
    hash {text} primary key,
    token_id bigint not null references tokens (id),
    used_at bigint not null
) {clustered};
create index used_refresh_tokens_token on used_refresh_tokens (token_id, used_at);

create table signing_keys (
    kid {text} primary key,
    purpose {text} not null,
    secret {text} not null,
    created_at bigint not null,
    retired_at bigint
);

-- The bytes of a blob lie under an opaque key that is never used again.
create table blobs (
    id {id},
    digest {text} not null unique,
    size bigint not null,
    store smallint not null default 0,
    key {text} not null unique,
    created_at bigint not null,
    orphaned_at bigint,
    damaged_at bigint
);
create index blobs_orphaned on blobs (orphaned_at) where orphaned_at is not null;

-- uploaded_at: pushed or mounted here and not yet named by a manifest since. A blob is readable
-- while it is set or a live manifest names it. orphaned_at only suggests work to gc.
create table repository_blobs (
    repository_id bigint not null references packages (id),
    blob_id bigint not null references blobs (id),
    uploaded_at bigint,
    orphaned_at bigint,
    primary key (repository_id, blob_id)
) {clustered};
create index repository_blobs_blob on repository_blobs (blob_id, repository_id);
create index repository_blobs_orphaned on repository_blobs (orphaned_at) where orphaned_at is not null;

-- Manifest bytes stand once per digest. encoding: 0 as they came, 1 zlib.
create table manifest_contents (
    id {id},
    digest {text} not null unique,
    size bigint not null,
    encoding smallint not null default 0,
    bytes {bytes} not null
);

create table manifests (
    id {id},
    repository_id bigint not null references packages (id),
    content_id bigint not null references manifest_contents (id),
    media_type {text} not null,
    artifact_type {text} not null default '',
    subject {text},
    pushed_by bigint references accounts (id),
    created_at bigint not null,
    orphaned_at bigint,
    deleted_at bigint,
    deletion_id bigint,
    unique (repository_id, content_id)
);
create index manifests_content on manifests (content_id);
create index manifests_live on manifests (repository_id, id) where deleted_at is null;
create index manifests_hidden on manifests (repository_id, id) where deleted_at is not null;
create index manifests_subject on manifests (repository_id, subject, id) where subject is not null;
create index manifests_deleted on manifests (deleted_at) where deleted_at is not null;
create index manifests_deletion on manifests (deletion_id) where deletion_id is not null;

create table manifest_blobs (
    manifest_id bigint not null references manifests (id),
    blob_id bigint not null,
    repository_id bigint not null,
    primary key (manifest_id, blob_id),
    foreign key (repository_id, blob_id) references repository_blobs (repository_id, blob_id)
) {clustered};
create index manifest_blobs_blob on manifest_blobs (repository_id, blob_id, manifest_id);

create table manifest_children (
    parent_id bigint not null references manifests (id),
    child_id bigint not null references manifests (id),
    primary key (parent_id, child_id)
) {clustered};
create index manifest_children_child on manifest_children (child_id, parent_id);

create table tags (
    repository_id bigint not null references packages (id),
    name {text} not null,
    manifest_id bigint not null references manifests (id),
    created_at bigint not null,
    updated_at bigint not null,
    updated_by bigint references accounts (id),
    primary key (repository_id, name)
) {clustered};
create index tags_manifest on tags (manifest_id, name);

-- Who moved a tag when; content_id null: the tag was deleted.
create table tag_history (
    id {id},
    repository_id bigint not null references packages (id),
    name {text} not null,
    content_id bigint references manifest_contents (id),
    changed_by bigint references accounts (id),
    changed_at bigint not null
);
create index tag_history_tag on tag_history (repository_id, name, id);
create index tag_history_content on tag_history (content_id, repository_id);

-- One deletion hides a manifest, the children nothing else holds, its referrers and their tags.
create table deletions (
    id {id},
    repository_id bigint not null references packages (id),
    reason {text} not null,
    deleted_by bigint references accounts (id),
    deleted_at bigint not null
);
create index deletions_repository on deletions (repository_id, id);
create index deletions_deleted on deletions (deleted_at);

create table deleted_tags (
    deletion_id bigint not null references deletions (id),
    name {text} not null,
    repository_id bigint not null references packages (id),
    manifest_id bigint not null references manifests (id),
    primary key (deletion_id, name)
) {clustered};
create index deleted_tags_manifest on deleted_tags (manifest_id);

-- An upload's id is signed and needs no row; the row comes with the first segment, or when it ends.
create table uploads (
    id {text} primary key,
    repository {text} not null,
    account_id bigint not null,
    offset_bytes bigint not null default 0,
    created_at bigint not null,
    updated_at bigint not null,
    closed_at bigint
) {clustered};
create index uploads_open on uploads (account_id) where closed_at is null;
create index uploads_updated on uploads (updated_at);

create table upload_segments (
    upload_id {text} not null references uploads (id),
    start_byte bigint not null,
    size bigint not null,
    store smallint not null default 0,
    key {text} not null,
    sha256 {text} not null,
    sha512 {text},
    primary key (upload_id, start_byte)
) {clustered};
create index upload_segments_key on upload_segments (key);

-- Objects no row names any more; removed once `due_at` has passed.
create table trash (
    store smallint not null,
    key {text} not null,
    due_at bigint not null,
    primary key (store, key)
) {clustered};
create index trash_due on trash (store, due_at);

-- The outbox: written in the transaction of the change, numbered for feeds when delivered.
create table events (
    id {id},
    kind {text} not null,
    account_id bigint,
    token_id bigint,
    owner_id bigint,
    package_id bigint,
    subject {text} not null default '',
    detail {text} not null default '',
    created_at bigint not null,
    published_seq bigint unique,
    delivered_at bigint
);
create index events_undelivered on events (id) where delivered_at is null;

-- Who did what, and who was refused: only added to, and deleted by age. owner_id: whom it concerns.
-- account_id null: nobody signed in, or with an empty address the command line.
create table audit (
    id {id},
    at bigint not null,
    kind {text} not null,
    result {text} not null,
    account_id bigint,
    token_id bigint,
    owner_id bigint,
    subject {text} not null,
    detail {text} not null,
    address {text} not null,
    request_id {text} not null,
    times bigint not null
);
create index audit_owner on audit (owner_id, id);
create index audit_at on audit (at, id);

create table leases (
    name {text} primary key,
    holder {text} not null,
    fence bigint not null,
    held_until bigint not null
);
