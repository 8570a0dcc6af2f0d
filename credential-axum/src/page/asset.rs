//! The files that the browser loads: part of the binary, under an address that changes with the
//! content.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use flate2::Compression;
use http::{HeaderMap, StatusCode, header};

use crate::gzip::{accepts_gzip, gzip};

/// Every file, in the order in which the browser needs them.
pub(super) static FILES: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    use When::{KeyPage, List, Needed, Never, Start};
    vec![
        asset("page.css", CSS, Start, include_str!("assets/page.css")),
        asset("icon.svg", SVG, Start, include_str!("assets/icon.svg")),
        asset(WATCH, JS, Start, include_str!("assets/watch.js")),
        module("main.js", List, include_str!("assets/main.js")),
        module("list.js", List, include_str!("assets/list.js")),
        module("key.js", KeyPage, include_str!("assets/key.js")),
        module("preact.js", Start, PREACT),
        asset(
            "preact.LICENSE",
            TEXT,
            Never,
            include_str!("assets/preact.LICENSE"),
        ),
        module(
            "words.js",
            Start,
            concat!("export default ", include_str!("words.json"), ";\n"),
        ),
        module("api.js", Start, include_str!("assets/api.js")),
        module("app.js", Start, include_str!("assets/app.js")),
        module("ui.js", Start, include_str!("assets/ui.js")),
        module("key-use.js", KeyPage, include_str!("assets/key-use.js")),
        module(
            "key-secrets.js",
            KeyPage,
            include_str!("assets/key-secrets.js"),
        ),
        module(
            "key-activity.js",
            KeyPage,
            include_str!("assets/key-activity.js"),
        ),
        module(
            "key-networks.js",
            KeyPage,
            include_str!("assets/key-networks.js"),
        ),
        module(
            "key-proofs.js",
            KeyPage,
            include_str!("assets/key-proofs.js"),
        ),
        module("selection.js", KeyPage, include_str!("assets/selection.js")),
        module("dialog.js", KeyPage, include_str!("assets/dialog.js")),
        module("form.js", KeyPage, include_str!("assets/form.js")),
        module("add-proof.js", Needed, include_str!("assets/add-proof.js")),
        module("jwk.js", Needed, include_str!("assets/jwk.js")),
        module("workload.js", Needed, include_str!("assets/workload.js")),
        module("name.js", Needed, include_str!("assets/name.js")),
        module("create.js", Needed, include_str!("assets/create.js")),
        module("secret.js", Needed, include_str!("assets/secret.js")),
        module("editor.js", Needed, include_str!("assets/editor.js")),
        module(
            "description.js",
            Needed,
            include_str!("assets/description.js"),
        ),
        module("expiry.js", Needed, include_str!("assets/expiry.js")),
        module("export.js", Needed, include_str!("assets/export.js")),
        module("file.js", Needed, include_str!("assets/file.js")),
        module("question.js", Needed, include_str!("assets/question.js")),
        module("rename.js", Needed, include_str!("assets/rename.js")),
        module("rotate.js", Needed, include_str!("assets/rotate.js")),
    ]
});

/// When a page loads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// With every page.
    Start,
    /// With the list, and not with a key's page.
    List,
    /// With a key's page. The list loads it once it is needed.
    KeyPage,
    /// Once a dialog needs it.
    Needed,
    Never,
}

/// Reports that the other scripts did not load. The only script that is not a module.
pub(super) const WATCH: &str = "watch.js";

/// Preact 10.29.8, `dist/preact.module.js` as published: state in, view out, without `eval` or markup
/// strings. A test holds its hash. Its licence requires the notice with every copy: the notice is
/// served beside it, and not loaded.
const PREACT: &str = concat!(
    "// Preact, MIT: see preact.LICENSE\n",
    include_str!("assets/preact.js")
);

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

pub(super) struct Asset {
    pub(super) name: &'static str,
    pub(super) media_type: &'static str,
    pub(super) when: When,
    pub(super) content: &'static str,
    /// The same as gzip (RFC 1952), made once.
    gzip: Bytes,
}

fn module(name: &'static str, when: When, content: &'static str) -> Asset {
    asset(name, JS, when, content)
}

fn asset(name: &'static str, media_type: &'static str, when: When, content: &'static str) -> Asset {
    Asset {
        name,
        media_type,
        when,
        content,
        gzip: gzip(content.as_bytes(), Compression::best()),
    }
}

impl Asset {
    pub(super) fn is_module(&self) -> bool {
        self.media_type == JS && self.name != WATCH
    }
}

/// Names the content of all files together. One for all, because modules name each other by
/// relative addresses.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    // FNV-1a, 64 bits: it distinguishes builds, and needs no resistance against attacks.
    let bytes = FILES.iter().flat_map(|file| file.content.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
});

