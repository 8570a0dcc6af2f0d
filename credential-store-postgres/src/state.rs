//! What a check depends on, read in one statement.

use credential_core::{
    credential::CredentialState,
    id::{ClientId, CredentialId, ProofId},
    store::{AsOf, StoreError},
};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
    row::{Id, Micros, StateRow, change_id},
};

/// Reads what a check depends on: a [`StateRow`], by one statement and therefore from one snapshot. The row of the
/// counter always exists, the credential (`$find`) may not.
macro_rules! read {
    ($store:expr, $find:tt, $argument:expr) => {
        in_time(async {
            let mut call = Call::take(&$store.pool).await?;
            let row = sqlx::query_as!(
            StateRow,
            r#"
            select n.value as "upto!", n.mark as "mark!: Id", c.id as "id?: Id", c.tenant_id as "tenant_id?",
                c.name as "name?", c.api_type as "api_type?", c.client_id as "client_id?",
                c.environment as "environment?", c.scopes as "scopes?",
                c.created_at as "created_at?: Micros", c.created_by as "created_by?",
                c.expires_at as "expires_at?: Micros", c.revoked_at as "revoked_at?: Micros",
                c.revoked_by as "revoked_by?", c.version as "version?",
                c.tokens_valid_from as "tokens_valid_from?: Micros",
                c.last_used_at as "last_used_at?: Micros", c.description as "description?",
                c.disabled_at as "disabled_at?: Micros", c.allowed_networks as "allowed_networks?",
                c.registration_proof as "registration_proof?",
                c.registration_means as "registration_means?",
                c.registration_created_at as "registration_created_at?: Vec<Micros>",
                u.proof as "used_proof?", u.at as "used_at?: Vec<Micros>",
                s.selector as "secret_selector?", s.phc as "secret_phc?",
                s.key_name as "secret_key_name?", s.created_at as "secret_created_at?: Vec<Micros>",
                s.expires_at as "secret_expires_at?: Vec<Option<Micros>>",
                s.ended_at as "secret_ended_at?: Vec<Option<Micros>>",
                s.last_used_at as "secret_last_used_at?: Vec<Option<Micros>>",
                t.token_id as "token_id?: Vec<Id>", t.issued_at as "token_issued_at?: Vec<Micros>",
                t.expires_at as "token_expires_at?: Vec<Micros>"
            from credential_management.change_counter as n
            left join credential_management.credential as c on c.id = "# + $find + r#"
            left join lateral (
                select array_agg(selector order by ordinal) as selector,
                    array_agg(phc order by ordinal) as phc,
                    array_agg(key_name order by ordinal) as key_name,
                    array_agg(created_at order by ordinal) as created_at,
                    array_agg(expires_at order by ordinal) as expires_at,
                    array_agg(ended_at order by ordinal) as ended_at,
                    array_agg(last_used_at order by ordinal) as last_used_at
                from credential_management.secret where credential_id = c.id
            ) as s on true
            left join lateral (
                select array_agg(proof) as proof, array_agg(last_used_at) as at
                from credential_management.registration_use where credential_id = c.id
            ) as u on true
            left join lateral (
                select array_agg(token_id order by token_id) as token_id,
                    array_agg(issued_at order by token_id) as issued_at,
                    array_agg(expires_at order by token_id) as expires_at
                from credential_management.revoked_token where credential_id = c.id
            ) as t on true
            "#,
            $argument,
        )
            .fetch_one(call.on())
            .await
            .map_err(store_error)?;
            call.end().await?;
            as_of(row)
        })
        .await
    };
}

pub(crate) async fn state(
    store: &PostgresStore,
    id: CredentialId,
) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    read!(store, "$1", Id::from(id) as _)
}

pub(crate) async fn state_by_proof(
    store: &PostgresStore,
    proof: &ProofId,
) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    read!(
        store,
        "(select credential_id from credential_management.secret where selector = $1)",
        proof.as_str()
    )
}

pub(crate) async fn state_by_client(
    store: &PostgresStore,
    client: &ClientId,
) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    read!(
        store,
        "(select id from credential_management.credential where client_id = $1)",
        client.as_str()
    )
}

fn as_of(row: StateRow) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    Ok(AsOf {
        upto: change_id(row.upto, row.mark)?,
        value: row.state()?,
    })
}
