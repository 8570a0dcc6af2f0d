//! How long an answer may be used (RFC 9111 §4.2).

use std::time::Duration;

use hyper::{
    HeaderMap,
    header::{AGE, CACHE_CONTROL, HeaderName},
};

/// What `Cache-Control` leaves of it; `None` if it says nothing of that.
pub(crate) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut shortest: Option<u64> = None;
    for directive in texts(headers, &CACHE_CONTROL).flat_map(|it| it.split(',')) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => 0,
            // What cannot be read is stale.
            "max-age" => argument.trim().trim_matches('"').parse().unwrap_or(0),
            _ => continue,
        };
        shortest = Some(shortest.map_or(seconds, |it| it.min(seconds)));
    }
    // How long it has been on its way from a cache to us.
    let spent = texts(headers, &AGE).filter_map(|it| it.trim().parse().ok());
    let spent = spent.max().unwrap_or(0);
    shortest.map(|seconds| Duration::from_secs(seconds.saturating_sub(spent)))
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_time_counts() {
        let both: &[&[(HeaderName, &str)]] = &[&[(CACHE_CONTROL, "max-age=600"), (AGE, "60")]];
        assert_eq!(of(both[0]), Some(540));
        for (headers, seconds) in [
            (&[][..], None),
            (&[(AGE, "60")], None),
            (&[(CACHE_CONTROL, "public, must-revalidate")], None),
            (&[(CACHE_CONTROL, "x-max-age=5, s-maxage=7")], None),
            (&[(CACHE_CONTROL, "public, Max-Age=600")], Some(600)),
            (&[(CACHE_CONTROL, "max-age=\"600\"")], Some(600)),
            (&[(CACHE_CONTROL, "max-age=600, max-age=7")], Some(7)),
            (&[(CACHE_CONTROL, "max-age=600, no-store")], Some(0)),
            (&[(CACHE_CONTROL, "no-cache=\"Set-Cookie\"")], Some(0)),
            (&[(CACHE_CONTROL, "max-age")], Some(0)),
            (&[(CACHE_CONTROL, "max-age=-1")], Some(0)),
            (&[(CACHE_CONTROL, "max-age=soon")], Some(0)),
            (
                &[(CACHE_CONTROL, "max-age=600"), (CACHE_CONTROL, "no-cache")],
                Some(0),
            ),
            (&[(CACHE_CONTROL, "max-age=60"), (AGE, "61")], Some(0)),
            (&[(CACHE_CONTROL, "max-age=60"), (AGE, "old")], Some(60)),
        ] {
            assert_eq!(of(headers), seconds, "{headers:?}");
        }
    }

    fn of(headers: &[(HeaderName, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| {
            let value = value.parse().unwrap();
            (name.clone(), value)
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        max_age(&map).map(|it| it.as_secs())
    }
}
