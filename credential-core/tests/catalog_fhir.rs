//! What FHIR calls need: method, path and query → scopes, as one reviewed table.

use std::sync::Arc;

use credential_core::catalog::{ApiType, PathError, Requirement, ScopeCatalog, Search, SearchForm};

fn fhir() -> Arc<ApiType> {
    Arc::clone(ScopeCatalog::elation().api_type("fhir").expect("bundled"))
}

/// The right to read every type.
const ALL: &str = "system/*.read";
const PATIENT: &str = "system/Patient.read";
const OBSERVATION: &str = "system/Observation.read";

/// Method, target below the base path, what it needs by the bundled catalogue, which lists no write.
const TABLE: &[(&str, &str, &str)] = &[
    // Read and search of one type.
    ("GET", "/Patient", PATIENT),
    ("GET", "/Patient/", PATIENT),
    ("HEAD", "/Patient", PATIENT),
    ("GET", "/Patient/1", PATIENT),
    ("GET", "/Patient/a-b.C9", PATIENT),
    ("GET", "/Patient?", PATIENT),
    (
        "GET",
        "/Patient?name=x&_count=10&_sort=-birthdate,name",
        PATIENT,
    ),
    (
        "GET",
        "/Patient?birthdate=ge2000&&identifier=a%7Cb&name:exact=x+y",
        PATIENT,
    ),
    (
        "GET",
        "/Observation?subject=Patient/1&code=a,b",
        OBSERVATION,
    ),
    (
        "GET",
        "/Observation?subject:Patient=1&_lastUpdated=gt2020",
        OBSERVATION,
    ),
    ("GET", "/Observation?code-value-quantity=a$b", OBSERVATION),
    ("POST", "/Patient/_search", PATIENT),
    ("POST", "/Patient/_search/", PATIENT),
    // Earlier versions of one instance are that instance: SMART's `r`.
    ("GET", "/Patient/1/_history", PATIENT),
    ("GET", "/Patient/1/_history/", PATIENT),
    ("HEAD", "/Patient/1/_history/2", PATIENT),
    (
        "GET",
        "/Patient/1/_history?_since=2020&_at=gt2020&_count=5",
        PATIENT,
    ),
    ("GET", "/Account/1/_history", ALL),
    ("GET", "/Patient/1/_history/2/3", ALL),
    ("GET", "/Patient/a_b/_history", ALL),
    ("GET", "/Patient/1/_history/a_b", ALL),
    ("GET", "/Patient/1/_History/2", ALL),
    (
        "GET",
        "/Patient/1/_history?_has:Observation:patient:code=1",
        "system/Observation.read system/Patient.read",
    ),
    ("PUT", "/Patient/1/_history/2", "-"),
    // A type that is not listed.
    ("GET", "/Account", ALL),
    ("GET", "/Account/1", ALL),
    ("POST", "/Account/_search", ALL),
    // What spans types.
    ("GET", "/", ALL),
    ("GET", "", ALL),
    ("GET", "?_type=Patient", ALL),
    ("POST", "/", ALL),
    ("POST", "/_search", ALL),
    ("GET", "/_search", ALL),
    ("GET", "/_history", ALL),
    // The rest of some search (HAPI), which could hold anything.
    ("GET", "?_getpages=6c1a&_getpagesoffset=20&_count=10", ALL),
    ("GET", "/?_getpages=6c1a", ALL),
    (
        "GET",
        "/Patient?_getpages=6c1a",
        "system/*.read system/Patient.read",
    ),
    ("GET", "/Patient?_offset=20&_count=10", PATIENT),
    ("GET", "/Patient/_history", ALL),
    ("GET", "/Patient/_history?_since=2020", ALL),
    ("GET", "/Patient/1/Observation", ALL),
    ("GET", "/Patient/1/*", ALL),
    ("POST", "/Patient/1/Observation/_search", ALL),
    ("GET", "/$export", ALL),
    ("GET", "/Patient/$export", ALL),
    ("POST", "/Patient/$match", ALL),
    ("GET", "/Patient/1/$everything", ALL),
    ("GET", "/Patient/1/a/b/c/$everything", ALL),
    ("GET", "/Group/1/$export", "system/*.read system/Group.read"),
    (
        "POST",
        "/Group/1/$export",
        "system/*.read system/Group.read",
    ),
    ("GET", "/Group/1", "system/Group.read"),
    ("GET", "/Group/$export", ALL),
    // Odd, but a read.
    ("GET", "/patient", ALL),
    ("GET", "/Patient/_search", ALL),
    ("GET", "/Patient/a_b", ALL),
    ("GET", "/Patient/1%2C2", ALL),
    ("GET", "/Patient*", ALL),
    // Writes: none is listed.
    ("POST", "/Patient", "-system/Patient.write"),
    ("PUT", "/Patient/1", "-system/Patient.write"),
    ("PATCH", "/Patient/1", "-system/Patient.write"),
    ("DELETE", "/Patient/1", "-system/Patient.write"),
    ("PUT", "/Patient?identifier=1", "-system/Patient.write"),
    ("POST", "/Account", "-system/Account.write"),
    (
        "DELETE",
        "/Patient?_include=Patient:organization",
        "-system/Patient.write",
    ),
    ("PUT", "/", "-"),
    ("POST", "/metadata", "-"),
    ("DELETE", "/Patient/1/_history", "-"),
    ("POST", "/Patient/1/Observation", "-"),
    ("PUT", "/Patient/$match", "-"),
    ("DELETE", "/Group/1/$export", "-"),
    ("PUT", "/Patient/_search", "-"),
    ("OPTIONS", "/Patient", "-"),
    ("OPTIONS", "/metadata", "-"),
    // Public.
    ("GET", "/metadata", "public"),
    ("HEAD", "/metadata?mode=full", "public"),
    ("GET", "/.well-known/smart-configuration", "public"),
    ("GET", "/.well-known", ALL),
    ("GET", "/metadata/1", ALL),
    // _include.
    (
        "GET",
        "/Observation?_include=Observation:subject:Patient",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?_include=Observation:patient",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?_include:iterate=Patient:organization",
        "system/Observation.read system/Organization.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?_include=Observation:subject",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?_include=Observation:subject:Account",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?_include=Observation:*",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?_include=*",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?_include=",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?_include=Observation:patient:Patient:x",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?_include=Observation:patient,Goal:patient",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?%5Finclude=Observation%3Apatient",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient/1?_include=Patient:organization",
        "system/Organization.read system/Patient.read",
    ),
    // _revinclude.
    (
        "GET",
        "/Patient?_revinclude=Provenance:target",
        "system/Patient.read system/Provenance.read",
    ),
    (
        "GET",
        "/Patient?_revinclude=Observation:subject:Patient",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_revinclude:iterate=Account:subject",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_revinclude=*",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_revinclude=Observation:*",
        "system/*.read system/Patient.read",
    ),
    // _has and chains.
    (
        "GET",
        "/Patient?_has:Observation:patient:code=1",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_has:Observation:patient:_has:Provenance:target:agent=1",
        "system/Observation.read system/Patient.read system/Provenance.read",
    ),
    (
        "GET",
        "/Patient?_has:Observation:patient:encounter.date=1",
        "system/Encounter.read system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_has=1",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_has:Observation=1",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_has:*:patient:code=1",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?subject:Patient.name=x",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?patient.name=x",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?patient.organization.name=x",
        "system/Observation.read system/Organization.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?patient._has:Group:member:_id=1",
        "system/Group.read system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?subject.name=x",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?subject:Account.name=x",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?subject:exact.name=x",
        "system/*.read system/Observation.read",
    ),
    (
        "GET",
        "/Observation?patient%2Ename=x",
        "system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Observation?patient._filter=x",
        "system/*.read system/Observation.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_sort=organization.name",
        "system/*.read system/Patient.read",
    ),
    // What could reach anything, or is not known.
    (
        "GET",
        "/Patient?_filter=name%20eq%20x",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_query=x",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_list=1",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_method=DELETE",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?_Include=Patient:organization",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?+_include=Patient:organization",
        "system/*.read system/Patient.read",
    ),
    (
        "GET",
        "/Patient?name[]=x",
        "system/*.read system/Patient.read",
    ),
    ("GET", "/Patient?=x", "system/*.read system/Patient.read"),
    // `;` may part parameters as `&` does.
    (
        "GET",
        "/Patient?name=x;_include=Patient:organization",
        "system/Organization.read system/Patient.read",
    ),
    ("GET", "/Patient?name=a;b", PATIENT),
    (
        "GET",
        "/Patient?_include=Patient:organization;x",
        "system/*.read system/Organization.read system/Patient.read",
    ),
];

