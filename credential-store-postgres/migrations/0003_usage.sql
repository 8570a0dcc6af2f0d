-- How credentials are used. No check depends on any of it, and no foreign key leads in or out, so that it is
-- free to move to another server.

-- Calls, added up by day (UTC) and by the scopes that they needed, separated by spaces.
create table credential_management.usage_day (
    tenant_id text collate "C" not null,
    credential_id uuid not null,
    day date not null,
    scopes text collate "C" not null,
    allowed bigint not null,
    denied bigint not null,
    last_used_at timestamptz,
    constraint usage_day_pkey primary key (tenant_id, credential_id, day, scopes),
    constraint usage_day_counts check (allowed >= 0 and denied >= 0)
)
-- Room for the counts of today to move without touching an index.
with (fillfactor = 70);

-- For what removes old days.
create index usage_day_age on credential_management.usage_day (day);

-- The newest refusals of each credential.
create table credential_management.refusal (
    tenant_id text collate "C" not null,
    credential_id uuid not null,
    id bigint not null generated always as identity,
    reason text collate "C" not null,
    needed_scope text collate "C",
    method text collate "C",
    address text collate "C",
    at timestamptz not null,
    last_at timestamptz not null,
    count bigint not null,
    constraint refusal_pkey primary key (tenant_id, credential_id, id),
    constraint refusal_count check (count >= 1)
)
with (fillfactor = 85);

create index refusal_age on credential_management.refusal (at);

-- The latest batch of each node, so that a batch whose answer was lost is counted once.
create table credential_management.usage_batch (
    node_id uuid not null,
    number bigint not null,
    -- By the server's clock: only decides when the row may go.
    at timestamptz not null,
    constraint usage_batch_pkey primary key (node_id)
)
with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
