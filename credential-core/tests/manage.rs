//! What admins can and cannot do.

mod common;

use std::time::Duration;

use common::{Deployment, actor, admin, request};
use credential_core::{
    actor::Role,
    audit::{Action, Heads, verify_trails},
    catalog::{ApiTypeBuilder, CategoryBuilder, ResourceBuilder, ScopeCatalog},
    credential::Status,
    id::{CredentialId, Environment},
    manage::{
        CreateCredential, Expected, Fault, Field, ManageError, NewProof, ScopeChoice, SetScopes,
        UpdateCredential,
    },
    store::{AuditQuery, ListQuery, StoredRow},
};

const READ: &[&str] = &["system/patients.read"];

fn codes(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults
        .iter()
        .map(|fault| (fault.field.as_str(), fault.code))
        .collect()
}

fn named(scopes: &[&str]) -> SetScopes {
    SetScopes {
        choice: Field::Value(ScopeChoice::Named(
            scopes.iter().map(|&scope| scope.to_owned()).collect(),
        )),
        ..SetScopes::default()
    }
}

#[test]
fn only_an_admin_gets_the_proof() {
    assert!(actor("alder", Role::Admin).admin().is_ok());
    assert!(actor("alder", Role::Member).admin().is_err());
}

#[tokio::test]
async fn every_fault_is_named_at_once() {
    let deployment = Deployment::new();
    let bad = CreateCredential {
        name: "\u{202e}evil".into(),
        api_type: "apiv2".into(),
        scopes: vec!["system/Patient.read".to_owned(), "nonsense".to_owned()].into(),
        description: "x".repeat(501).into(),
        expires_at: Some(deployment.node.clock().now()).into(),
        allowed_networks: ["10.0.0.1/8", "10.0.0.0/8", "fe80::1%eth0"]
            .map(str::to_owned)
            .to_vec()
            .into(),
        proof: NewProof::Keys(serde_json::json!({})).into(),
        incomplete: true,
    };
    let Err(ManageError::Invalid(faults)) =
        deployment.node.manage(&admin("alder")).create(bad).await
    else {
        panic!("it is invalid");
    };
    assert_eq!(
        codes(&faults),
        [
            ("name", "forbidden_character"),
            ("scopes", "scope_of_other_api_type"),
            ("scopes", "unknown_scope"),
            ("expires_at", "in_the_past"),
            ("description", "too_long"),
            ("allowed_networks", "host_bits_set"),
            ("allowed_networks", "invalid_network"),
            ("authentication.jwks", "malformed_key_set"),
        ]
    );
    let empty = CreateCredential::default();
    let Err(ManageError::Invalid(faults)) =
        deployment.node.manage(&admin("alder")).create(empty).await
    else {
        panic!("it is invalid");
    };
    assert_eq!(
        codes(&faults),
        [("name", "required"), ("api_type", "required")]
    );
    assert_eq!(
        deployment.hasher.hashed(),
        0,
        "nothing is hashed for a bad request"
    );
}

/// What cannot be read is not called missing, and whatever else may be right, nothing is done.
#[tokio::test]
async fn a_request_that_could_not_be_read_in_full_changes_nothing() {
    let deployment = Deployment::new();
    let (node, lee) = (&deployment.node, &admin("alder"));
    let good = || request("Other", "fhir", &[]);
    let creates = [
        CreateCredential {
            name: Field::Unreadable,
            ..good()
        },
        CreateCredential {
            api_type: Field::Unreadable,
            ..good()
        },
        CreateCredential {
            scopes: Field::Unreadable,
            ..good()
        },
        CreateCredential {
            expires_at: Field::Unreadable,
            ..good()
        },
        CreateCredential {
            description: Field::Unreadable,
            ..good()
        },
        CreateCredential {
            allowed_networks: Field::Unreadable,
            ..good()
        },
        CreateCredential {
            incomplete: true,
            ..good()
        },
    ];
    for create in creates {
        let refused = node.manage(lee).create(create.clone()).await.map(drop);
        assert!(
            matches!(&refused, Err(ManageError::Invalid(faults)) if faults.is_empty()),
            "{create:?}: {refused:?}"
        );
    }
    let all = ListQuery {
        limit: 100,
        after: None,
        include_revoked: true,
    };
    assert!(node.manage(lee).list(all).await.unwrap().items.is_empty());
}

