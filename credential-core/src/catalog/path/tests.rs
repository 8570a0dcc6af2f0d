use super::*;
use proptest::prelude::*;

/// Path → why it is refused. Reviewed as a table: each row is one way around a check somewhere.
const REFUSED: &[(&str, PathError)] = &[
    ("", PathError::NotAbsolute),
    ("*", PathError::NotAbsolute),
    ("patients", PathError::NotAbsolute),
    ("http://host/patients", PathError::NotAbsolute),
    ("//", PathError::EmptySegment),
    ("//patients", PathError::EmptySegment),
    ("/a//b", PathError::EmptySegment),
    ("/a//", PathError::EmptySegment),
    ("/.", PathError::DotSegment),
    ("/..", PathError::DotSegment),
    ("/a/./b", PathError::DotSegment),
    ("/a/../b", PathError::DotSegment),
    ("/a/..", PathError::DotSegment),
    ("/a/../", PathError::DotSegment),
    ("/a\\b", PathError::Backslash),
    ("/\\a", PathError::Backslash),
    ("/a\0", PathError::Control),
    ("/a\tb", PathError::Control),
    ("/a\r\nb", PathError::Control),
    ("/a\x7f", PathError::Control),
    ("/a b", PathError::Space),
    ("/caf\u{e9}", PathError::NonAscii),
    ("/a;b", PathError::Semicolon),
    ("/a;x=1/b", PathError::Semicolon),
    ("/a%3Bb", PathError::Semicolon),
    ("/a%3bb", PathError::Semicolon),
    ("/a#b", PathError::Fragment),
    ("/a%", PathError::MalformedEscape),
    ("/a%2", PathError::MalformedEscape),
    ("/a%zz", PathError::MalformedEscape),
    ("/a%+1", PathError::MalformedEscape),
    ("/a%u002f", PathError::MalformedEscape),
    ("/a%C3%", PathError::MalformedEscape),
    ("/%61", PathError::NeedlessEscape),
    ("/%41", PathError::NeedlessEscape),
    ("/%30", PathError::NeedlessEscape),
    ("/%2e%2e", PathError::NeedlessEscape),
    ("/a/%2E", PathError::NeedlessEscape),
    ("/%2d", PathError::NeedlessEscape),
    ("/%5F", PathError::NeedlessEscape),
    ("/%7e", PathError::NeedlessEscape),
    ("/a%2Fb", PathError::EncodedDelimiter),
    ("/a%2fb", PathError::EncodedDelimiter),
    ("/a%5Cb", PathError::EncodedDelimiter),
    ("/a%252Fb", PathError::EncodedDelimiter),
    ("/Patient/%24export", PathError::EncodedDelimiter),
    ("/a%00", PathError::EncodedControl),
    ("/a%0d%0a", PathError::EncodedControl),
    ("/a%7F", PathError::EncodedControl),
    ("/a%C2%80", PathError::EncodedControl),
    ("/a%80", PathError::NotUtf8),
    ("/a%C0%AF", PathError::NotUtf8),
    ("/a%C3", PathError::NotUtf8),
    ("/a%C3a", PathError::NotUtf8),
    ("/a%C3%28", PathError::NotUtf8),
    ("/a%E0%80%AF", PathError::NotUtf8),
    ("/a%ED%A0%80", PathError::NotUtf8),
    ("/a%F5%80%80%80", PathError::NotUtf8),
    ("/a%FF", PathError::NotUtf8),
];

#[test]
fn spellings_that_could_be_read_differently_are_refused() {
    for (path, why) in REFUSED {
        assert_eq!(check(path), Err(*why), "{path:?}");
    }
}

#[test]
fn ordinary_paths_are_accepted() {
    for path in [
        "/",
        "/patients",
        "/patients/",
        "/patients/64/policies",
        "/.well-known/x",
        "/a.b/..c/d../...",
        "/$export",
        "/a+b,c:d@e!f*g(h)i'j=k&l~m",
        "/a%20b",
        "/a%3Ab",
        "/caf%C3%A9",
        "/%e2%82%ac/%F0%9F%98%80",
    ] {
        assert_eq!(check(path), Ok(()), "{path:?}");
    }
}

#[test]
fn literal_segments_have_one_spelling() {
    for text in ["patients", "card-images", "release_to.pms~1", "$export"] {
        assert!(is_literal_segment(text), "{text}");
    }
    for text in [
        "",
        ".",
        "..",
        "a b",
        "a%20b",
        "a/b",
        "a;b",
        "{id}",
        "*",
        "caf\u{e9}",
    ] {
        assert!(!is_literal_segment(text), "{text}");
    }
}

#[test]
fn a_path_is_below_its_base_only_at_a_segment_boundary() {
    let segments = |path, base| below(path, base).map(Iterator::collect::<Vec<_>>);
    assert_eq!(segments("/v1/a/b", "/v1"), Some(vec!["a", "b"]));
    assert_eq!(segments("/v1/a/b/", "/v1"), Some(vec!["a", "b"]));
    assert_eq!(segments("/v1", "/v1"), Some(vec![]));
    assert_eq!(segments("/v1/", "/v1"), Some(vec![]));
    assert_eq!(segments("/v10/a", "/v1"), None);
    assert_eq!(segments("/V1/a", "/v1"), None);
    assert_eq!(segments("/", ""), Some(vec![]));
    assert_eq!(segments("/a", ""), Some(vec!["a"]));
}

#[test]
fn a_glance_suffices_for_an_ordinary_path() {
    assert!(is_plain(b"/api/2.0/patients/140857911017474/"));
    for (path, _) in REFUSED {
        assert!(!is_plain(path.as_bytes()), "{path:?}");
    }
}

proptest! {
    #[test]
    fn a_glance_accepts_no_more_than_a_closer_look(path in "/?([a-z/.;%\\\\#2]|\\PC|[\0-\x20]){0,8}") {
        if is_plain(path.as_bytes()) {
            prop_assert_eq!(closely(path.as_bytes()), Ok(()));
        }
    }
}
