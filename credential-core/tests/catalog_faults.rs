//! A catalogue that is wrong is refused as a whole, with everything that is wrong with it.

use credential_core::catalog::{
    ApiTypeBuilder, CatalogError, CategoryBuilder, PathRules, ResourceBuilder, ScopeCatalog,
};

fn faults(text: &str) -> String {
    ScopeCatalog::from_toml(text)
        .expect_err("faulty")
        .to_string()
}

/// Every fault of `data/broken.toml`. Reviewed as a list.
const EXPECTED: &str = include_str!("data/broken.faults.txt");

#[test]
fn every_fault_of_a_file_is_reported_at_once() {
    let error = ScopeCatalog::from_toml(include_str!("data/broken.toml")).expect_err("broken");
    assert_eq!(error.to_string(), EXPECTED.trim_end());
    assert_eq!(error.faults().len(), EXPECTED.lines().count());
}

#[test]
fn what_is_not_toml_of_this_shape_is_reported_with_its_line() {
    for (text, place, message) in [
        ("\n\n= 1", "line 3", ""),
        ("[[api_type]]\nid = 1", "line 2", "invalid type"),
        ("\n[[api_types]]", "line 2", "unknown field `api_types`"),
        (
            "[[api_type]]\nlabel = \"x\"",
            "line 1",
            "missing field `id`",
        ),
    ] {
        let error = ScopeCatalog::from_toml(text).expect_err("not a catalogue");
        let [fault] = error.faults() else {
            panic!("{error}")
        };
        assert_eq!(fault.place, place, "{error}");
        assert!(fault.message.contains(message), "{error}");
    }
    assert_eq!(faults(""), "catalogue: lists no api_type");
}

fn with_scopes(count: usize) -> Result<ScopeCatalog, CatalogError> {
    let mut category = CategoryBuilder::new("all", "All");
    for n in 0..count {
        let resource = ResourceBuilder::new(format!("r{n}"), "Resource");
        category = category.resource(resource.read(format!("r{n}.read"), "Read"));
    }
    let api_type = ApiTypeBuilder::new("many", "Many", "").category(category);
    ScopeCatalog::builder().api_type(api_type).build()
}

#[test]
fn an_api_type_lists_at_most_512_scopes() {
    let most = with_scopes(512).expect("fits");
    let api = most.api_type("many").expect("listed");
    assert_eq!(api.read_only().len(), 512);
    assert_eq!(api.names(&api.read_only()).len(), 512);
    let error = with_scopes(513).expect_err("one too many");
    assert_eq!(
        error.to_string(),
        "api_type \"many\": lists 513 scopes, the most is 512"
    );
}

/// A route row that could never match is a fault where it stands, not a weaker rule's silent turn.
#[test]
fn a_row_that_can_never_match_is_refused() {
    let refused = |method: &str, path: &str| {
        let api_type = ApiTypeBuilder::new("a", "A", "/api/v1")
            .full_access("all", "All", false)
            .route(method, path, "all");
        let built = ScopeCatalog::builder().api_type(api_type).build();
        built.err().map(|error| error.to_string())
    };
    for method in [
        "*", "GET", "HEAD", "POST", "PATCH", "OPTIONS", "PROPFIND", "QUERY",
    ] {
        assert_eq!(refused(method, "/invoices/{id}/send"), None, "{method}");
    }
    for (method, meant) in [
        ("POTS", "is `*` meant?"),
        ("ANY", "is `*` meant?"),
        ("any", "is `*` meant?"),
        ("ALL", "is `*` meant?"),
        ("", "is `*` meant?"),
        ("post", "is `POST` meant?"),
        ("Get", "is `GET` meant?"),
        ("GET,POST", "is `*` meant?"),
        ("GET ", "is `*` meant?"),
        // Refused or taken by others before any rule is asked.
        ("TRACE", "is `*` meant?"),
        ("CONNECT", "is `*` meant?"),
    ] {
        let said = refused(method, "/invoices/{id}/send").unwrap_or_default();
        let place = format!("api_type \"a\": route \"{method} /invoices/{{id}}/send\": ");
        assert!(said.starts_with(&place) && said.ends_with(meant), "{said}");
    }
    for path in ["/api/v1/invoices/{id}/send", "/api/v1", "/api/v1/{*rest}"] {
        let said = refused("POST", path).unwrap_or_default();
        let expected = format!(
            "api_type \"a\": route \"POST {path}\": the path repeats the base_path `/api/v1`, behind \
             which it begins"
        );
        assert_eq!(said, expected);
    }
    for path in ["/api", "/api/v10/x", "/api/v2/invoices"] {
        assert_eq!(refused("POST", path), None, "{path}");
    }
}

