//! A second host: a payments platform whose paths follow no single convention.

use std::time::Duration;

use credential_core::catalog::{
    ApiTypeBuilder, CategoryBuilder, ErrorBody, OnBehalfOfFormat, PathRules, Requirement,
    ResourceBuilder, ScopeCatalog, SearchForm,
};

const FILE: &str = include_str!("data/payments.toml");

fn payments() -> ScopeCatalog {
    ScopeCatalog::from_toml(FILE).unwrap_or_else(|error| panic!("{error}"))
}

fn described(catalog: &ScopeCatalog, id: &str, method: &str, target: &str) -> String {
    let api = catalog.api_type(id).expect("listed");
    let needed = api
        .requirement(method, target, SearchForm::None)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    match needed {
        Requirement::Public => "public".to_owned(),
        Requirement::Scopes(_) => api.describe(&needed),
        Requirement::Unlisted(_) => "nobody".to_owned(),
    }
}

/// API type, method, target → what it needs. Reviewed as a table.
const TABLE: &[(&str, &str, &str, &str)] = &[
    // Rows beat the rules.
    ("payments", "POST", "/v1/charges/7/refunds", "refunds.write"),
    (
        "payments",
        "POST",
        "/v1/charges/7/refunds/",
        "refunds.write",
    ),
    ("payments", "GET", "/v1/charges/7/refunds", "refunds.read"),
    ("payments", "HEAD", "/v1/charges/7/refunds", "refunds.read"),
    // Where no row has the method, the rules decide.
    (
        "payments",
        "DELETE",
        "/v1/charges/7/refunds",
        "charges.write",
    ),
    (
        "payments",
        "POST",
        "/v1/charges/7/refunds/1",
        "charges.write",
    ),
    ("payments", "POST", "/v1/charges", "charges.write"),
    ("payments", "GET", "/v1/charges/7", "charges.read"),
    ("payments", "POST", "/v1/charges/search", "charges.read"),
    ("payments", "POST", "/v1/charges/other", "charges.write"),
    // The method itself beats GET for HEAD, which beats `*`.
    ("payments", "GET", "/v1/charges/7/dispute", "charges.read"),
    ("payments", "HEAD", "/v1/charges/7/dispute", "public"),
    ("payments", "PUT", "/v1/charges/7/dispute", "payments.all"),
    ("payments", "TRACE", "/v1/charges/7/dispute", "nobody"),
    // Public, and a method only a row can name.
    ("payments", "GET", "/v1/status", "public"),
    ("payments", "HEAD", "/v1/status?verbose", "public"),
    ("payments", "POST", "/v1/status", "payments.all"),
    ("payments", "GET", "/v1/status/more", "payments.all"),
    ("payments", "OPTIONS", "/v1/charges", "public"),
    ("payments", "OPTIONS", "/v1/charges/7/dispute", "public"),
    // A tail is one segment or more; a parameter beats it.
    ("payments", "OPTIONS", "/v1", "nobody"),
    ("payments", "GET", "/v1/download/a", "files:read"),
    ("payments", "GET", "/v1/download/a/b/c", "files:read"),
    ("payments", "GET", "/v1/download/a/public", "public"),
    ("payments", "GET", "/v1/download/a/public/b", "files:read"),
    ("payments", "GET", "/v1/download/a/%70ublic", "refused"),
    ("payments", "GET", "/v1/download/", "payments.all"),
    // The segment is not the id; a wildcard has none.
    ("payments", "POST", "/v1/bank-transfers", "payouts.write"),
    ("payments", "POST", "/v1/payouts", "payments.all"),
    ("payments", "GET", "/v1/bank-transfers", "payments.all"),
    ("payments", "GET", "/v1/everything", "payments.all"),
    ("payments", "GET", "/v2/charges", "nobody"),
    // Rows only, and no full access.
    ("webhooks", "GET", "/v1/webhooks", "hooks.read"),
    ("webhooks", "GET", "/v1/webhooks/", "hooks.read"),
    ("webhooks", "POST", "/v1/webhooks", "nobody"),
    ("webhooks", "HEAD", "/v1/webhooks/7", "hooks.read"),
    ("webhooks", "PATCH", "/v1/webhooks/7", "hooks.write"),
    ("webhooks", "OPTIONS", "/v1/webhooks/7", "nobody"),
    ("webhooks", "GET", "/v1/webhooks/endpoints/7", "nobody"),
];

#[test]
fn every_call_needs_what_the_table_says() {
    let catalog = payments();
    for (id, method, target, needed) in TABLE {
        if *needed == "refused" {
            let api = catalog.api_type(id).expect("listed");
            assert!(api.requirement(method, target, SearchForm::None).is_err());
        } else {
            assert_eq!(
                described(&catalog, id, method, target),
                *needed,
                "{method} {target}"
            );
        }
    }
}

