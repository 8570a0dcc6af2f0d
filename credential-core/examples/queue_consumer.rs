//! Core without HTTP: a worker takes jobs from a queue. Each job carries the bearer token of the client that
//! sent it, and is done only if that token may do it now.
use std::error::Error;

use credential_core::actor::{Actor, Role, TenantAdmin};
use credential_core::authorize::AuthorizeError;
use credential_core::manage::{CreateCredential, Created};
use credential_core::{Credentials, ScopeCatalog, entropy::OsEntropy, secret::keyring::Keyring};
use credential_store_memory::MemoryStore;
use tokio::sync::mpsc::{Receiver, Sender, channel};

struct Job {
    bearer: String,
    patient: u32,
}

/// Takes jobs until nobody can send one any more.
async fn work(credentials: Credentials, mut jobs: Receiver<Job>, outcomes: Sender<String>) {
    let apiv2 = credentials.catalog().api_type("apiv2");
    let needs = apiv2.and_then(|api| api.requires("system/patients.write").ok());
    let needs = needs.expect("the catalogue lists it"); // a misspelt scope ends the program here
    while let Some(Job { bearer, patient }) = jobs.recv().await {
        let outcome = match credentials.verify(&bearer).await {
            Ok(access) if access.permits(&needs) => format!("changed for {}", access.tenant()),
            Ok(access) => format!("refused, the token has only {}", access.scope()),
            Err(AuthorizeError::Refused(why)) => format!("refused, {why}"),
            // No verdict. A real queue gets the job back.
            Err(AuthorizeError::Store(why)) => format!("not now, {why}"),
        };
        if outcomes
            .send(format!("patient {patient}: {outcome}"))
            .await
            .is_err()
        {
            return;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&mut std::io::stdout()).await
}

/// Three jobs: by a client that may write, by one that may not, and by the first after its credential was revoked.
async fn run(out: &mut impl std::io::Write) -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::generate(&OsEntropy)) // yours comes from configuration
        .build()?;
    let running = credentials.start().await?;
    let (jobs, queue) = channel(8);
    let (done, mut outcomes) = channel(8);
    let worker = tokio::spawn(work(credentials.clone(), queue, done));

    let admin = Actor {
        id: "dr-lee".parse()?,
        tenant: "alder".parse()?,
        role: Role::Admin,
    }
    .admin()?;
    let writer = create(&credentials, &admin, "system/patients.write").await?;
    let reader = create(&credentials, &admin, "system/patients.read").await?;
    for (patient, client) in [(1, &writer), (2, &reader)] {
        let bearer = token(&credentials, client).await?;
        jobs.send(Job { bearer, patient }).await?;
        writeln!(out, "{}", outcomes.recv().await.ok_or("no outcome")?)?;
    }
    let bearer = token(&credentials, &writer).await?;
    credentials
        .manage(&admin)
        .revoke(writer.credential.identity.id, None)
        .await?;
    jobs.send(Job { bearer, patient: 3 }).await?;
    writeln!(out, "{}", outcomes.recv().await.ok_or("no outcome")?)?;

    drop(jobs);
    worker.await?;
    running.shutdown().await; // writes the last uses
    Ok(())
}

/// What an admin does: a credential with one scope.
async fn create(
    credentials: &Credentials,
    admin: &TenantAdmin,
    scope: &str,
) -> Result<Created, Box<dyn Error>> {
    let request = CreateCredential {
        name: scope.into(),
        api_type: "apiv2".into(),
        scopes: vec![scope.to_owned()].into(),
        ..CreateCredential::default()
    };
    Ok(credentials.manage(admin).create(request).await?)
}

/// What a client does: its id and secret for a token.
async fn token(credentials: &Credentials, client: &Created) -> Result<String, Box<dyn Error>> {
    let secret = client.client_secret.as_ref().ok_or("no secret was made")?;
    let id = &client.credential.identity.client_id;
    let client = credentials.authenticate(id.as_str(), secret.expose_secret());
    let issued = credentials.issue(&client.await?, None)?;
    Ok(issued.access_token.expose_secret().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_is_done_only_if_its_token_may_do_it_now() -> Result<(), Box<dyn Error>> {
        let mut out = Vec::new();
        run(&mut out).await?;
        assert_eq!(
            String::from_utf8(out)?,
            "patient 1: changed for alder\n\
             patient 2: refused, the token has only system/patients.read\n\
             patient 3: refused, the credential is revoked\n"
        );
        Ok(())
    }
}
