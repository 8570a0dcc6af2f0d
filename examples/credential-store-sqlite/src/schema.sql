-- Times are microseconds since 1970, ids and marks are blobs of 16 bytes, and text is compared by its bytes,
-- which is SQLite's default. Lists are JSON arrays, which keep their order.
create table if not exists credential (
    id blob primary key, tenant text not null, name text not null, name_key text not null,
    api_type text not null, client_id text not null unique, environment text not null,
    scopes text not null, created_at integer not null, created_by text not null, expires_at integer,
    revoked_at integer, revoked_by text, version integer not null, tokens_valid_from integer,
    last_used_at integer, secrets text not null, revoked_tokens text not null,
    description text not null, disabled_at integer, allowed_networks text not null
) strict, without rowid;
create unique index if not exists live_name on credential (tenant, name_key) where revoked_at is null;
create index if not exists list on credential (tenant, created_at, id);
create table if not exists proof (id text primary key, credential blob not null) strict, without rowid;
create index if not exists proof_of_credential on proof (credential);
-- The head of each tenant's audit chain, then its rows. `details` is text because the hash covers it.
create table if not exists head (
    tenant text primary key, seq integer not null, hash blob not null, key_name text not null
) strict, without rowid;
create table if not exists audit_event (
    tenant text not null, seq integer not null, format integer not null, at integer not null,
    actor text not null, action text not null, credential blob, details text not null,
    key_name text not null, hash blob not null, primary key (tenant, seq)
) strict, without rowid;
-- The change log. Its newest row is the counter, so it is never removed. Number 0 is before the first change.
create table if not exists change (
    number integer primary key, mark blob not null, previous blob not null, credential blob,
    tenant text, at integer not null
) strict;
insert into change (number, mark, previous, at)
    select 0, randomblob(16), randomblob(16), 0 where not exists (select 1 from change);
create table if not exists node (
    id blob primary key, max_staleness integer not null, issuer text not null, seen_at integer not null
) strict, without rowid;
create table if not exists key_check (
    ordinal integer primary key, name text not null unique, value text not null
) strict;
-- How credentials are used: each node's latest batch, calls by day and scopes, and the newest refusals.
create table if not exists usage_batch (
    node blob primary key, number integer not null, at integer not null
) strict, without rowid;
create table if not exists calls (
    credential blob not null, day integer not null, scopes text not null, allowed integer not null,
    denied integer not null, last_used_at integer, primary key (credential, day, scopes)
) strict, without rowid;
create index if not exists calls_age on calls (day);
create table if not exists refusal (
    id integer primary key, credential blob not null, reason text not null, needed_scope text, method text,
    address text, at integer not null, last_at integer not null, count integer not null
) strict;
create index if not exists refusal_of_credential on refusal (credential, at);
create index if not exists refusal_age on refusal (at);
