//! Idempotency keys: what names a request, what it asks for, and how its answer is kept.
//!
//! An answer holds a secret, so it is kept sealed under a key of its own, derived from the keyring and from the
//! caller's idempotency key. Of that key the store gets an HMAC only: whoever has the store and the keyring
//! still lacks it.

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::json;
use zeroize::Zeroizing;

use super::{
    CreateCredential, Field, Manage, ManageError, NewProof, RotateSecret,
    sealed_answer::{Contents, Unsealed, seal, unseal},
};
use crate::{
    clock::Timestamp,
    credential::NewWorkload,
    id::{CredentialId, ParseIdError},
    log_limit::LogLimit,
    secret::keyring::Key,
    store::{NewReplay, REPLAYS_KEPT_FOR, Replay, ReplayId, ReplayQuery, StoreError},
};

static UNSEALED: LogLimit = LogLimit::new();

/// The caller's own name for one request, so that it can be sent again when its answer was lost.
///
/// It takes part in the key that seals the answer, so it is treated as a secret: wiped on drop, and `Debug`
/// is redacted.
#[derive(Clone)]
pub struct IdempotencyKey(Zeroizing<String>);

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LEN: usize = 255;

    /// Takes the caller's key.
    ///
    /// # Errors
    /// If it is empty, too long, or holds anything but visible ASCII characters.
    pub fn new(key: &str) -> Result<Self, ParseIdError> {
        if (1..=Self::MAX_LEN).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(Zeroizing::new(key.to_owned())))
        } else {
            Err(ParseIdError::new(
                "an idempotency key",
                "1 to 255 visible ASCII characters",
            ))
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey([redacted])")
    }
}

/// The answer to a request with an idempotency key: the same each time.
pub struct Answered {
    /// The credential that was made or got a secret.
    pub credential: CredentialId,
    /// Its version after that.
    pub version: u64,
    /// What the caller wrote when the request was carried out.
    pub body: Zeroizing<String>,
    /// As in [`Changed`](super::Changed); `None` for a new credential.
    pub effective_everywhere_at: Option<Timestamp>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("credential", &self.credential)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What a request asks for, in bytes that are equal if what was read of the requests is.
pub(super) struct Asked(Vec<u8>);

impl Asked {
    pub(super) fn new_credential(request: &CreateCredential) -> Self {
        let CreateCredential {
            name,
            api_type,
            description,
            scopes,
            expires_at,
            allowed_networks,
            proof,
            incomplete,
        } = request;
        let mut asked = Self(b"create".to_vec());
        asked.field(name, |it, text| it.text(text));
        asked.field(api_type, |it, text| it.text(text));
        asked.field(description, |it, text| it.text(text));
        asked.field(scopes, |it, texts| it.texts(texts));
        asked.field(expires_at, |it, at| it.time(*at));
        asked.field(allowed_networks, |it, texts| it.texts(texts));
        asked.field(proof, Self::proof);
        asked.0.push(u8::from(*incomplete));
        asked
    }

    pub(super) fn new_secret(id: CredentialId, request: &RotateSecret) -> Self {
        let RotateSecret {
            overlap_seconds,
            incomplete,
        } = request;
        let mut asked = Self(b"rotate".to_vec());
        asked.0.extend(id.as_bytes());
        asked.field(overlap_seconds, |it, seconds| {
            it.0.extend(seconds.to_be_bytes());
        });
        asked.0.push(u8::from(*incomplete));
        asked
    }

    fn field<T>(&mut self, field: &Field<T>, write: impl FnOnce(&mut Self, &T)) {
        match field {
            Field::Absent => self.0.push(0),
            Field::Unreadable => self.0.push(1),
            Field::Value(value) => {
                self.0.push(2);
                write(self, value);
            }
        }
    }