fn warnings(text: &str) -> Vec<String> {
    let catalog = ScopeCatalog::from_toml(text).expect("right");
    catalog.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn catalogues_that_are_in_use_have_no_warnings() {
    assert_eq!(ScopeCatalog::elation().warnings(), []);
    let payments = include_str!("data/payments.toml");
    assert_eq!(warnings(payments), [""; 0]);
}

#[test]
fn what_has_no_effect_is_warned_of_with_its_place() {
    let category = CategoryBuilder::new("all", "All")
        .resource(ResourceBuilder::new("invoices", "Invoices").read("invoices.read", "Read"))
        .resource(
            ResourceBuilder::new("bills", "Bills")
                .read("bills.read", "Read")
                .write("bills.write", "Write"),
        )
        .resource(ResourceBuilder::new("refunds", "Refunds").write("refunds.write", "Write"));
    let mut first = ApiTypeBuilder::new("a", "A", "/api/v1")
        .category(category.clone())
        // Every call of the segment, by rows: the convention has none left.
        .route("*", "/bills", "bills.read")
        .route("*", "/bills/{*rest}", "bills.read")
        .route("POST", "/v1/invoices", "invoices.read")
        .public_route("*", "/status")
        .public_route("GET", "/hooks/ping");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        first = first.route(method, "/status", "invoices.read");
    }
    let hooks = ResourceBuilder::new("hooks", "Hooks")
        .read("hooks.read", "Read")
        .write("hooks.write", "Write");
    let second = ApiTypeBuilder::new("b", "B", "/api/v1/hooks")
        .rules(PathRules::RoutesOnly)
        .category(CategoryBuilder::new("all", "All").resource(hooks))
        .route("GET", "/", "hooks.read");
    let builder = ScopeCatalog::builder().api_type(first).api_type(second);
    let catalog = builder.build().expect("right");
    let said: Vec<_> = catalog.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "api_type \"a\": route \"POST /v1/invoices\": the row matches `/api/v1/v1/invoices`; is that meant?",
            "api_type \"a\": route \"* /status\": the row never decides, because GET, POST, PUT, PATCH, DELETE have rows of their own",
            "api_type \"a\": route \"GET /hooks/ping\": the row never decides, because `/api/v1/hooks` is the base_path of api_type `b`",
            "api_type \"a\": no call needs scope `bills.write`, unless the host's code requires it by name",
            "api_type \"b\": no call needs scope `hooks.write`, unless the host's code requires it by name",
        ]
    );
    // Without rows, each scope is for the host's code to require.
    let named = ApiTypeBuilder::new("c", "C", "")
        .rules(PathRules::RoutesOnly)
        .category(category);
    let catalog = ScopeCatalog::builder().api_type(named).build();
    assert_eq!(catalog.expect("right").warnings(), []);
}

#[test]
fn an_unknown_error_body_is_refused_with_the_list() {
    let payments = include_str!("data/payments.toml");
    for known in ["problem", "detail", "operation-outcome"] {
        let text = payments.replace(
            "error_body = \"problem\"",
            &format!("error_body = \"{known}\""),
        );
        assert!(ScopeCatalog::from_toml(&text).is_ok(), "{known}");
    }
    for unknown in ["xyz", "", "Problem", "operationoutcome"] {
        let text = payments.replacen("\"problem\"", &format!("\"{unknown}\""), 1);
        assert_eq!(
            faults(&text),
            format!(
                "api_type \"payments\": error_body `{unknown}` is not `problem`, `detail` or \
                 `operation-outcome`"
            )
        );
    }
}

#[test]
fn templates_are_checked() {
    let with_path = |path: &str| {
        let api_type = ApiTypeBuilder::new("a", "A", "")
            .full_access("all", "All", false)
            .public_route("GET", path);
        ScopeCatalog::builder().api_type(api_type).build()
    };
    for path in [
        "/",
        "/a",
        "/a/{id}",
        "/a/{id}/$op",
        "/{*rest}",
        "/.well-known/{*rest}",
        "/a.b/~c",
    ] {
        assert!(with_path(path).is_ok(), "{path}");
    }
    let deep = "/a".repeat(33);
    for path in [
        "",
        "a",
        "/a/",
        "//",
        "/a//b",
        "/..",
        "/a/.",
        "/a b",
        "/a%20b",
        "/a;b",
        "/a?b",
        "/{id",
        "/id}",
        "/{}",
        "/{*}",
        "/x{id}",
        "/{id}x",
        "/{a}/{a}",
        "/{*rest}/b",
        "/*",
        &deep,
    ] {
        assert!(with_path(path).is_err(), "{path}");
    }
}
