-- Answers to requests with an idempotency key, for as long as they can be had again. Each is written in the
-- transaction of its change. Builds before this migration neither write nor read any.
create table credential_management.replay (
    tenant_id text collate "C" not null,
    -- HMAC over tenant, actor and idempotency key.
    id bytea not null,
    -- The key of the ring from which the id, the request and the seal were made.
    key_name text collate "C" not null,
    -- HMAC over what was asked for.
    request bytea not null,
    -- Holds a secret, sealed under a key that takes the keyring and the caller's idempotency key.
    sealed bytea not null,
    -- From when the change counts everywhere, as it was answered.
    effective_at timestamptz,
    -- By the server's clock, one for all nodes. From then on it is gone, also while the row is there.
    expires_at timestamptz not null,
    constraint replay_pkey primary key (tenant_id, id),
    constraint replay_id_length check (octet_length(id) = 32),
    constraint replay_request_length check (octet_length(request) = 32)
);

-- For what removes them.
create index replay_age on credential_management.replay (expires_at);