/// As of a create.
#[tokio::test]
async fn an_edit_that_could_not_be_read_in_full_changes_nothing() {
    let deployment = Deployment::new();
    let (node, lee) = (&deployment.node, &admin("alder"));
    let key = deployment.key("Lab", "apiv2", READ).await;
    let before = node.manage(lee).get(key.id).await.unwrap();
    let rename = || UpdateCredential {
        name: "Renamed".into(),
        ..UpdateCredential::default()
    };
    let updates = [
        UpdateCredential {
            name: Field::Unreadable,
            ..rename()
        },
        UpdateCredential {
            expires_at: Field::Unreadable,
            ..rename()
        },
        UpdateCredential {
            description: Field::Unreadable,
            ..rename()
        },
        UpdateCredential {
            allowed_networks: Field::Unreadable,
            ..rename()
        },
        UpdateCredential {
            incomplete: true,
            ..rename()
        },
    ];
    let any = Some(&Expected::Any);
    for update in updates {
        let refused = node.manage(lee).update(key.id, any, update.clone()).await;
        assert!(
            matches!(&refused, Err(ManageError::Invalid(faults)) if faults.is_empty()),
            "{update:?}: {refused:?}"
        );
    }
    let choices = [
        SetScopes {
            choice: Field::Unreadable,
            ..named(&[])
        },
        SetScopes {
            incomplete: true,
            ..named(&[])
        },
    ];
    for choice in choices {
        let refused = node
            .manage(lee)
            .set_scopes(key.id, any, choice.clone())
            .await;
        assert!(
            matches!(&refused, Err(ManageError::Invalid(faults)) if faults.is_empty()),
            "{choice:?}: {refused:?}"
        );
    }
    let nothing = node
        .manage(lee)
        .set_scopes(key.id, any, SetScopes::default());
    assert!(matches!(nothing.await, Err(ManageError::Invalid(faults))
            if codes(&faults) == [("scopes", "required")]));
    let other = UpdateCredential {
        api_type: Field::Unreadable,
        ..rename()
    };
    let refused = node.manage(lee).update(key.id, any, other).await;
    assert!(matches!(refused, Err(ManageError::ApiTypeImmutable(_))));
    assert_eq!(node.manage(lee).get(key.id).await.unwrap(), before);
}

#[tokio::test]
async fn nothing_is_hashed_for_a_create_that_will_be_refused() {
    let deployment = Deployment::with(|builder| builder.limit_per_tenant(2));
    let (node, lee) = (&deployment.node, &admin("alder"));
    deployment.key("Lab", "apiv2", READ).await;
    let hashed = deployment.hasher.hashed();
    let taken = node.manage(lee).create(request(" LAB ", "fhir", &[])).await;
    assert!(matches!(taken, Err(ManageError::NameTaken)), "{taken:?}");
    assert_eq!(deployment.hasher.hashed(), hashed, "a taken name");
    deployment.key("Two", "apiv2", READ).await;
    let hashed = deployment.hasher.hashed();
    let full = node.manage(lee).create(request("Three", "fhir", &[])).await;
    assert!(
        matches!(full, Err(ManageError::LimitReached { limit: 2 })),
        "{full:?}"
    );
    let taken = node.manage(lee).create(request("lab", "fhir", &[])).await;
    assert!(
        matches!(taken, Err(ManageError::NameTaken)),
        "before the limit: {taken:?}"
    );
    assert_eq!(deployment.hasher.hashed(), hashed, "the limit");
    // Another tenant has names and a limit of its own.
    node.manage(&admin("birch"))
        .create(request("Lab", "fhir", &[]))
        .await
        .unwrap();
}

