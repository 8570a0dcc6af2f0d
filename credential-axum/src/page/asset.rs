//! The files that the browser loads: part of the binary, under an address that changes with the
//! content.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, StatusCode, header};

/// Every file, in the order in which the browser needs them.
pub(super) static FILES: LazyLock<[Asset; 13]> = LazyLock::new(|| {
    [
        asset("page.css", CSS, include_str!("assets/page.css")),
        asset("icon.svg", SVG, include_str!("assets/icon.svg")),
        asset(WATCH, JS, include_str!("assets/watch.js")),
        asset("main.js", JS, include_str!("assets/main.js")),
        asset("preact.js", JS, PREACT),
        asset(
            "preact.LICENSE",
            TEXT,
            include_str!("assets/preact.LICENSE"),
        ),
        asset(
            "words.js",
            JS,
            concat!("export default ", include_str!("words.json"), ";\n"),
        ),
        asset("api.js", JS, include_str!("assets/api.js")),
        asset("ui.js", JS, include_str!("assets/ui.js")),
        asset("list.js", JS, include_str!("assets/list.js")),
        asset("keys.js", JS, include_str!("assets/keys.js")),
        asset("selection.js", JS, include_str!("assets/selection.js")),
        asset("editor.js", JS, include_str!("assets/editor.js")),
    ]
});

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
    pub(super) content: &'static str,
    /// The same as gzip (RFC 1952), made once.
    gzip: Bytes,
}

fn asset(name: &'static str, media_type: &'static str, content: &'static str) -> Asset {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let gzip = gzip
        .write_all(content.as_bytes())
        .and_then(|()| gzip.finish());
    Asset {
        name,
        media_type,
        content,
        // Writing to a `Vec` cannot fail. An empty one is never served: see `serve`.
        gzip: gzip.unwrap_or_default().into(),
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

/// Whether gzip is named and not refused (`q=0`), by RFC 9110 §12.5.3. No file here is a secret, so
/// that their length may be known.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = |weight: &str| {
            let (name, value) = weight.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
        };
        named && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_stay_below_140_kib_and_40_as_gzip() {
        let loaded = || FILES.iter().filter(|file| file.media_type != TEXT);
        let total = |size: fn(&Asset) -> usize| loaded().map(size).sum::<usize>();
        let (plain, gzip) = (
            total(|file| file.content.len()),
            total(|file| file.gzip.len()),
        );
        assert!(plain < 140 * 1024, "{plain} bytes");
        assert!(gzip < 40 * 1024, "{gzip} bytes as gzip");
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

    #[test]
    fn every_import_is_a_file_that_is_served() {
        for file in FILES.iter().filter(|file| file.is_module()) {
            for line in file.content.lines().filter(|line| line.contains(" from ")) {
                let Some((_, name)) = line.split_once("from \"./") else {
                    continue;
                };
                let name = name.trim_end_matches("\";");
                let found = FILES.iter().any(|file| file.name == name);
                assert!(found, "{} imports {name}", file.name);
            }
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
