//! Choosing, requesting and narrowing scopes, by example and by property.

use std::collections::BTreeSet;
use std::sync::Arc;

use credential_core::catalog::{
    ApiType, GrantedScopes, Permission, Requirement, ScopeCatalog, ScopeFault, ScopeKind,
    ScopeRequestError, ScopeSet, SearchForm,
};
use proptest::prelude::*;

fn api(id: &str) -> Arc<ApiType> {
    Arc::clone(ScopeCatalog::elation().api_type(id).expect("bundled"))
}

fn parse(id: &str, names: &[&str]) -> Result<Vec<String>, Vec<ScopeFault>> {
    let api = api(id);
    let set = ScopeCatalog::elation().parse_scopes(&api, names.iter().copied())?;
    Ok(api.names(&set).into_iter().map(str::to_owned).collect())
}

fn codes(faults: &[ScopeFault]) -> Vec<(&str, &str)> {
    faults
        .iter()
        .map(|fault| (fault.scope.as_str(), fault.code))
        .collect()
}

#[test]
fn an_admins_choice_is_stored_by_its_listed_names() {
    assert_eq!(parse("apiv2", &[]), Ok(vec![]));
    let names = [
        "system/vitals.read",
        "system/bills.write",
        "system/vitals.read",
    ];
    assert_eq!(
        parse("apiv2", &names).expect("fine"),
        ["system/bills.write", "system/vitals.read"]
    );
    assert_eq!(
        parse("apiv2", &["apiv2", "act_as_user"]).expect("fine"),
        ["act_as_user", "apiv2"]
    );
    for spelling in ["read", "rs", "*", "cruds"] {
        let (patient, all) = (
            format!("system/Patient.{spelling}"),
            format!("system/*.{spelling}"),
        );
        assert_eq!(
            parse("fhir", &[&patient]).expect("fine"),
            ["system/Patient.read"]
        );
        assert_eq!(parse("fhir", &[&all]).expect("fine"), ["system/*.read"]);
    }
}

#[test]
fn every_fault_of_a_choice_is_reported_at_once() {
    let faults = parse(
        "apiv2",
        &[
            "apiv2",
            "system/patients.read",
            "system/Patient.rs",
            "system/nothing.read",
            "system/patients.rs",
            "SYSTEM/patients.read",
        ],
    )
    .expect_err("faulty");
    assert_eq!(
        codes(&faults),
        [
            ("system/Patient.rs", "scope_of_other_api_type"),
            ("system/nothing.read", "unknown_scope"),
            ("system/patients.rs", "unknown_scope"),
            ("SYSTEM/patients.read", "unknown_scope"),
            ("apiv2", "scope_conflict"),
        ]
    );
    for name in [
        "system/Patient.write",
        "system/Patient.cud",
        "system/*.write",
        "system/Patient.r",
        "system/Patient.rs?x=y",
        "patient/Patient.read",
        "",
    ] {
        assert_eq!(
            codes(&parse("fhir", &[name]).expect_err(name)),
            [(name, "unknown_scope")]
        );
    }
    let lonely = parse("apiv2", &["act_as_user"]).expect_err("alone");
    assert_eq!(codes(&lonely), [("act_as_user", "scope_conflict")]);
    // Not lonely, only beside a misspelt companion.
    let misspelt = parse("apiv2", &["act_as_user", "system/patient.read"]).expect_err("misspelt");
    assert_eq!(codes(&misspelt), [("system/patient.read", "unknown_scope")]);
}

