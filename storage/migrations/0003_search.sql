-- Search. What a package is about, in the words of its newest tagged manifest's annotations; terms is the
-- JSON list of the words in them. A package without a row here waits to be read.
create table package_texts (
    package_id bigint primary key references packages (id),
    title {text} not null,
    description {text} not null,
    source {text} not null,
    licenses {text} not null,
    terms {text} not null,
    updated_at bigint not null
);

-- A live package under every word of its name and its text. owner_id and visibility are the package's,
-- written in the transaction that changes them, so that a page is read in the order of one index.
create table search_terms (
    package_id bigint not null references packages (id),
    term {text} not null,
    owner_id bigint not null,
    visibility smallint not null,
    primary key (package_id, term)
) {clustered};
create index search_terms_visible on search_terms (visibility, term, package_id);
create index search_terms_owner on search_terms (owner_id, visibility, term, package_id);

-- What was deleted and may come back.
create index packages_deleted on packages (repository) where deleted_at is not null;