    fn length(&mut self, length: usize) {
        self.0.extend((length as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.length(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn proof(&mut self, proof: &NewProof) {
        match proof {
            NewProof::Secret => self.0.push(0),
            NewProof::Keys(set) => {
                self.0.push(1);
                self.text(&set.to_string());
            }
            NewProof::KeySetUrl(url) => {
                self.0.push(2);
                self.text(url);
            }
            NewProof::Workload(rule) => {
                let NewWorkload {
                    issuer,
                    audience,
                    subject,
                    claims,
                    jwks,
                } = &**rule;
                self.0.push(3);
                for text in [issuer, audience, subject] {
                    self.text(text);
                }
                // Its members are sorted.
                self.text(&json!([claims, jwks]).to_string());
            }
        }
    }

    fn time(&mut self, at: Option<Timestamp>) {
        let micros = at.map(Timestamp::as_micros);
        self.0.push(u8::from(micros.is_some()));
        self.0.extend(micros.unwrap_or_default().to_be_bytes());
    }
}

/// What names an answer's record, under one key of the ring.
struct Record {
    id: ReplayId,
    request: [u8; 32],
}

impl Record {
    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (id, request) = bytes.split_at_mut(32);
        id.copy_from_slice(&self.id.0);
        request.copy_from_slice(&self.request);
        bytes
    }
}

/// A request with an idempotency key.
pub(super) struct Retry<'a> {
    manage: Manage<'a>,
    key: &'a IdempotencyKey,
    asked: Asked,
}

/// What is known of a request with an idempotency key.
pub(super) enum Known {
    Nothing,
    /// It was carried out.
    Answered(Answered),
    /// Another one with the same key was.
    Other,
}

impl<'a> Retry<'a> {
    pub(super) fn new(manage: Manage<'a>, key: &'a IdempotencyKey, asked: Asked) -> Self {
        Self { manage, key, asked }
    }

    /// Marks it as running on this node; `None`: it is, or another one with its key is.
    pub(super) fn begin(&self) -> Option<Running<'a>> {
        let node = &self.manage.credentials.0;
        let id = self.id(node.keyring.signing())?;
        let all = &node.running_retries;
        let is_first = all.lock().insert(id);
        // Not made where another one runs: its end would end that one's mark.
        is_first.then(|| Running { all, id })
    }

    /// Looks for a kept answer. `moved` tells a request whose answer says from when it counts everywhere.
    pub(super) async fn look(&self, moved: bool) -> Result<Known, ManageError> {
        let Some(found) = self.read(None).await? else {
            return Ok(Known::Nothing);
        };
        let ring = &self.manage.credentials.0.keyring;
        let key = ring.get(&found.key);
        let record = key.and_then(|key| self.record(key));
        if record.is_some_and(|record| record.request != found.request) {
            return Ok(Known::Other);
        }
        let unsealed = key.and_then(|key| self.unseal(key, &found));
        let contents = unsealed.as_ref().and_then(Unsealed::contents);
        let Some(Contents {
            credential,
            version,
            body,
        }) = contents
        else {
            if let Some(unlogged) = UNSEALED.is_due() {
                tracing::error!(unlogged, "a kept answer could not be unsealed");
            }
            return Err(ManageError::Store(StoreError::Backend {
                source: "a kept answer could not be unsealed".into(),
            }));
        };
        // As for the first answer: this node has caught up with what it speaks of.
        let bound = self.manage.credentials.0.states.bound().await?;
        let effective_everywhere_at = match found.effective_at {
            None if moved => {
                let now = self.manage.credentials.clock().now();
                Some(self.effective_at(now.saturating_add(bound)).await?)
            }
            kept => kept,
        };
        Ok(Known::Answered(Answered {
            credential,
            version,
            body: Zeroizing::new(body.to_owned()),
            effective_everywhere_at,
        }))
    }

    /// From when the change counts everywhere, as it is answered each time: that time, unless another
    /// was answered before.
    pub(super) async fn effective_at(&self, at: Timestamp) -> Result<Timestamp, ManageError> {
        let kept = self.read(Some(at)).await?;
        Ok(kept.and_then(|kept| kept.effective_at).unwrap_or(at))
    }

    async fn read(&self, effective_at: Option<Timestamp>) -> Result<Option<Replay>, ManageError> {
        let query = ReplayQuery {
            tenant: self.manage.admin.tenant().clone(),
            ids: self.ids().collect(),
            effective_at,
        };
        let look = self.manage.credentials.store().replay(&query);
        Ok(self.manage.call(look).await?)
    }

    /// The answer, to be kept with the change that makes it.
    pub(super) fn keep(&self, contents: Contents<'_>) -> NewReplay {
        let node = &self.manage.credentials.0;
        let key = node.keyring.signing();
        let record = self.record(key);
        let (record, sealing) = record
            .zip(self.mac(key, b"seal"))
            .expect("the signing key is no `tag` key");
        NewReplay {
            replay: Replay {
                id: record.id,
                key: key.name().clone(),
                request: record.request,
                sealed: seal(&sealing, &record.bytes(), contents, &*node.entropy),
                effective_at: None,
            },
            aliases: self.ids().filter(|id| *id != record.id).collect(),
            keep_for: REPLAYS_KEPT_FOR,
        }
    }

    fn unseal(&self, key: &Key, found: &Replay) -> Option<Unsealed> {
        let record = self.record(key)?;
        unseal(&*self.mac(key, b"seal")?, &record.bytes(), &found.sealed)
    }

    fn ids(&self) -> impl Iterator<Item = ReplayId> {
        let keys = self.manage.credentials.0.keyring.keys();
        keys.filter_map(|key| self.id(key))
    }

    fn id(&self, key: &Key) -> Option<ReplayId> {
        Some(ReplayId(*self.mac(key, b"id")?))
    }

    fn record(&self, key: &Key) -> Option<Record> {
        Some(Record {
            id: self.id(key)?,
            request: *key.replay_mac(&[b"request", &self.asked.0])?,
        })
    }

    fn mac(&self, key: &Key, what: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let admin = self.manage.admin;
        key.replay_mac(&[
            what,
            admin.tenant().as_str().as_bytes(),
            admin.id().as_str().as_bytes(),
            self.key.0.as_bytes(),
        ])
    }
}

/// The requests with an idempotency key that run on this node.
#[derive(Debug, Default)]
pub(crate) struct RunningRetries(Mutex<HashSet<ReplayId>>);

impl RunningRetries {
    fn lock(&self) -> MutexGuard<'_, HashSet<ReplayId>> {
        // One call of a set at a time: nothing is left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request is running for as long as this lives.
pub(super) struct Running<'a> {
    all: &'a RunningRetries,
    id: ReplayId,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}
