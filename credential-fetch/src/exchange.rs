//! One request and its answer, on a connection of its own.

use std::future;

use credential_core::outbound::{Document, MAX_DOCUMENT};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use mediatype::{
    MediaType,
    names::{APPLICATION, JSON},
};
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Position, Url};

use crate::{failure::Failure, freshness};

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Asks for the document and reads it. The connection ends with the future.
pub(crate) async fn get(
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Document, Failure> {
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, "credential-fetch")
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failure::Url)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Http)?;
    let exchange = async {
        let answer = sender.send_request(request).await;
        read(answer.map_err(|_| Failure::Http)?).await
    };
    let drive = async {
        // The exchange hears of its end, and may have to read what has come before.
        _ = connection.await;
        future::pending::<()>().await;
    };
    tokio::select! {
        document = exchange => document,
        () = drive => Err(Failure::Http),
    }
}

async fn read(answer: Response<Incoming>) -> Result<Document, Failure> {
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(Failure::Status(head.status.as_u16()));
    }
    if !is_json(&head.headers) {
        return Err(Failure::ContentType);
    }
    let mut codings = head.headers.get_all(CONTENT_ENCODING).into_iter();
    if !codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Failure::Compressed);
    }
    let body = Limited::new(body, MAX_DOCUMENT).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Failure::TooLarge,
        None => Failure::Http,
    })?;
    Ok(Document {
        body: body.to_bytes().into(),
        max_age: freshness::max_age(&head.headers),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).into_iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let only = only.to_str().ok().and_then(|it| MediaType::parse(it).ok());
    only.is_some_and(|it| {
        it.ty == APPLICATION && (it.suffix == Some(JSON) || it.subty == JSON && it.suffix.is_none())
    })
}
