-- Every rule that a row can break is a constraint with a name; src/error.rs maps those that a caller
-- can act on. Text that is compared is collated "C": by its bytes, as core does, whatever the
-- database's locale.

-- One row per tenant: locked first by every change of the tenant's credentials, so it orders them,
-- and holds the head of the tenant's audit chain.
create table credential_management.tenant (
    id text collate "C" not null,
    audit_seq bigint not null default 0,
    audit_hash bytea,
    -- The key that signed that row, for whoever signs the next; not verified.
    audit_key text collate "C",
    constraint tenant_pkey primary key (id),
    constraint tenant_id_length check (octet_length(id) between 1 and 128),
    constraint tenant_audit_head check (
        case when audit_hash is null then audit_seq = 0
             else audit_seq > 0 and octet_length(audit_hash) = 32 end
    )
);

create table credential_management.credential (
    id uuid not null,
    tenant_id text collate "C" not null,
    name text collate "C" not null,
    -- SHA-256 of core's comparison key: of one size, however long that key is.
    name_key bytea not null,
    api_type text collate "C" not null,
    client_id text collate "C" not null,
    environment text collate "C" not null,
    scopes text[] not null,
    created_at timestamptz not null,
    created_by text collate "C" not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text collate "C",
    version bigint not null,
    tokens_valid_from timestamptz,
    last_used_at timestamptz,
    constraint credential_pkey primary key (id),
    constraint credential_tenant_fkey foreign key (tenant_id)
        references credential_management.tenant (id),
    constraint credential_client_id_key unique (client_id),
    constraint credential_name_length check (char_length(name) between 1 and 100),
    constraint credential_name_key_length check (octet_length(name_key) = 32),
    constraint credential_environment check (environment in ('sandbox', 'production')),
    constraint credential_version check (version >= 1),
    constraint credential_revoked check ((revoked_at is null) = (revoked_by is null))
)
-- Room for last_used_at to move without touching an index.
with (fillfactor = 85);

-- Unique names, and what the limit counts.
create unique index credential_live_name on credential_management.credential (tenant_id, name_key)
    where revoked_at is null;
-- The list, page by page: without and with the revoked ones.
create index credential_live_list
    on credential_management.credential (tenant_id, created_at desc, id desc)
    where revoked_at is null;
create index credential_list
    on credential_management.credential (tenant_id, created_at desc, id desc);

create table credential_management.secret (
    selector text collate "C" not null,
    credential_id uuid not null,
    ordinal integer not null,
    phc text collate "C" not null,
    key_name text collate "C" not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    last_used_at timestamptz,
    constraint secret_pkey primary key (selector),
    constraint secret_credential_fkey foreign key (credential_id)
        references credential_management.credential (id),
    constraint secret_selector_length check (octet_length(selector) = 16),
    constraint secret_phc_form check (phc like '$argon2id$%' and octet_length(phc) <= 256)
)
with (fillfactor = 85);

create index secret_of_credential on credential_management.secret (credential_id, ordinal);

create table credential_management.revoked_token (
    credential_id uuid not null,
    token_id uuid not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    constraint revoked_token_pkey primary key (credential_id, token_id),
    constraint revoked_token_credential_fkey foreign key (credential_id)
        references credential_management.credential (id)
);

-- History: grows without end and no check depends on it, so it is free to move to another server. The
-- tenant is first in its key, and no foreign key leads in or out.
create table credential_management.audit_event (
    tenant_id text collate "C" not null,
    seq bigint not null,
    -- How the row is framed for its hash.
    format smallint not null default 1,
    at timestamptz not null,
    actor text collate "C" not null,
    action text collate "C" not null,
    -- Null: it is about the tenant as a whole.
    credential_id uuid,
    -- Text, not json: the hash covers it to the byte.
    details text collate "C" not null,
    key_name text collate "C" not null,
    hash bytea not null,
    constraint audit_event_pkey primary key (tenant_id, seq),
    constraint audit_event_seq check (seq >= 1),
    constraint audit_event_hash_length check (octet_length(hash) = 32)
);

create index audit_event_of_credential
    on credential_management.audit_event (tenant_id, credential_id, seq desc);

-- The latest change, in the only row. Updated last in a transaction: its lock, held until the commit,
-- is what makes numbers gap-free and in the order of commits. The mark is drawn anew for each change:
-- after a restore or a failover the same numbers come again, the same marks do not.
create table credential_management.change_counter (
    only_row boolean not null default true,
    value bigint not null,
    mark uuid not null,
    -- The mark of the change before it.
    previous uuid not null,
    constraint change_counter_pkey primary key (only_row),
    constraint change_counter_only_row check (only_row),
    constraint change_counter_value check (value >= 0)
)
with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

insert into credential_management.change_counter (value, mark, previous)
    values (0, gen_random_uuid(), gen_random_uuid());

-- What changed: a credential, a tenant, or (neither) everything.
create table credential_management.change (
    number bigint not null,
    mark uuid not null,
    -- The mark of the change before it.
    previous uuid not null,
    credential_id uuid,
    tenant_id text collate "C",
    -- By the server's clock, one for all rows, when the transaction began: only decides when a row may
    -- go.
    at timestamptz not null default now(),
    constraint change_pkey primary key (number),
    constraint change_subject check (credential_id is null or tenant_id is null)
);

create index change_age on credential_management.change (at);

create table credential_management.node (
    id uuid not null,
    -- Up to where the node has applied changes; null: it starts anew.
    applied bigint,
    -- In microseconds.
    max_staleness bigint not null,
    -- Tokens are bound to it: the nodes of a deployment agree.
    issuer text collate "C" not null,
    -- By the server's clock, one for all nodes.
    seen_at timestamptz not null,
    constraint node_pkey primary key (id),
    constraint node_max_staleness check (max_staleness >= 0)
)
-- A few updates per second and row, none of which touches an index.
with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Tells other bytes under a key's name; holds no key.
create table credential_management.key_check (
    name text collate "C" not null,
    value text collate "C" not null,
    -- The order in which keys were first used.
    ordinal bigint not null generated by default as identity,
    constraint key_check_pkey primary key (name)
);

-- Which builds may run on this schema: those that know this migration, and whatever came later. A
-- migration that only adds leaves it as it is, so that a deployment can be brought up to date node by
-- node; one that an older build cannot live with moves it.
create table credential_management.compatibility (
    only_row boolean not null default true,
    oldest bigint not null,
    constraint compatibility_pkey primary key (only_row),
    constraint compatibility_only_row check (only_row)
);

insert into credential_management.compatibility (oldest) values (1);