#[test]
fn every_call_needs_what_the_table_says() {
    let fhir = fhir();
    for (method, target, needed) in TABLE {
        let found = fhir
            .requirement(method, &format!("/fhir/r4{target}"), SearchForm::None)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let described = match &found {
            Requirement::Public => "public".to_owned(),
            Requirement::Scopes(_) => fhir.describe(&found),
            Requirement::Unlisted(_) => format!("-{}", fhir.describe(&found)),
        };
        assert_eq!(described, *needed, "{method} {target}");
    }
}

#[test]
fn the_form_of_a_search_by_post_counts_like_a_query() {
    let fhir = fhir();
    let needs = |target: &str, form| {
        let found = fhir.requirement("POST", &format!("/fhir/r4{target}"), form);
        found.map(|needed| fhir.describe(&needed))
    };
    let search = "/Patient/_search";
    assert_eq!(needs(search, SearchForm::Read("")).as_deref(), Ok(PATIENT));
    assert_eq!(
        needs(search, SearchForm::Read("name=M%C3%BCller")).as_deref(),
        Ok(PATIENT)
    );
    assert_eq!(
        needs(
            search,
            SearchForm::Read("_revinclude=Observation%3Apatient")
        )
        .as_deref(),
        Ok("system/Observation.read system/Patient.read")
    );
    assert_eq!(
        needs(
            "/Patient/_search?_revinclude=Goal:patient",
            SearchForm::Read("name=x")
        )
        .as_deref(),
        Ok("system/Goal.read system/Patient.read")
    );
    assert_eq!(
        needs(search, SearchForm::Unseen).as_deref(),
        Ok("system/*.read system/Patient.read")
    );
    assert_eq!(
        needs(search, SearchForm::Read("a=%zz")),
        Err(PathError::MalformedEscape)
    );
    // Only a search reads its body.
    assert_eq!(
        needs("/Patient", SearchForm::Unseen).as_deref(),
        Ok("system/Patient.write")
    );
    let read = fhir.requirement("GET", "/fhir/r4/Patient", SearchForm::Unseen);
    assert_eq!(
        read.map(|needed| fhir.describe(&needed)).as_deref(),
        Ok(PATIENT)
    );
}

