//! The bundled catalogue against the published facts in `data/elation/`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use credential_core::catalog::{
    ApiType, ErrorBody, OnBehalfOfFormat, PathRules, Permission, Requirement, ScopeCatalog,
    ScopeKind, SearchForm,
};

const APIV2_SCOPES: &str = include_str!("data/elation/apiv2-scopes.tsv");
const FHIR_SCOPES: &str = include_str!("data/elation/fhir-scopes.tsv");
const ENDPOINTS: &str = include_str!("data/elation/apiv2-endpoints.tsv");

fn rows<const COLUMNS: usize>(table: &str) -> Vec<[&str; COLUMNS]> {
    let rows = table.lines().skip(1).map(|line| {
        let cells: Vec<_> = line.split('\t').collect();
        cells.try_into().expect("every row has every column")
    });
    rows.collect()
}

fn api(id: &str) -> Arc<ApiType> {
    Arc::clone(ScopeCatalog::elation().api_type(id).expect("bundled"))
}

fn required(api: &ApiType, method: &str, target: &str) -> Requirement {
    api.requirement(method, target, SearchForm::None)
        .expect("an ordinary path")
}

/// Category, resource, permission, scope and description, as the tables have them.
fn listed(api: &ApiType) -> BTreeSet<[String; 5]> {
    let mut rows = BTreeSet::new();
    for category in api.categories() {
        for resource in &category.resources {
            let scopes = [
                (resource.read, Permission::Read, "read"),
                (resource.write, Permission::Write, "write"),
            ];
            for (index, permission, word) in scopes {
                let Some(index) = index else { continue };
                let scope = api.scope_at(index).expect("its own scope");
                assert_eq!(scope.permission, Some(permission));
                assert_eq!(scope.kind == ScopeKind::Wildcard, resource.wildcard);
                rows.insert([
                    category.label.clone(),
                    resource.id.clone(),
                    word.to_owned(),
                    scope.name.clone(),
                    scope.description.clone(),
                ]);
            }
        }
    }
    rows
}