/// API type, held, requested → echo, or the error. A `~` before the echo: follows the credential.
const REQUESTS: &[(&str, &str, Option<&str>, &str)] = &[
    (
        "apiv2",
        "system/vitals.read system/bills.read",
        None,
        "~system/bills.read system/vitals.read",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some(""),
        "~system/vitals.read",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("  "),
        "~system/vitals.read",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("apiv2"),
        "~system/vitals.read",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some(" apiv2  apiv2 "),
        "~system/vitals.read",
    ),
    ("apiv2", "apiv2", None, "~apiv2"),
    ("apiv2", "apiv2", Some("apiv2"), "apiv2"),
    // Fewer than held, in the client's order, doubles once.
    (
        "apiv2",
        "system/bills.read system/vitals.read",
        Some("system/vitals.read  system/bills.read system/vitals.read"),
        "system/vitals.read system/bills.read",
    ),
    (
        "apiv2",
        "apiv2",
        Some("system/vitals.read"),
        "system/vitals.read",
    ),
    (
        "apiv2",
        "apiv2 act_as_user",
        Some("apiv2 act_as_user"),
        "apiv2 act_as_user",
    ),
    (
        "apiv2",
        "apiv2 act_as_user",
        Some("act_as_user system/vitals.read"),
        "act_as_user system/vitals.read",
    ),
    (
        "apiv2",
        "apiv2",
        Some("act_as_user apiv2"),
        "!the credential does not hold `act_as_user`",
    ),
    (
        "apiv2",
        "apiv2 act_as_user",
        Some("act_as_user"),
        "!`act_as_user` opens nothing alone and needs another scope beside it",
    ),
    (
        "apiv2",
        "apiv2",
        Some("apiv2 system/vitals.read"),
        "!`apiv2` already opens everything and cannot be combined with `system/vitals.read`",
    ),
    (
        "apiv2",
        "system/vitals.read act_as_user",
        Some("apiv2 act_as_user"),
        "!the credential does not hold `apiv2`",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("system/vitals.write"),
        "!the credential does not hold `system/vitals.write`",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("system/vitals.read system/x.read"),
        "!unknown scope `system/x.read`",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("system/Patient.read"),
        "!unknown scope `system/Patient.read`",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("system/*.read"),
        "!unknown scope `system/*.read`",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("system/vitals.rs"),
        "!unknown scope `system/vitals.rs`",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("a\tb"),
        "!scope is not a list of scope-tokens separated by spaces",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("a\"b"),
        "!scope is not a list of scope-tokens separated by spaces",
    ),
    (
        "apiv2",
        "system/vitals.read",
        Some("caf\u{e9}"),
        "!scope is not a list of scope-tokens separated by spaces",
    ),
    (
        "apiv2",
        "",
        None,
        "!the credential has no scopes; an admin must grant some first",
    ),
    (
        "apiv2",
        "",
        Some("system/vitals.read"),
        "!the credential has no scopes; an admin must grant some first",
    ),
    // SMART spellings are echoed as sent.
    (
        "fhir",
        "system/Patient.read",
        Some("system/Patient.rs"),
        "system/Patient.rs",
    ),
    (
        "fhir",
        "system/Patient.read",
        Some("system/Patient.rs system/Patient.read"),
        "system/Patient.rs",
    ),
    (
        "fhir",
        "system/*.read",
        Some("system/Goal.rs system/*.rs"),
        "system/Goal.rs system/*.rs",
    ),
    (
        "fhir",
        "system/*.read",
        Some("system/*.read"),
        "system/*.read",
    ),
    // Wildcards are narrowed to what is held.
    (
        "fhir",
        "system/Patient.read system/Goal.read",
        Some("system/*.read"),
        "system/Goal.read system/Patient.read",
    ),
    (
        "fhir",
        "system/Patient.read system/Goal.read",
        Some("system/Patient.rs system/*.rs"),
        "system/Patient.rs system/Goal.read",
    ),
    (
        "fhir",
        "system/Patient.read",
        Some("system/*.cruds"),
        "system/Patient.read",
    ),
    ("fhir", "system/*.read", Some("system/*.*"), "system/*.read"),
    (
        "fhir",
        "system/*.read system/Goal.read",
        Some("system/*.*"),
        "system/*.read system/Goal.read",
    ),
    (
        "fhir",
        "system/Patient.read",
        Some("system/Patient.*"),
        "system/Patient.read",
    ),
    (
        "fhir",
        "system/*.read",
        Some("system/Patient.cruds"),
        "system/Patient.read",
    ),
    (
        "fhir",
        "system/Goal.read",
        Some("system/Patient.*"),
        "!the credential does not hold `system/Patient.*`",
    ),
    (
        "fhir",
        "system/*.read",
        Some("system/*.write"),
        "!the credential does not hold `system/*.write`",
    ),
    (
        "fhir",
        "system/*.read",
        Some("system/Patient.write"),
        "!the credential does not hold `system/Patient.write`",
    ),
    (
        "fhir",
        "system/Goal.read",
        Some("system/Patient.rs"),
        "!the credential does not hold `system/Patient.rs`",
    ),
    (
        "fhir",
        "system/*.read",
        Some("system/Patient.r"),
        "!unknown scope `system/Patient.r`",
    ),
    (
        "fhir",
        "system/*.read",
        Some("apiv2"),
        "!unknown scope `apiv2`",
    ),
];

#[test]
fn a_token_gets_what_was_asked_for_and_never_more_than_is_held() {
    for (id, held, requested, expected) in REQUESTS {
        let api = api(id);
        let held = api.resolve(held.split(' '));
        let found = match api.request(*requested, &held) {
            Err(error) => format!("!{error}"),
            Ok(granted) => match granted.scopes {
                GrantedScopes::FollowsCredential => format!("~{}", granted.echo),
                GrantedScopes::Named(set) => {
                    assert!(set.is_subset(&api.rights(&held)), "{requested:?}");
                    // The echo names exactly what was granted.
                    let echoed =
                        ScopeCatalog::elation().parse_scopes(&api, granted.echo.split(' '));
                    assert_eq!(echoed, Ok(set), "{requested:?}");
                    granted.echo
                }
            },
        };
        assert_eq!(found, *expected, "{id} {requested:?}");
    }
    let (v2, fhir) = (api("apiv2"), api("fhir"));
    assert_eq!(
        v2.request(None, &fhir.read_only()),
        Err(ScopeRequestError::NoScopes)
    );
}