#[tokio::test]
async fn scopes_that_exclude_each_other_or_need_company_are_refused() {
    let deployment = Deployment::new();
    for scopes in [&["apiv2", "system/patients.read"][..], &["act_as_user"]] {
        let refused = deployment
            .node
            .manage(&admin("alder"))
            .create(request("Lab", "apiv2", scopes))
            .await;
        assert!(
            matches!(&refused, Err(ManageError::Invalid(faults))
                if faults.iter().all(|fault| fault.code == "scope_conflict")),
            "{scopes:?}: {refused:?}"
        );
    }
    deployment
        .key("A", "apiv2", &["apiv2", "act_as_user"])
        .await;
    deployment
        .key("B", "apiv2", &["act_as_user", "system/bills.read"])
        .await;
}

#[tokio::test]
async fn no_request_changes_the_api_type() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let update = UpdateCredential {
        name: String::new().into(),
        api_type: "fhir".into(),
        ..UpdateCredential::default()
    };
    let refused = deployment
        .node
        .manage(&admin("alder"))
        .update(key.id, Some(&Expected::Any), update)
        .await;
    assert!(
        matches!(&refused, Err(ManageError::ApiTypeImmutable(faults))
            if codes(faults) == [("api_type", "api_type_immutable"), ("name", "required")]),
        "{refused:?}"
    );
    let scopes = SetScopes {
        api_type: "fhir".into(),
        ..named(READ)
    };
    let refused = deployment
        .node
        .manage(&admin("alder"))
        .set_scopes(key.id, Some(&Expected::Any), scopes)
        .await;
    assert!(matches!(refused, Err(ManageError::ApiTypeImmutable(_))));
    let credential = deployment.credential(&key).await;
    assert_eq!(
        (credential.identity.api_type.as_str(), credential.version),
        ("apiv2", 1)
    );
}

#[tokio::test]
async fn refusals_come_in_one_order() {
    let deployment = Deployment::new();
    let (node, lee) = (&deployment.node, &admin("alder"));
    let key = deployment.key("Lab", "apiv2", READ).await;
    let bad = || UpdateCredential {
        name: String::new().into(),
        ..UpdateCredential::default()
    };
    let stale = Expected::OneOf(vec![7]);
    let stranger = CredentialId::random(&credential_core::entropy::OsEntropy);
    let result = node.manage(lee).update(stranger, None, bad()).await;
    assert!(matches!(result, Err(ManageError::NotFound)), "{result:?}");
    let result = node.manage(lee).update(key.id, None, bad()).await;
    assert!(
        matches!(result, Err(ManageError::VersionRequired)),
        "{result:?}"
    );
    let result = node.manage(lee).update(key.id, Some(&stale), bad()).await;
    assert!(
        matches!(result, Err(ManageError::StaleVersion)),
        "{result:?}"
    );
    let result = node
        .manage(lee)
        .update(key.id, Some(&Expected::OneOf(vec![1])), bad())
        .await;
    assert!(matches!(result, Err(ManageError::Invalid(_))), "{result:?}");
    deployment.revoke(&key).await;
    let result = node.manage(lee).update(key.id, None, bad()).await;
    assert!(matches!(result, Err(ManageError::Revoked)), "{result:?}");
    let result = node
        .manage(&admin("birch"))
        .update(key.id, None, bad())
        .await;
    assert!(matches!(result, Err(ManageError::NotFound)), "{result:?}");
}

