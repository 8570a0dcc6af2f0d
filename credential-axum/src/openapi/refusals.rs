//! How an operation can be refused: each `code` with an example, which the code itself makes.

use std::{collections::BTreeMap, time::Duration};

use credential_core::manage::{Fault, ManageError};
use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use crate::{
    body::BODY_LIMIT,
    cross_site::CrossSite,
    problem::{Problem, ProblemJson},
};

/// Every refusal of the admin API. Of several that apply, an answer is the first; the conflicts and what
/// is unavailable are found last.
pub(crate) fn all() -> Vec<Problem> {
    vec![
        Problem::unauthenticated(),
        CrossSite.into(),
        Problem::forbidden(),
        Problem::tenant_changed(),
        ManageError::RateLimited {
            retry_after: Duration::from_secs(2),
        }
        .into(),
        Problem::payload_too_large(BODY_LIMIT),
        Problem::unsupported_media_type(),
        Problem::malformed(),
        ManageError::NotFound.into(),
        ManageError::SelfServiceUnavailable.into(),
        ManageError::Revoked.into(),
        ManageError::VersionRequired.into(),
        ManageError::StaleVersion.into(),
        ManageError::Invalid(vec![Fault::new("name", "required", "a name is needed")]).into(),
        ManageError::ApiTypeImmutable(vec![Fault::new(
            "api_type",
            "api_type_immutable",
            "the API type was chosen when the credential was created",
        )])
        .into(),
        ManageError::IdempotencyKeyReused.into(),
        ManageError::NameTaken.into(),
        ManageError::LimitReached { limit: 100 }.into(),
        ManageError::LastProof.into(),
        ManageError::TooManySecrets.into(),
        ManageError::IdempotencyInProgress.into(),
        Problem::unavailable(),
    ]
}

/// The refusals that a document names, as parts of it.
pub(super) struct Refusals {
    all: Vec<Problem>,
    /// One response per set of codes.
    responses: Map<String, Value>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            all: all(),
            responses: Map::new(),
        }
    }

    /// One response for each status of the `codes`, by status.
    pub(super) fn responses(
        &mut self,
        codes: &[&'static str],
        schemas: &mut Schemas,
    ) -> Map<String, Value> {
        let mut by_status = BTreeMap::<u16, Vec<&Problem>>::new();
        for problem in self.all.iter().filter(|it| codes.contains(&it.code())) {
            let status = problem.status().as_u16();
            by_status.entry(status).or_default().push(problem);
        }
        let mut responses = Map::new();
        for (status, problems) in by_status {
            let codes: Vec<_> = problems.iter().map(|it| it.code()).collect();
            let name = codes.join("_or_");
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            responses.insert(status.to_string(), reference);
            let response = response(&problems, &codes, schemas);
            self.responses.entry(name).or_insert(response);
        }
        responses
    }

    /// What the references lead to: responses and examples.
    pub(super) fn components(self) -> (Map<String, Value>, Map<String, Value>) {
        let examples = self.all.iter().map(|problem| {
            let example = json!({"summary": problem.title(), "value": problem.json()});
            (problem.code().to_owned(), example)
        });
        let examples = examples.collect();
        (self.responses, examples)
    }
}

fn response(problems: &[&Problem], codes: &[&str], schemas: &mut Schemas) -> Value {
    let titles: Vec<_> = problems.iter().map(|it| it.title()).collect();
    let example = |code: &&str| {
        let reference = json!({"$ref": format!("#/components/examples/{code}")});
        ((*code).to_owned(), reference)
    };
    let examples: Map<String, Value> = codes.iter().map(example).collect();
    let mut response = json!({
        "description": titles.join(", or: "),
        "content": {"application/problem+json": {
            "schema": {
                "allOf": [schemas.of::<ProblemJson<'_>>()],
                "properties": {"code": {"type": "string", "enum": codes}},
            },
            "examples": examples,
        }},
    });
    if problems.iter().any(|it| it.retry_after().is_some()) {
        response["headers"] = json!({"Retry-After": {"$ref": "#/components/headers/Retry-After"}});
    }
    response
}
