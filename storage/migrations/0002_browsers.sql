-- People in browsers: who is signed in there, through which provider, and which logins of package
-- clients they confirm. Of every secret only the SHA-256 is kept.

-- A browser that is signed in. It ends at expires_at unless it is used before, at ends_at in any case,
-- and with the password. way: password, or the name of the provider.
create table sessions (
    id {id},
    hash {text} not null unique,
    account_id bigint not null references accounts (id),
    password_version bigint not null,
    way {text} not null,
    address {text} not null,
    agent {text} not null,
    created_at bigint not null,
    last_used_at bigint not null,
    expires_at bigint not null,
    ends_at bigint not null
);
create index sessions_account on sessions (account_id, id);
create index sessions_expired on sessions (expires_at);

-- A client that waits for somebody to say in a browser that it may have a token. hash is of what the
-- person's link holds, secret_hash of what the client asks with. account_id and password_version: who
-- confirmed it.
create table web_logins (
    id {id},
    hash {text} not null unique,
    secret_hash {text} not null unique,
    code {text} not null,
    client {text} not null,
    address {text} not null,
    scopes smallint not null,
    state {text} not null check (state in ('pending', 'confirmed', 'denied', 'taken')),
    account_id bigint references accounts (id),
    password_version bigint,
    created_at bigint not null,
    expires_at bigint not null
);
create index web_logins_expired on web_logins (expires_at);
create index web_logins_account on web_logins (account_id) where account_id is not null;

-- Whom a provider of sign-ins calls what: an account may have several of these names.
create table identities (
    id {id},
    issuer {text} not null,
    subject {text} not null,
    account_id bigint not null references accounts (id),
    created_at bigint not null,
    last_used_at bigint,
    unique (issuer, subject)
);
create index identities_account on identities (account_id, id);

-- A membership that an identity's groups gave, and may take away again; null: somebody gave it.
alter table members add column identity_id bigint references identities (id);
create index members_identity on members (identity_id) where identity_id is not null;

-- A sign-in that a browser was sent to a provider for: what comes back must fit it, and is taken once.
create table provider_sign_ins (
    state_hash {text} primary key,
    browser_hash {text} not null,
    provider {text} not null,
    redirect_uri {text} not null,
    nonce {text} not null,
    verifier {text} not null,
    next {text} not null,
    expires_at bigint not null
) {clustered};
create index provider_sign_ins_expired on provider_sign_ins (expires_at);