#[tokio::test]
async fn another_tenants_admin_sees_and_changes_nothing() {
    let deployment = Deployment::new();
    let (node, stranger) = (&deployment.node, &admin("birch"));
    let key = deployment.key("Lab", "apiv2", READ).await;
    let not_found = |result: Result<(), ManageError>| {
        assert!(matches!(result, Err(ManageError::NotFound)), "{result:?}");
    };
    not_found(node.manage(stranger).get(key.id).await.map(drop));
    not_found(node.manage(stranger).revoke(key.id, None).await.map(drop));
    let expected = Some(&Expected::Any);
    not_found(
        node.manage(stranger)
            .set_scopes(key.id, expected, named(&[]))
            .await
            .map(drop),
    );
    let update = UpdateCredential::default();
    not_found(
        node.manage(stranger)
            .update(key.id, expected, update)
            .await
            .map(drop),
    );
    let all = ListQuery {
        limit: 100,
        after: None,
        include_revoked: true,
    };
    assert!(
        node.manage(stranger)
            .list(all)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let audit = AuditQuery {
        credential_id: Some(key.id),
        limit: 100,
        before: None,
    };
    assert!(
        node.manage(stranger)
            .audit_events(audit)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn production_needs_the_host_to_turn_self_service_on() {
    let production = |builder: credential_core::CredentialsBuilder| {
        builder
            .environment(Environment::Production)
            .issuer("https://api.example.com")
    };
    let off = Deployment::with(production);
    let result = off
        .node
        .manage(&admin("alder"))
        .create(CreateCredential::default())
        .await;
    assert!(matches!(result, Err(ManageError::SelfServiceUnavailable)));
    let on = Deployment::with(|builder| production(builder).self_service(true));
    let key = on.key("Lab", "apiv2", READ).await;
    assert!(key.client_id.starts_with("cred_production_"));
    assert!(key.secret.starts_with("cred_production_"));
}

#[tokio::test]
async fn where_self_service_is_off_admins_still_revoke() {
    let on = Deployment::new();
    let key = on.key("Lab", "apiv2", READ).await;
    let off = on.node_builder().self_service(false).build().unwrap();
    let lee = &admin("alder");
    let refused = off.manage(lee).set_scopes(key.id, None, named(READ)).await;
    assert!(matches!(refused, Err(ManageError::SelfServiceUnavailable)));
    let stranger = &admin("birch");
    for not_found in [
        off.manage(stranger)
            .set_scopes(key.id, None, named(READ))
            .await,
        off.manage(stranger).revoke(key.id, None).await,
    ] {
        assert!(matches!(not_found, Err(ManageError::NotFound)));
    }
    let revoked = off.manage(lee).revoke(key.id, None).await.unwrap();
    let now = off.clock().now();
    assert_eq!(revoked.credential.status(now), Status::Revoked);
}

#[tokio::test]
async fn read_only_selects_every_read_scope_and_nothing_else() {
    let deployment = Deployment::new();
    for (api_type, reads) in [("apiv2", 78), ("fhir", 27)] {
        let key = deployment.key(api_type, api_type, &[]).await;
        let preset = SetScopes {
            choice: ScopeChoice::ReadOnly.into(),
            ..SetScopes::default()
        };
        let changed = deployment
            .node
            .manage(&admin("alder"))
            .set_scopes(key.id, Some(&Expected::Any), preset)
            .await
            .unwrap();
        let scopes = changed.credential.settings.scopes;
        assert_eq!(scopes.len(), reads, "{api_type}");
        let reads_one = |scope: &String| {
            scope
                .strip_suffix(".read")
                .is_some_and(|resource| !resource.contains('*'))
        };
        assert!(scopes.iter().all(reads_one), "{scopes:?}");
    }
}

#[tokio::test]
async fn saving_what_is_there_changes_nothing() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let changed = deployment
        .node
        .manage(&admin("alder"))
        .set_scopes(key.id, Some(&Expected::OneOf(vec![1])), named(READ))
        .await
        .unwrap();
    assert_eq!(changed.credential.version, 1);
    let same = UpdateCredential {
        name: " Lab ".into(),
        expires_at: Field::Value(None),
        ..UpdateCredential::default()
    };
    let updated = deployment
        .node
        .manage(&admin("alder"))
        .update(key.id, Some(&Expected::OneOf(vec![1])), same)
        .await
        .unwrap();
    assert_eq!(updated.version, 1);
}

#[tokio::test]
async fn the_audit_trail_tells_the_whole_story() {
    let deployment = Deployment::new();
    let (node, lee) = (&deployment.node, &admin("alder"));
    let key = deployment.key("Lab", "apiv2", READ).await;
    deployment.set_scopes(&key, &["system/bills.read"]).await;
    let expires_at = node.clock().now().saturating_add(Duration::from_secs(60));
    let update = UpdateCredential {
        name: "Imaging".into(),
        expires_at: Some(expires_at).into(),
        ..UpdateCredential::default()
    };
    node.manage(lee)
        .update(key.id, Some(&Expected::Any), update)
        .await
        .unwrap();
    deployment.revoke(&key).await;
    deployment.revoke(&key).await;

    let query = AuditQuery {
        credential_id: None,
        limit: 100,
        before: None,
    };
    let page = node.manage(lee).audit_events(query).await.unwrap();
    let rows: Vec<_> = page
        .items
        .iter()
        .rev()
        .filter_map(StoredRow::event)
        .collect();
    let actions: Vec<_> = rows.iter().map(|row| row.action.clone()).collect();
    assert_eq!(
        actions,
        [
            Action::Created,
            Action::ScopesChanged,
            Action::Renamed,
            Action::ExpiryChanged,
            Action::Revoked
        ]
    );
    assert_eq!(
        rows[1].details,
        r#"{"scopes":["system/bills.read"],"scopes_before":["system/patients.read"]}"#
    );
    assert!(rows.iter().all(|row| !row.details.contains(&key.secret)));

    let mut reports = Vec::new();
    let (keyring, heads) = (&deployment.keyring, &Heads::default());
    verify_trails(&deployment.store, keyring, heads, |report| {
        reports.push(report);
    })
    .await
    .unwrap();
    let [report] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(report.to_string(), "alder: 5 rows");
    let newest = rows.last().map(|row| (row.seq, row.hash));
    assert_eq!(report.head, newest);
}

#[tokio::test]
async fn a_revoked_credential_keeps_its_first_revocation() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let lee = &admin("alder");
    let first = deployment
        .node
        .manage(lee)
        .revoke(key.id, None)
        .await
        .unwrap();
    deployment.advance(5_000);
    let stale = Expected::OneOf(vec![1]);
    let again = deployment
        .node
        .manage(lee)
        .revoke(key.id, Some(&stale))
        .await
        .unwrap();
    assert_eq!(again.credential, first.credential);
    assert!(
        again.effective_everywhere_at > first.effective_everywhere_at,
        "computed anew"
    );
    assert_eq!(
        again.credential.status(deployment.node.clock().now()),
        Status::Revoked
    );
}

/// Tokens are bound to the issuer, and it is published: nothing else than a plain base URL will do.
#[test]
fn an_issuer_is_checked_before_anything_is_built() {
    use credential_core::{BuildError, issuer::IssuerError};
    let deployment = Deployment::new();
    let built = |environment, issuer: Option<&str>| {
        let builder = deployment.node_builder().environment(environment);
        let builder = match issuer {
            Some(issuer) => builder.issuer(issuer),
            None => builder,
        };
        builder.build().map(|built| built.issuer().to_owned())
    };
    let sandbox = |issuer| built(Environment::Sandbox, issuer);
    assert_eq!(sandbox(None).unwrap(), "http://localhost");
    assert_eq!(
        sandbox(Some("https://api.example.com/")).unwrap(),
        "https://api.example.com/",
        "byte for byte"
    );
    for (issuer, fault) in [
        ("", IssuerError::NotAUrl),
        ("ftp://x", IssuerError::NotAUrl),
        ("https://x/?a=b", IssuerError::QueryOrFragment),
        ("https://u:p@x", IssuerError::UserInfo),
    ] {
        assert_eq!(sandbox(Some(issuer)), Err(BuildError::Issuer(fault)));
    }
    let forgotten = built(Environment::Production, None);
    assert_eq!(forgotten, Err(BuildError::NoIssuer));
    built(Environment::Production, Some("https://api.example.com")).unwrap();
}

/// Where each API is found, unless it is below the issuer.
#[test]
fn base_urls_follow_the_issuer_unless_the_host_says_otherwise() {
    use credential_core::{BuildError, issuer::IssuerError};
    let deployment = Deployment::new();
    let built = |api_type: &str, url: &str| {
        let builder = deployment.node_builder().issuer("https://x.example/auth/");
        builder.base_url(api_type, url).build()
    };
    let node = built("fhir", "https://fhir.example/r4/").unwrap();
    let url_of = |id| node.base_url(node.catalog().api_type(id).unwrap());
    assert_eq!(url_of("apiv2"), "https://x.example/auth/api/2.0");
    assert_eq!(url_of("fhir"), "https://fhir.example/r4");
    assert_eq!(
        built("billing", "https://x.example").err(),
        Some(BuildError::NoSuchApiType("billing".to_owned()))
    );
    assert_eq!(
        built("fhir", "/fhir/r4").err(),
        Some(BuildError::BaseUrl {
            api_type: "fhir".to_owned(),
            fault: IssuerError::NotAUrl
        })
    );
}

/// Two versions of the catalogue on two nodes: the older one knows neither the new scope nor its rights.
#[tokio::test]
async fn a_scope_that_this_node_does_not_know_is_kept_unless_taken_away_by_name() {
    let catalog = |new: bool| {
        let resource = ResourceBuilder::new("patients", "Patients")
            .read("patients.read", "Read")
            .write("patients.write", "Write");
        let mut category = CategoryBuilder::new("all", "All").resource(resource);
        if new {
            let images = ResourceBuilder::new("images", "Images");
            category = category.resource(images.write("images.write", "Write"));
        }
        let api_type = ApiTypeBuilder::new("ehr", "EHR", "/v1").category(category);
        ScopeCatalog::builder().api_type(api_type).build().unwrap()
    };
    let deployment = Deployment::with(|builder| builder.catalog(catalog(true)));
    let held = ["images.write", "patients.read"];
    let key = deployment.key("Lab", "ehr", &held).await;
    let older = deployment.node_builder().catalog(catalog(false));
    let older = older.build().unwrap();
    let lee = &admin("alder");
    let set = async |choice: ScopeChoice| {
        let request = SetScopes {
            choice: choice.into(),
            ..SetScopes::default()
        };
        let set = older
            .manage(lee)
            .set_scopes(key.id, Some(&Expected::Any), request);
        set.await.map(|changed| changed.credential)
    };
    let named =
        |names: &[&str]| ScopeChoice::Named(names.iter().map(|&name| name.to_owned()).collect());
    // What was read is written back, in any order, and it is no change.
    for same in [held, ["patients.read", "images.write"]] {
        let credential = set(named(&same)).await.unwrap();
        assert_eq!(
            (credential.version, &*credential.settings.scopes),
            (1, &held.map(String::from)[..])
        );
    }
    let wider = ["patients.write", "images.write", "patients.read"];
    let credential = set(named(&wider)).await.unwrap();
    assert_eq!(
        credential.settings.scopes,
        ["images.write", "patients.read", "patients.write"]
    );

    // Whether it writes is not known here, so no preset that must not write decides on it.
    let refused = set(ScopeChoice::ReadOnly).await.unwrap_err();
    let ManageError::Invalid(faults) = refused else {
        panic!("{refused:?}");
    };
    let [fault] = &faults[..] else {
        panic!("{faults:?}");
    };
    assert_eq!(fault.code, "unknown_scope");
    assert!(fault.message.contains("`images.write`"), "{fault:?}");

    // Taken away by name it is gone, and this node cannot give it back.
    let credential = set(named(&["patients.read"])).await.unwrap();
    assert_eq!(credential.settings.scopes, ["patients.read"]);
    assert!(set(named(&held)).await.is_err());
    let credential = set(ScopeChoice::ReadOnly).await.unwrap();
    assert_eq!(credential.settings.scopes, ["patients.read"]);
}
