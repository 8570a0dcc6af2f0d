//! `Content-Type` (RFC 9110 §8.3), read by a library.

use http::{HeaderMap, header::CONTENT_TYPE};
use mediatype::MediaType;

const FORM: &str = "application/x-www-form-urlencoded";

/// The one `Content-Type` of a request. Two parsers may choose different ones of several.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<MediaType<'_>> {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(header), None) = (all.next(), all.next()) else {
        return None;
    };
    MediaType::parse(header.to_str().ok()?).ok()
}

/// True if the type is `essence`, whatever its parameters say.
pub(crate) fn is_type(media_type: &MediaType<'_>, essence: &str) -> bool {
    MediaType::parse(essence).is_ok_and(|known| known == media_type.essence())
}

/// True for a form. Its media type defines no parameters, so they are ignored.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|media_type| is_type(&media_type, FORM))
}

/// True for a form without parameters but a charset of UTF-8.
pub(crate) fn is_utf8_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|media_type| {
        is_type(&media_type, FORM)
            && media_type.params.iter().all(|(name, value)| {
                *name == "charset" && value.unquoted_str().eq_ignore_ascii_case("utf-8")
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(CONTENT_TYPE, value);
        }
        headers
    }

    #[test]
    fn one_form_in_every_spelling() {
        for form in [
            FORM,
            "Application/X-WWW-Form-Urlencoded",
            "application/x-www-form-urlencoded;charset=utf-8",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "application/x-www-form-urlencoded; charset=\"utf-8\"",
            "application/x-www-form-urlencoded;Charset=\"UTF-8\"",
            "application/x-www-form-urlencoded; charset=\"ut\\f-8\"",
            "application/x-www-form-urlencoded \t;\t charset=utf-8",
            "application/x-www-form-urlencoded; charset=\"utf-8\" ; charset=utf-8",
            "application/x-www-form-urlencoded;",
        ] {
            let headers = headers(&[form]);
            assert!(is_form(&headers) && is_utf8_form(&headers), "{form}");
        }
    }

    #[test]
    fn a_form_that_says_more_of_itself_is_not_plain() {
        for form in [
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=\"utf-8 \"",
            "application/x-www-form-urlencoded; charset=",
            "application/x-www-form-urlencoded; charset=utf-8; charset=utf-7",
            "application/x-www-form-urlencoded; charset=\"utf-8; charset=utf-7\"",
            "application/x-www-form-urlencoded; boundary=utf-8",
        ] {
            let headers = headers(&[form]);
            assert!(is_form(&headers), "{form}");
            assert!(!is_utf8_form(&headers), "{form}");
        }
    }

    #[test]
    fn everything_else_is_no_form() {
        for other in [
            &[][..],
            &[FORM, FORM],
            &[""],
            &["application/fhir+json"],
            &["application/x-www-form-urlencodedx"],
            &["application/x-www-form-urlencoded+json"],
            &["application/x-www-form-urlencoded, application/json"],
            &["application/x-www-form-urlencoded; charset"],
            &["application/x-www-form-urlencoded; charset=\"utf-8"],
            &["application/x-www-form-urlencoded; charset=\"utf-8\"x"],
            &["application/x-www-form-urlencoded; é=1"],
        ] {
            let headers = headers(other);
            assert!(!is_form(&headers) && !is_utf8_form(&headers), "{other:?}");
        }
    }
}
