//! A catalogue that is wrong is refused as a whole, with everything that is wrong with it.

use credential_core::catalog::{
    ApiTypeBuilder, CatalogError, CategoryBuilder, ResourceBuilder, ScopeCatalog,
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