#[test]
fn queries_that_parsers_read_differently_are_refused() {
    let fhir = fhir();
    for (query, why) in [
        ("name=%", PathError::MalformedEscape),
        ("name=%zz", PathError::MalformedEscape),
        ("name=a\nb", PathError::Control),
        ("name=a\0", PathError::Control),
        ("%FF=1", PathError::NotUtf8),
        ("%00_include=x", PathError::EncodedControl),
        ("_include=%FF", PathError::NotUtf8),
        ("_sort=%FF", PathError::NotUtf8),
    ] {
        let found = fhir.requirement(
            "GET",
            &format!("/fhir/r4/Patient?{query}"),
            SearchForm::None,
        );
        assert_eq!(found, Err(why), "{query:?}");
    }
}

#[test]
fn no_more_is_read_than_a_search_can_need() {
    let api = fhir();
    let needs = |query: &str| {
        let target = format!("/fhir/r4/Observation?{query}");
        let needs = api.requirement("GET", &target, SearchForm::None)?;
        Ok::<_, PathError>(api.describe(&needs))
    };
    for separator in ["&", ";"] {
        let parameters = |count: usize| vec!["code=a"; count].join(separator);
        assert_eq!(needs(&parameters(2)).unwrap(), OBSERVATION);
        assert!(needs(&parameters(1_000)).is_ok());
        assert_eq!(
            needs(&parameters(1_001)),
            Err(PathError::TooManyParameters),
            "{separator}"
        );
    }
    let chain = |links: usize| format!("{}name=x", "patient.".repeat(links));
    assert_eq!(
        needs(&chain(3)).unwrap(),
        format!("{OBSERVATION} {PATIENT}")
    );
    // Not followed to its end: then it may reach anything.
    assert!(needs(&chain(8_000)).unwrap().contains(ALL));
    let reverse = format!("{}name=x", "_has:Observation:patient:".repeat(2_000));
    assert!(needs(&reverse).unwrap().contains(ALL));
}

