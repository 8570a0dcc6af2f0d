use proptest::prelude::*;

use super::*;
use crate::testing::SeededEntropy;

proptest! {
    #[test]
    fn tenant_ids_read_back(text in "[!-~]{1,128}") {
        prop_assert_eq!(TenantId::new(&text).unwrap().to_string(), text.as_str());
        prop_assert_eq!(text.parse::<TenantId>(), TenantId::new(&text));
    }

    #[test]
    fn actor_ids_read_back(text in "\\PC{1,128}") {
        let id = ActorId::new(&text).unwrap();
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn drawn_ids_read_back(seed: u64, production: bool, prefix in "[a-z][a-z0-9]{1,15}") {
        let entropy = SeededEntropy::new(seed);
        let credential = CredentialId::random(&entropy);
        prop_assert_eq!(credential.to_string().parse(), Ok(credential));
        let selector = ProofId::random(&entropy);
        prop_assert_eq!(selector.to_string().parse(), Ok(selector));
        prop_assert_eq!(ProofId::from_number(selector.to_number()), Some(selector));

        let environment = Environment::ALL[usize::from(production)];
        prop_assert_eq!(environment.to_string().parse(), Ok(environment));
        let prefix: ClientIdPrefix = prefix.parse().unwrap();
        let client = ClientId::generate(&prefix, environment, &entropy);
        let read = client.to_string().parse::<ClientId>().unwrap();
        prop_assert_eq!(&read, &client);
        prop_assert_eq!(read.environment(), environment);
        let start = format!("{}_{environment}_", prefix.as_str());
        prop_assert!(client.as_str().starts_with(&start));
        prop_assert_eq!(client.as_str().len(), start.len() + 22);
    }
}

#[test]
fn other_text_is_refused() {
    let long = "x".repeat(129);
    for text in ["", " ", "a b", "a\n", "ä", "\u{7f}", &long] {
        assert!(TenantId::new(text).is_err(), "{text:?}");
    }
    for text in ["", "a\nb", "\u{85}", &long] {
        assert!(ActorId::new(text).is_err(), "{text:?}");
    }
    for text in ["", "a", "1a", "Ab", "a_b", "abcdefghijklmnopq"] {
        assert!(ClientIdPrefix::new(text).is_err(), "{text:?}");
    }
    let hex = "0123456789abcdef0123456789abcdef";
    for text in [
        "",
        &hex[1..],
        &hex.to_uppercase(),
        &format!("+{}", &hex[1..]),
    ] {
        assert!(text.parse::<CredentialId>().is_err(), "{text:?}");
    }
    for text in [
        "",
        "0123456789abcde",
        "0123456789abcdefg",
        "0123456789abcde_",
    ] {
        assert!(ProofId::parse(text).is_err(), "{text:?}");
    }
    for text in ["", "Sandbox", "staging", "sandbox "] {
        assert!(text.parse::<Environment>().is_err(), "{text:?}");
    }
    let random = "0123456789abcdefABCDEF";
    assert!(ClientId::parse(&format!("cred_sandbox_{random}")).is_ok());
    for text in [
        String::new(),
        random.to_owned(),
        format!("cred_{random}"),
        format!("_sandbox_{random}"),
        format!("cred_staging_{random}"),
        format!("cred_sandbox_{random}x"),
        format!("cred_sandbox__{}", &random[1..]),
        format!("cred_sandbox_{} ", &random[1..]),
        format!("CRED_sandbox_{random}"),
    ] {
        assert!(ClientId::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn errors_do_not_repeat_the_text() {
    let error = ClientId::parse("cred_sandbox_hunter2")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("not a client id: expected ") && !error.contains("hunter2"));
}

#[test]
fn a_number_too_large_is_no_selector() {
    let last = ProofId::parse("zzzzzzzzzzzzzzzz").unwrap().to_number();
    assert!(last < 1 << 96);
    assert_eq!(ProofId::from_number(last + 1), None);
}
