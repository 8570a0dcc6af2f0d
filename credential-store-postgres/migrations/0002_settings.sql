-- What admins decide beyond name, scopes and expiry. Builds before this migration would ignore it and accept
-- what an admin has disabled, ended or restricted: they may not run beside it.

alter table credential_management.credential
    add column description text collate "C" not null default '',
    -- Refused while it is set.
    add column disabled_at timestamptz,
    -- CIDR, as core writes it; empty: from everywhere.
    add column allowed_networks text[] not null default '{}',
    add constraint credential_description_length check (char_length(description) <= 500),
    add constraint credential_allowed_networks check (cardinality(allowed_networks) <= 50);

alter table credential_management.secret
    -- Refused once it is set, whatever expires_at says.
    add column ended_at timestamptz;

update credential_management.compatibility set oldest = 2;
