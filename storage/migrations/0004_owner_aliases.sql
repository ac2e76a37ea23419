-- Names an owner had before: nobody else gets them until they are released. words_after: how far the
-- words that search finds the packages by have followed the rename; null once they all have.
create table owner_aliases (
    name {text} primary key,
    account_id bigint not null references accounts (id),
    created_at bigint not null,
    words_after {text}
) {clustered};
create index owner_aliases_account on owner_aliases (account_id, name);
create index owner_aliases_pending on owner_aliases (name) where words_after is not null;
