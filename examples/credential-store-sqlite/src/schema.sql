-- Each value of core's lies in a document, as core writes it. Columns are what SQL looks at. Times are
-- microseconds since 1970, and text is compared by its bytes.
-- Another process may write: wait for it, for less long than core waits for an answer (ms).
pragma busy_timeout = 2000;
pragma journal_mode = wal;
-- A commit is on the disk before it is answered: a revocation outlives a loss of power.
pragma synchronous = full;
pragma foreign_keys = on;
-- Without a name key: revoked.
create table if not exists credential (
    id text primary key, tenant text not null, client_id text not null unique, created_at integer not null,
    name_key text, document text not null, unique (tenant, name_key)
) strict, without rowid;
create index if not exists list on credential (tenant, created_at, id);
create table if not exists proof (
    id text primary key, credential text not null references credential on delete cascade
) strict, without rowid;
create index if not exists proof_of_credential on proof (credential);
-- The head of each tenant's audit chain is a copy of its newest row.
create table if not exists head (tenant text primary key, document text not null) strict, without rowid;
create table if not exists audit_event (
    tenant text not null, seq integer not null, credential text, document text not null, primary key (tenant, seq)
) strict, without rowid;
-- Its newest row is the counter, so it is never removed. Number 0 is before the first change.
create table if not exists change (number integer primary key, document text not null, at integer not null) strict;
insert into change select 0, json_object('id', json_object('number', 0, 'mark', lower(hex(randomblob(16)))),
    'previous', lower(hex(randomblob(16))), 'change', 'Everything'), 0 where not exists (select 1 from change);
create table if not exists node (
    id blob primary key, max_staleness real not null, issuer text not null, seen_at integer not null
) strict, without rowid;
create table if not exists key_check (name text not null unique, document text not null) strict;
-- Assertions that were used.
create table if not exists spent (
    credential text not null, digest blob not null, until integer not null, unique (credential, digest)
) strict;
create index if not exists spent_age on spent (until);
-- How credentials are used: each node's latest batch, calls by day and scopes, and the newest refusals.
create table if not exists usage_batch (node blob primary key, number integer not null, at integer not null) strict;
create table if not exists calls (
    credential text not null, tenant text not null, day integer not null, scopes text not null,
    allowed integer not null, denied integer not null, last_used_at integer, primary key (credential, day, scopes)
) strict;
create index if not exists calls_age on calls (day);
create table if not exists refusal (
    credential text not null, tenant text not null, at integer not null, document text not null
) strict;
create index if not exists refusal_of_credential on refusal (credential, at);
create index if not exists refusal_age on refusal (at);
-- Answers that can be had again until they expire. 
create table if not exists replay (
    tenant text not null, id text not null, document text not null, expires_at integer not null,
    primary key (tenant, id)
) strict, without rowid;
-- What follows from a row: a credential takes the place of what it was, the head moves with the trail, and a heartbeat removes what is over: answers, and after an
-- hour, CHANGES_KEPT_FOR, nodes and changes.
create trigger if not exists place_taken before insert on credential begin
    delete from credential where id = new.id;
end;
create trigger if not exists head_moves after insert on audit_event begin
    insert or replace into head values (new.tenant, new.document);
end;
create trigger if not exists time_passes after insert on node begin
    delete from replay where expires_at <= new.seen_at;
    delete from node where seen_at < new.seen_at - 3600 * 1000000;
    delete from change where at < new.seen_at - 3600 * 1000000 and number < (select max(number) from change);
end;