#[test]
fn the_bundled_file_loads() {
    let text = include_str!("../src/catalog/elation.toml");
    match ScopeCatalog::from_toml(text) {
        Ok(catalog) => assert_eq!(catalog, ScopeCatalog::elation()),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(
        format!("{:?}", ScopeCatalog::elation()),
        r#"ScopeCatalog ["apiv2", "fhir"]"#
    );
}

#[test]
fn the_catalogue_lists_exactly_the_published_scopes() {
    for (id, table, scopes, categories) in [
        ("apiv2", APIV2_SCOPES, 151, 9),
        ("fhir", FHIR_SCOPES, 28, 3),
    ] {
        let api = api(id);
        let published: BTreeSet<_> = rows::<5>(table)
            .into_iter()
            .map(|row| row.map(str::to_owned))
            .collect();
        assert_eq!(published.len(), scopes);
        assert_eq!(listed(&api), published);
        assert_eq!(api.categories().len(), categories);
        for category in api.categories() {
            let labels: BTreeSet<_> = category.resources.iter().map(|r| &r.label).collect();
            assert_eq!(labels.len(), category.resources.len(), "{}", category.id);
        }
    }
    let resources: usize = api("apiv2")
        .categories()
        .iter()
        .map(|c| c.resources.len())
        .sum();
    assert_eq!(resources, 78);
    // Besides: full access and acting on behalf of a user.
    assert_eq!(api("apiv2").scopes().count(), 153);
    assert_eq!(api("fhir").scopes().count(), 28);
}

#[test]
fn the_api_types_are_the_published_ones() {
    let v2 = api("apiv2");
    assert_eq!(v2.label(), "Elation APIv2");
    assert_eq!(v2.base_path(), "/api/2.0");
    assert_eq!(v2.token_ttl(), Duration::from_secs(36_000));
    assert_eq!(v2.error_body(), ErrorBody::Detail);
    assert_eq!(v2.rules(), PathRules::FirstSegment);
    assert_eq!(v2.full_access().map(|s| s.name.as_str()), Some("apiv2"));
    let acting = v2.on_behalf_of().expect("listed");
    assert_eq!(acting.header, "X-On-Behalf-Of");
    assert_eq!(acting.format, OnBehalfOfFormat::Digits);
    assert_eq!(
        v2.scope_at(acting.scope).map(|s| s.name.as_str()),
        Some("act_as_user")
    );
    assert!(acting.accepts("140857911017474"));
    for value in ["", "-1", "1 ", "1,2", "\u{664}", "123456789012345678901"] {
        assert!(!acting.accepts(value), "{value:?}");
    }

    let fhir = api("fhir");
    assert_eq!(fhir.label(), "FHIR");
    assert_eq!(fhir.base_path(), "/fhir/r4");
    assert_eq!(fhir.token_ttl(), Duration::from_secs(36_000));
    assert_eq!(fhir.error_body(), ErrorBody::OperationOutcome);
    assert_eq!(fhir.rules(), PathRules::Fhir);
    assert!(fhir.full_access().is_none());
    assert!(fhir.on_behalf_of().is_none());
    assert!(v2.introspection().is_none() && fhir.introspection().is_none());

    let label = |api: &ApiType, id: &str| {
        let mut all = api.categories().iter().flat_map(|c| &c.resources);
        all.find(|r| r.id == id)
            .map(|r| r.label.clone())
            .expect("listed")
    };
    assert_eq!(label(&v2, "patients"), "Patients");
    assert_eq!(label(&v2, "drug_intolerances"), "Drug intolerances");
    assert_eq!(
        label(&v2, "patient-provider-team-members"),
        "Patient provider team members"
    );
    assert_eq!(label(&fhir, "Patient"), "Patient");
    assert_eq!(label(&fhir, "*"), "All resource types");
}

#[test]
fn every_documented_endpoint_needs_its_published_scope() {
    let v2 = api("apiv2");
    let endpoints = rows::<4>(ENDPOINTS);
    assert_eq!(endpoints.len(), 255);
    let full = v2.rights(&v2.resolve(["apiv2"]));
    let all = v2.rights(&v2.resolve(rows::<5>(APIV2_SCOPES).into_iter().map(|row| row[3])));
    assert_eq!(all.len(), 151);
    let mut unpublished = 0;
    for [method, path, scope, _] in endpoints {
        let filled = path.replace(['{', '}'], "");
        let needed = required(&v2, method, &filled);
        assert!(needed.is_met_by(&full), "{method} {path}");
        if scope == "-" {
            unpublished += 1;
            assert_eq!(v2.describe(&needed), "apiv2", "{method} {path}");
            assert!(!needed.is_met_by(&all), "{method} {path}");
        } else {
            assert_eq!(v2.describe(&needed), scope, "{method} {path}");
            assert!(
                needed.is_met_by(&v2.rights(&v2.resolve([scope]))),
                "{method} {path}"
            );
            let mut others = v2.names(&all);
            others.retain(|name| *name != scope);
            assert!(!needed.is_met_by(&v2.resolve(others)), "{method} {path}");
        }
    }
    assert_eq!(unpublished, 26);
}

/// Method, target → what it needs. Reviewed as a table.
#[test]
fn apiv2_paths_by_rule() {
    let v2 = api("apiv2");
    for (method, target, needed) in [
        ("GET", "/api/2.0/patients", "system/patients.read"),
        ("HEAD", "/api/2.0/patients/", "system/patients.read"),
        (
            "GET",
            "/api/2.0/patients/?a=/../;%zz",
            "system/patients.read",
        ),
        ("POST", "/api/2.0/patients/", "system/patients.write"),
        ("PUT", "/api/2.0/patients/1/", "system/patients.write"),
        ("PATCH", "/api/2.0/patients/1/", "system/patients.write"),
        ("DELETE", "/api/2.0/patients/1/", "system/patients.write"),
        (
            "GET",
            "/api/2.0/patients/1/problems/",
            "system/patients.read",
        ),
        ("GET", "/api/2.0/users/patients/", "apiv2"),
        // Names are exact.
        ("GET", "/api/2.0/Patients/", "apiv2"),
        ("GET", "/api/2.0/patient/", "apiv2"),
        ("GET", "/api/2.0/patients%20/", "apiv2"),
        ("GET", "/api/2.0/patient_provider_team_members/", "apiv2"),
        ("GET", "/api/2.0/patient-provider-teams/1/", "apiv2"),
        // Reference data is read only.
        ("GET", "/api/2.0/languages/", "system/languages.read"),
        ("POST", "/api/2.0/languages/", "apiv2"),
        ("GET", "/api/2.0", "apiv2"),
        ("GET", "/api/2.0/", "apiv2"),
        // Nobody's: other methods, and other bases.
        ("OPTIONS", "/api/2.0/patients/", ""),
        ("TRACE", "/api/2.0/patients/", ""),
        ("get", "/api/2.0/patients/", ""),
        ("*", "/api/2.0/patients/", ""),
        ("", "/api/2.0/patients/", ""),
        ("GET", "/", ""),
        ("GET", "/api/2.00/patients/", ""),
        ("GET", "/API/2.0/patients/", ""),
        ("GET", "/fhir/r4/Patient", ""),
    ] {
        let requirement = required(&v2, method, target);
        assert_eq!(v2.describe(&requirement), needed, "{method} {target}");
        assert_eq!(
            matches!(requirement, Requirement::Unlisted(_)),
            needed.is_empty(),
            "{method} {target}"
        );
    }
    assert!(
        v2.requirement("GET", "/api/2.0/%70atients/", SearchForm::None)
            .is_err()
    );
    assert!(
        v2.requirement("GET", "/api/2.0/patients/../users/", SearchForm::None)
            .is_err()
    );
}

#[test]
fn neither_api_type_accepts_a_scope_of_the_other() {
    let catalog = ScopeCatalog::elation();
    for (one, other) in [("apiv2", "fhir"), ("fhir", "apiv2")] {
        let (one, other) = (api(one), api(other));
        for scope in one.scopes() {
            let name = scope.name.as_str();
            assert!(other.scope(name).is_none(), "{name}");
            assert!(other.resolve([name]).is_empty(), "{name}");
            let set = one.resolve([name]);
            assert!(other.names(&set).is_empty(), "{name}");
            assert!(other.rights(&set).is_empty(), "{name}");
            assert!(other.check(&set).is_err(), "{name}");
            for needed in other.scopes() {
                let requirement = other.requires(&needed.name).expect("listed");
                assert!(
                    !requirement.is_met_by(&one.rights(&set)),
                    "{name} {}",
                    needed.name
                );
            }
            let faults = catalog.parse_scopes(&other, [name]).expect_err("refused");
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].code, "scope_of_other_api_type");
            assert_eq!(faults[0].scope, name);
            assert!(
                other.request(Some(name), &other.read_only()).is_err(),
                "{name}"
            );
        }
    }
}

#[test]
fn the_base_path_finds_the_api_type() {
    let catalog = ScopeCatalog::elation();
    let id = |path| {
        catalog
            .api_type_of_path(path)
            .map(|api| api.id().to_string())
    };
    assert_eq!(id("/api/2.0/patients/").as_deref(), Some("apiv2"));
    assert_eq!(id("/api/2.0").as_deref(), Some("apiv2"));
    assert_eq!(id("/fhir/r4?_type=Patient").as_deref(), Some("fhir"));
    assert_eq!(id("/api/2.01/patients/"), None);
    assert_eq!(id("/other?/api/2.0/"), None);
}
