//! The warm paths, counted: how often they allocate.

mod common;

use std::net::IpAddr;

use allocation_counter::measure;
use common::Deployment;
use credential_core::catalog::SearchForm;
use tokio::runtime::Builder;

#[test]
fn a_warm_authorization_allocates_nothing() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let deployment = Deployment::new();
    let (apiv2, fhir) = runtime.block_on(async {
        deployment.node.catch_up().await.unwrap();
        let apiv2 = deployment
            .key("Lab", "apiv2", &["system/patients.read"])
            .await;
        let fhir = deployment
            .key("App", "fhir", &["system/Patient.read"])
            .await;
        let follows = apiv2.token(&deployment.node, None).await;
        let named = fhir
            .token(&deployment.node, Some("system/Patient.read"))
            .await;
        (follows, named)
    });
    for (token, api_type, path, allowed) in [
        (&apiv2, "apiv2", "/api/2.0/patients/12345/", true),
        (&apiv2, "apiv2", "/api/2.0/bills/12345/", false),
        (&fhir, "fhir", "/fhir/r4/Patient/12345", true),
        (&fhir, "fhir", "/fhir/r4/Patient?name=lee&_count=10", true),
    ] {
        let api_type = deployment.node.catalog().api_type(api_type).unwrap();
        let authorize = || {
            let access = runtime.block_on(deployment.node.verify(token)).unwrap();
            let requirement = api_type.requirement("GET", path, SearchForm::None).unwrap();
            assert_eq!(access.permits(&requirement), allowed);
        };
        authorize(); // warms the caches
        let counted = measure(authorize);
        assert_eq!(counted.count_total, 0, "{path}");
    }
}

#[test]
fn neither_does_one_of_a_credential_with_three_networks() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let deployment = Deployment::new();
    let token = runtime.block_on(async {
        deployment.node.catch_up().await.unwrap();
        let key = deployment
            .key("Lab", "apiv2", &["system/patients.read"])
            .await;
        let token = key.token(&deployment.node, None).await;
        let networks = ["2001:db8::/32", "192.0.2.0/24", "198.51.100.7"];
        deployment.set_networks(&key, &networks).await;
        token
    });
    for (address, allowed) in [("198.51.100.7", true), ("198.51.100.8", false)] {
        let address: IpAddr = address.parse().unwrap();
        let authorize = || {
            let bearer = deployment.node.bearer(&token).called_from(&address);
            runtime.block_on(bearer.verify()).is_ok()
        };
        for _ in 0..2 {
            assert_eq!(authorize(), allowed); // warms the caches: the state, then the token's entry
        }
        let counted = measure(|| assert_eq!(authorize(), allowed));
        if allowed {
            assert_eq!(counted.count_total, 0, "{address}");
        }
    }
}

#[test]
fn a_warm_authentication_allocates_the_client_id_only() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let deployment = Deployment::new();
    let key = runtime.block_on(async {
        deployment.node.catch_up().await.unwrap();
        deployment
            .key("Lab", "apiv2", &["system/patients.read"])
            .await
    });
    let authenticate = || {
        runtime
            .block_on(deployment.node.authenticate(&key.client_id, &key.secret))
            .unwrap()
    };
    authenticate();
    let counted = measure(|| drop(authenticate()));
    assert!(counted.count_total <= 1, "{counted:?}");
}