/// The file of that name, or `None`.
///
/// Another version's address gets this version's content, uncached: while nodes are updated one by
/// one, a page may ask a node of the other version.
pub(super) fn serve(version: &str, name: &str, headers: &HeaderMap) -> Option<Response> {
    let file = FILES.iter().find(|file| file.name == name)?;
    let gzip = !file.gzip.is_empty() && accepts_gzip(headers);
    let encoding = if gzip { "gzip" } else { "identity" };
    let etag = format!("\"{}-{encoding}\"", *VERSION);
    let cache_control = if version == *VERSION {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = headers.get(header::IF_NONE_MATCH);
    let unchanged = known.is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let headers = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CACHE_CONTROL, cache_control),
        (header::ETAG, &etag),
        (header::VARY, "accept-encoding"),
    ];
    Some(if unchanged {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else if gzip {
        let encoding = [(header::CONTENT_ENCODING, encoding)];
        (headers, encoding, file.gzip.clone()).into_response()
    } else {
        (headers, file.content).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(whens: &[When]) -> (usize, usize) {
        let loaded = || FILES.iter().filter(|file| whens.contains(&file.when));
        let plain = loaded().map(|file| file.content.len()).sum();
        (plain, loaded().map(|file| file.gzip.len()).sum())
    }

    #[test]
    fn the_first_view_stays_below_140_kib_and_40_as_gzip() {
        let (plain, gzip) = sizes(&[When::Start, When::List]);
        assert!(plain < 140 * 1024, "{plain} bytes");
        assert!(gzip < 40 * 1024, "{gzip} bytes as gzip");
    }

    #[test]
    fn a_keys_page_stays_below_60_kib_as_gzip_and_all_together_below_90() {
        let (_, gzip) = sizes(&[When::Start, When::KeyPage]);
        assert!(gzip < 60 * 1024, "{gzip} bytes as gzip");
        let whens = [When::Start, When::List, When::KeyPage, When::Needed];
        let (_, gzip) = sizes(&whens);
        assert!(gzip < 90 * 1024, "{gzip} bytes as gzip");
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        use std::io::Read as _;

        let with = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
            }
            headers
        };
        let takes: [&[&str]; 5] = [
            &["gzip"],
            &["br, GZIP;q=0.5"],
            &["deflate", "gzip"],
            &["gzip;q=1.000"],
            &["gzip ; q=0.001"],
        ];
        let refuses: [&[&str]; 7] = [
            &[],
            &[""],
            &["identity"],
            &["gzip;q=0"],
            &["gzip; Q=0.000"],
            &["xgzip, gzipp"],
            &["br;q=1, *;q=0"],
        ];
        for accept in takes {
            let response = serve(&VERSION, "main.js", &with(accept)).unwrap();
            assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
        for accept in refuses {
            let response = serve(&VERSION, "main.js", &with(accept)).unwrap();
            let encoding = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(encoding, None, "{accept:?}");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
        for file in FILES.iter() {
            let mut plain = String::new();
            let mut decoder = flate2::read::GzDecoder::new(&file.gzip[..]);
            decoder.read_to_string(&mut plain).unwrap();
            assert_eq!(plain, file.content);
        }
    }

    #[test]
    fn preact_is_what_was_published() {
        use sha2::{Digest as _, Sha256};

        let published = "c30e721ebfdc6e2ad4c18c14d2dfb82667829c8aec27de1207774e3fc16858a8";
        let (notice, code) = PREACT.split_once('\n').unwrap();
        let found = Sha256::digest(code)
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(found, published);
        assert!(notice.contains("preact.LICENSE"));
        let licence = FILES
            .iter()
            .find(|file| file.name == "preact.LICENSE")
            .unwrap();
        assert!(licence.content.contains("Jason Miller"));
        assert!(!code.contains("eval(") && !code.contains("Function("));
    }

    /// The files that a module names: those it cannot start without, and those it loads later.
    fn imports(file: &Asset) -> (Vec<&'static str>, Vec<&'static str>) {
        let named = |before: &str| {
            let pieces = file.content.split(before).skip(1);
            pieces
                .map(|rest| rest.split('"').next().unwrap())
                .collect::<Vec<_>>()
        };
        (named(" from \"./"), named("import(\"./"))
    }

    fn find(name: &str) -> &'static Asset {
        FILES
            .iter()
            .find(|file| file.name == name)
            .unwrap_or_else(|| panic!("{name} is not served"))
    }

    #[test]
    fn every_import_is_a_file_that_is_served() {
        let mut named = vec!["main.js", "key.js"];
        for file in FILES.iter().filter(|file| file.is_module()) {
            let (now, later) = imports(file);
            for name in now.into_iter().chain(later) {
                find(name);
                named.push(name);
            }
        }
        for file in FILES.iter().filter(|file| file.is_module()) {
            assert!(named.contains(&file.name), "nothing imports {}", file.name);
        }
    }

    #[test]
    fn a_page_loads_at_once_what_it_starts_with_and_nothing_else() {
        for (entry, own) in [("main.js", When::List), ("key.js", When::KeyPage)] {
            let mut found = vec![entry];
            let mut at = 0;
            while let Some(name) = found.get(at) {
                let (now, _) = imports(find(name));
                found.extend(
                    now.into_iter()
                        .filter(|name| !found.contains(name))
                        .collect::<Vec<_>>(),
                );
                at += 1;
            }
            let mut expected: Vec<_> = FILES
                .iter()
                .filter(|file| file.is_module() && [When::Start, own].contains(&file.when))
                .map(|file| file.name)
                .collect();
            found.sort_unstable();
            found.dedup();
            expected.sort_unstable();
            assert_eq!(found, expected, "{entry}");
        }
    }

    #[test]
    fn another_version_is_answered_and_not_kept() {
        let response = serve("0", "main.js", &HeaderMap::new()).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        assert!(serve(&VERSION, "main.rs", &HeaderMap::new()).is_none());
    }
}
