-- What proves a client in place of a secret, and the assertions that were used. Builds before this migration leave
-- registrations as they are, and refuse the tokens that name one: both may run side by side.

alter table credential_management.credential
    -- In their order, each in the same place of all three. Of what was registered nothing changes, so edits write it
    -- as a whole.
    add column registration_proof text[] not null default '{}',
    -- As core writes it.
    add column registration_means text[] not null default '{}',
    add column registration_created_at timestamptz[] not null default '{}',
    add constraint credential_registrations check (
        cardinality(registration_proof) <= 20
        and cardinality(registration_means) = cardinality(registration_proof)
        and cardinality(registration_created_at) = cardinality(registration_proof)
    );

-- The latest use of each registration. Apart from it, so that a use does not write the credential's keys again.
create table credential_management.registration_use (
    credential_id uuid not null,
    proof text collate "C" not null,
    last_used_at timestamptz not null,
    constraint registration_use_pkey primary key (credential_id, proof)
)
with (fillfactor = 85);

-- Assertions that were used, by the digests of their names, until none of them counts any more.
create table credential_management.spent_assertion (
    credential_id uuid not null,
    digest bytea not null,
    until timestamptz not null,
    constraint spent_assertion_pkey primary key (credential_id, digest),
    constraint spent_assertion_digest_length check (octet_length(digest) = 32)
);

create index spent_assertion_age on credential_management.spent_assertion (until);