#[test]
fn a_name_too_long_for_a_scope_is_not_repeated() {
    // A client secret has 75 characters or more.
    let catalog = ScopeCatalog::elation();
    let api_type = catalog.api_type("apiv2").unwrap();
    let held = api_type.resolve(["system/patients.read"]);
    let secret = format!("cred_sandbox_{}", "x".repeat(65));
    let error = api_type.request(Some(&secret), &held).unwrap_err();
    assert!(!error.to_string().contains("xxx"), "{error}");
    let faults = catalog
        .parse_scopes(api_type, [secret.as_str()])
        .unwrap_err();
    assert!(!format!("{faults:?}").contains("xxx"), "{faults:?}");
}

/// An API type and a set of any of its scopes, also ones that may not be held together.
fn any_set() -> impl Strategy<Value = (Arc<ApiType>, ScopeSet)> {
    let ids = prop_oneof![Just("apiv2"), Just("fhir")];
    (
        ids,
        any::<u64>(),
        proptest::collection::vec(any::<usize>(), 0..30),
    )
        .prop_map(|(id, special, picks)| {
            let api = api(id);
            let names: Vec<_> = api.scopes().map(|scope| scope.name.clone()).collect();
            let mut chosen: BTreeSet<_> = picks
                .iter()
                .map(|pick| names[pick % names.len()].as_str())
                .collect();
            if special % 4 == 0 {
                chosen.extend(api.full_access().map(|scope| scope.name.as_str()));
            }
            let set = api.resolve(chosen);
            (api, set)
        })
}

proptest! {
    #[test]
    fn names_give_the_set_back((api, set) in any_set()) {
        prop_assert_eq!(api.resolve(api.names(&set)), set);
        prop_assert!(api.names(&set).is_sorted());
        let unlisted = api.names(&set).into_iter().chain(["system/gone.read"]);
        prop_assert_eq!(api.resolve(unlisted), set);
    }

    #[test]
    fn an_accepted_choice_passes_the_check((api, set) in any_set()) {
        let parsed = ScopeCatalog::elation().parse_scopes(&api, api.names(&set));
        prop_assert_eq!(parsed.is_ok(), api.check(&set).is_ok());
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed, set);
        }
    }

    #[test]
    fn read_only_never_holds_a_write((api, _) in any_set()) {
        for index in api.rights(&api.read_only()).iter() {
            let scope = api.scope_at(index).expect("its own");
            prop_assert_ne!(scope.permission, Some(Permission::Write));
            prop_assert_ne!(scope.kind, ScopeKind::FullAccess);
        }
        let read_only = api.read_only();
        let kinds = read_only.iter().filter_map(|index| api.scope_at(index)).map(|s| s.kind);
        prop_assert!(kinds.into_iter().all(|kind| kind == ScopeKind::Resource));
    }

    #[test]
    fn rights_grow_with_what_is_held((api, a) in any_set(), (_, b) in any_set()) {
        let rights = api.rights(&a);
        prop_assert!(a.is_subset(&rights));
        prop_assert_eq!(api.rights(&rights), rights);
        if let Some(both) = a.union(&b) {
            prop_assert!(rights.is_subset(&api.rights(&both)));
        }
    }

    #[test]
    fn a_request_never_gets_more_than_is_held((api, held) in any_set(), (_, asked) in any_set()) {
        let scope = api.names(&asked).join(" ");
        if let Ok(granted) = api.request(Some(&scope), &held)
            && let GrantedScopes::Named(named) = granted.scopes
        {
            prop_assert!(!named.is_empty());
            prop_assert!(api.rights(&named).is_subset(&api.rights(&held)));
            prop_assert!(api.check(&named).is_ok());
        }
    }

    #[test]
    fn any_scope_parameter_is_answered_safely((api, held) in any_set(), text in ".{0,60}") {
        if let Err(error) = api.request(Some(&text), &held) {
            // RFC 6749 §5.2: what `error_description` may hold.
            let safe = |b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            prop_assert!(error.to_string().bytes().all(safe));
        }
    }

    #[test]
    fn no_input_panics_or_opens_a_call(
        method in "[A-Z]{0,7}|.{0,4}",
        rest in "([/.;%?&=:_$*a-zA-Z0-9]|%[0-9a-fA-F]{2}|_include=|_has:|Patient|\\PC){0,24}",
        body in ".{0,30}",
    ) {
        for (api, needs) in [(api("apiv2"), "apiv2"), (api("fhir"), "system/*.read")] {
            let holder = api.rights(&api.resolve([needs]));
            for target in [rest.clone(), format!("{}/{rest}", api.base_path())] {
                for form in [SearchForm::None, SearchForm::Read(&body), SearchForm::Unseen] {
                    match api.requirement(&method, &target, form) {
                        Ok(needed @ Requirement::Scopes(_)) => {
                            prop_assert!(needed.is_met_by(&holder));
                            prop_assert!(!needed.is_met_by(&api.no_scopes()));
                        }
                        Ok(needed @ Requirement::Unlisted(_)) => {
                            prop_assert!(!needed.is_met_by(&holder));
                        }
                        Ok(Requirement::Public) => prop_assert_eq!(api.id().as_str(), "fhir"),
                        Err(_) => {}
                    }
                }
            }
        }
    }
}