#[test]
fn the_wildcard_covers_every_type_and_no_type_covers_the_wildcard() {
    let fhir = fhir();
    let wildcard = fhir.rights(&fhir.resolve([ALL]));
    let types = fhir.rights(&fhir.read_only());
    for (method, target, needed) in TABLE {
        let found = fhir
            .requirement(method, &format!("/fhir/r4{target}"), SearchForm::None)
            .expect("as in the table");
        assert_eq!(
            found.is_met_by(&wildcard),
            !needed.starts_with('-'),
            "{method} {target}"
        );
        let by_types = !needed.starts_with('-') && !needed.contains(ALL);
        assert_eq!(found.is_met_by(&types), by_types, "{method} {target}");
    }
}

/// A server that can be written to, without and with wildcards.
fn writable(wildcard: &str) -> ScopeCatalog {
    let text = format!(
        r#"
        [[api_type]]
        id = "fhir"
        label = "FHIR"
        base_path = ""
        token_ttl_seconds = 600
        error_body = "operation-outcome"
        rules = "fhir"
        [[api_type.category]]
        id = "all"
        label = "All"
        [[api_type.category.resource]]
        id = "Patient"
        label = "Patient"
        read = {{ scope = "system/Patient.rs", description = "Read" }}
        write = {{ scope = "system/Patient.cud", description = "Write" }}
        {wildcard}
        "#
    );
    ScopeCatalog::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_writable_server_needs_its_write_scopes() {
    let none = writable("");
    let both = writable(
        r#"
        [[api_type.category.resource]]
        id = "*"
        label = "All"
        wildcard = true
        read = { scope = "system/*.rs", description = "Read" }
        write = { scope = "system/*.cud", description = "Write" }
        "#,
    );
    for (method, target, without, with) in [
        (
            "PUT",
            "/Patient/1",
            "system/Patient.cud",
            "system/Patient.cud",
        ),
        ("PUT", "/Account/1", "system/Account.write", "system/*.cud"),
        ("GET", "/Account/1", "system/*.read", "system/*.rs"),
        ("POST", "/", "system/*.read", "system/*.cud system/*.rs"),
        (
            "POST",
            "/Patient/$merge",
            "system/*.read",
            "system/*.cud system/*.rs",
        ),
        (
            "GET",
            "/Patient/$everything",
            "system/*.read",
            "system/*.rs",
        ),
        (
            "PUT",
            "/Patient?_filter=x",
            "system/*.read",
            "system/*.rs system/Patient.cud system/Patient.rs",
        ),
        // Conditional: the criteria are a search.
        (
            "PUT",
            "/Patient?identifier=1",
            "system/Patient.cud system/Patient.rs",
            "system/Patient.cud system/Patient.rs",
        ),
        (
            "PATCH",
            "/Patient?identifier=1&_format=json",
            "system/Patient.cud system/Patient.rs",
            "system/Patient.cud system/Patient.rs",
        ),
        (
            "DELETE",
            "/Patient",
            "system/Patient.cud system/Patient.rs",
            "system/Patient.cud system/Patient.rs",
        ),
        (
            "DELETE",
            "/Patient/?_pretty=true",
            "system/Patient.cud system/Patient.rs",
            "system/Patient.cud system/Patient.rs",
        ),
        (
            "POST",
            "/Patient?identifier=1",
            "system/Patient.cud system/Patient.rs",
            "system/Patient.cud system/Patient.rs",
        ),
        (
            "PUT",
            "/Patient/1?identifier=1",
            "system/Patient.cud system/Patient.rs",
            "system/Patient.cud system/Patient.rs",
        ),
        (
            "PUT",
            "/Account?identifier=1",
            "system/Account.write",
            "system/*.cud system/*.rs",
        ),
        // Not conditional.
        (
            "POST",
            "/Patient?_format=json&_pretty=true",
            "system/Patient.cud",
            "system/Patient.cud",
        ),
        (
            "PUT",
            "/Patient/1?_summary=true;_elements=id",
            "system/Patient.cud",
            "system/Patient.cud",
        ),
        (
            "DELETE",
            "/Patient/1",
            "system/Patient.cud",
            "system/Patient.cud",
        ),
    ] {
        for (catalog, needed) in [(&none, without), (&both, with)] {
            let api = catalog.api_type("fhir").expect("listed");
            let found = api
                .requirement(method, target, SearchForm::None)
                .expect("well formed");
            assert_eq!(api.describe(&found), needed, "{method} {target}");
        }
    }
}

/// The criteria in `If-None-Exist`: what is asked there needs what the same query needs.
#[test]
fn a_conditional_create_is_a_search() {
    let catalog = writable(
        r#"
        [[api_type.category.resource]]
        id = "Observation"
        label = "Observation"
        read = { scope = "system/Observation.rs", description = "Read" }
        [[api_type.category.resource]]
        id = "*"
        label = "All"
        wildcard = true
        read = { scope = "system/*.rs", description = "Read" }
        "#,
    );
    let fhir = catalog.api_type("fhir").expect("listed");
    let needs = |method: &str, target: &str, criteria: &str| {
        let search = Search {
            form: SearchForm::None,
            if_none_exist: Some(criteria),
        };
        let found = fhir.requirement(method, target, search);
        found.map(|needed| fhir.describe(&needed))
    };
    let own = "system/Patient.cud system/Patient.rs";
    let observed = "system/Observation.rs system/Patient.cud system/Patient.rs";
    let all = "system/*.rs system/Patient.cud system/Patient.rs";
    for (criteria, needed) in [
        ("", own),
        ("identifier=a%7Cb", own),
        ("?identifier=a", own),
        ("Patient?identifier=a", own),
        ("_has:Observation:patient:code=1234", observed),
        ("?_has:Observation:patient:code=1234", observed),
        ("Patient?_has:Observation:patient:code=1234", observed),
        ("%5Fhas%3AObservation:patient:code=1234", observed),
        ("name=x;_has:Observation:patient:code=1234", observed),
        ("identifier=a&_revinclude=Observation:subject", observed),
        ("organization.name=x", all),
        ("_filter=x", all),
        ("Observation?code=1", all),
        ("https://elsewhere/Patient?identifier=a", all),
        ("identifier=a?b", all),
        ("??identifier=a", all),
        (" ?identifier=a", all),
    ] {
        assert_eq!(
            needs("POST", "/Patient", criteria).as_deref(),
            Ok(needed),
            "{criteria}"
        );
    }
    assert_eq!(
        needs("POST", "/Patient", "identifier=%zz"),
        Err(PathError::MalformedEscape)
    );
    // On any other call it is held to the same rule, for who can say which server looks at it?
    for (method, target, needed) in [
        (
            "GET",
            "/Patient/1",
            "system/Observation.rs system/Patient.rs",
        ),
        ("PUT", "/Patient/1", observed),
        (
            "POST",
            "/Patient/_search",
            "system/Observation.rs system/Patient.rs",
        ),
        ("GET", "/", "system/*.rs system/Observation.rs"),
    ] {
        let found = needs(method, target, "_has:Observation:patient:code=1");
        assert_eq!(found.as_deref(), Ok(needed), "{method} {target}");
    }
}