#[test]
fn the_longest_base_path_wins() {
    let catalog = payments();
    let id = |path| {
        catalog
            .api_type_of_path(path)
            .map(|api| api.id().to_string())
    };
    assert_eq!(id("/v1/webhooks/7").as_deref(), Some("webhooks"));
    assert_eq!(id("/v1/webhooks").as_deref(), Some("webhooks"));
    assert_eq!(id("/v1/webhooksx").as_deref(), Some("payments"));
    assert_eq!(id("/v1/charges").as_deref(), Some("payments"));
    assert_eq!(id("/v2"), None);
}

#[test]
fn a_wildcard_covers_reads_and_full_access_all_but_acting_and_introspection() {
    let catalog = payments();
    let api = catalog.api_type("payments").expect("listed");
    let rights = |names: &[&str]| {
        let rights = api.rights(&api.resolve(names.iter().copied()));
        api.names(&rights).join(" ")
    };
    assert_eq!(
        rights(&["all:read"]),
        "all:read charges.read files:read refunds.read"
    );
    assert_eq!(rights(&["charges.write"]), "charges.write");
    assert_eq!(
        rights(&["payments.all"]),
        "all:read charges.read charges.write files:read payments.all payouts.write \
         refunds.read refunds.write"
    );
    // Neither excludes the other here, as the file does not say so.
    let both = api.resolve(["payments.all", "charges.read"]);
    assert_eq!(api.check(&both), Ok(()));
    assert_eq!(api.check(&api.resolve(["payments.act_as"])), Ok(()));
    // No preset holds what asks about others' tokens.
    let asking = api.introspection().expect("listed");
    assert_eq!(asking.name, "tokens.introspect");
    assert!(!api.read_only().contains(asking.index));
    assert_eq!(rights(&["tokens.introspect"]), "tokens.introspect");
    // SMART spellings are understood only where the rules are FHIR's.
    assert!(catalog.parse_scopes(api, ["charges.rs"]).is_err());
    assert!(catalog.parse_scopes(api, ["charges.*"]).is_err());
}

#[test]
fn code_and_file_make_the_same_catalogue() {
    let payments = ApiTypeBuilder::new("payments", "Payments API", "/v1")
        .description("Charges, refunds and payouts.")
        .token_ttl(Duration::from_secs(900))
        .error_body(ErrorBody::Problem)
        .rules(PathRules::FirstSegment)
        .full_access("payments.all", "Everything", false)
        .on_behalf_of(
            "payments.act_as",
            "Act as a named member of the team",
            "X-Acting-Member",
            OnBehalfOfFormat::Text,
            false,
        )
        .introspection("tokens.introspect", "Ask what access tokens may do")
        .category(
            CategoryBuilder::new("money", "Money")
                .resource(
                    ResourceBuilder::new("charges", "Charges")
                        .read("charges.read", "View charges")
                        .write("charges.write", "Create and capture charges"),
                )
                .resource(
                    ResourceBuilder::new("refunds", "Refunds")
                        .read("refunds.read", "View refunds")
                        .write("refunds.write", "Refund charges"),
                )
                .resource(
                    ResourceBuilder::new("payouts", "Payouts")
                        .segment("bank-transfers")
                        .write("payouts.write", "Pay out"),
                ),
        )
        .category(
            CategoryBuilder::new("platform", "Platform")
                .resource(
                    ResourceBuilder::new("files", "Files").read("files:read", "Download files"),
                )
                .resource(
                    ResourceBuilder::new("everything", "Everything there is")
                        .wildcard()
                        .read("all:read", "View everything"),
                ),
        )
        .route("POST", "/charges/{id}/refunds", "refunds.write")
        .route("GET", "/charges/{id}/refunds", "refunds.read")
        .route("POST", "/charges/search", "charges.read")
        .route("*", "/charges/{id}/dispute", "payments.all")
        .route("GET", "/charges/{id}/dispute", "charges.read")
        .public_route("HEAD", "/charges/{id}/dispute")
        .public_route("GET", "/status")
        .public_route("OPTIONS", "/{*any}")
        .route("GET", "/download/{*path}", "files:read")
        .public_route("GET", "/download/{bucket}/public");
    let webhooks = ApiTypeBuilder::new("webhooks", "Webhooks", "/v1/webhooks")
        .token_ttl(Duration::from_secs(60))
        .rules(PathRules::RoutesOnly)
        .category(
            CategoryBuilder::new("hooks", "Hooks").resource(
                ResourceBuilder::new("endpoints", "Endpoints")
                    .read("hooks.read", "View endpoints")
                    .write("hooks.write", "Change endpoints"),
            ),
        )
        .route("GET", "/", "hooks.read")
        .route("*", "/{id}", "hooks.write")
        .route("GET", "/{id}", "hooks.read");
    let built = ScopeCatalog::builder()
        .api_type(payments)
        .api_type(webhooks);
    assert_eq!(built.build(), Ok(self::payments()));
}
