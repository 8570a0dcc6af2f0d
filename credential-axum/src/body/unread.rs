//! The unread rest of a request's body, as an early refusal leaves it.
//!
//! The kernel resets a connection that is closed while its client still sends, and the reset may
//! reach the client before the answer does. hyper closes such a connection, mostly without
//! announcing it. So the rest is read and dropped here after the answer, within bounds.

use std::{
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, EXPECT},
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tower::{Layer, Service};

/// The largest rest of a body that is read and dropped to keep its connection. It is more than a
/// proxy sends before it reads the answer, and takes little time to read.
const LARGEST_REST: u64 = 4 * 1024 * 1024;

/// How long the rest may take.
const REST_WITHIN: Duration = Duration::from_secs(30);

/// Reads and drops what is left of a request's body after an answer that did not need it: a layer for a
/// host that serves with `axum::serve` or with hyper itself.
///
/// Put it around the whole app, so that it sees what every other layer refuses. The rest of a body is
/// read up to 4 MiB and 30 s. Where more is announced, or the client waits for `100 Continue` and would
/// not send its body any more, the answer says `Connection: close`.
///
/// `serve` (feature `serve`) does the same by itself, and also keeps a closed connection from being reset.
#[derive(Debug, Clone, Copy, Default)]
pub struct DrainUnread;

impl<S> Layer<S> for DrainUnread {
    type Service = DrainUnreadService<S>;

    fn layer(&self, inner: S) -> DrainUnreadService<S> {
        DrainUnreadService { inner }
    }
}

/// A service behind [`DrainUnread`].
#[derive(Debug, Clone)]
pub struct DrainUnreadService<S> {
    inner: S,
}

impl<S> Service<Request> for DrainUnreadService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = DrainUnreadFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.body().is_end_stream() {
            let future = self.inner.call(request);
            return DrainUnreadFuture { future, lent: None };
        }
        let (parts, body) = request.into_parts();
        let (body, lent) = lend(body, parts.version, &parts.headers);
        let future = self.inner.call(Request::from_parts(parts, Body::new(body)));
        DrainUnreadFuture {
            future,
            lent: Some(lent),
        }
    }
}

pin_project_lite::pin_project! {
    /// The answer of a [`DrainUnreadService`].
    pub struct DrainUnreadFuture<F> {
        #[pin]
        future: F,
        lent: Option<Lender<Body>>,
    }
}

impl<F> fmt::Debug for DrainUnreadFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainUnreadFuture").finish_non_exhaustive()
    }
}

impl<F> Future for DrainUnreadFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(Ok(mut response)) = this.future.poll(context) else {
            return Poll::Pending;
        };
        let Some(rest) = this.lent.take().and_then(Lender::settle) else {
            return Poll::Ready(Ok(response));
        };
        if rest.must_close {
            announce_close(response.headers_mut());
        }
        Poll::Ready(Ok(
            response.map(|body| Body::new(ThenDrained::new(body, Some(rest.body), ())))
        ))
    }
}

/// The body of an answer. When it has been sent, the rest of the request's body is read and dropped,
/// and then the exchange is over.
pub(crate) struct ThenDrained<B, O>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    O: Over,
{
    body: Body,
    rest: Option<B>,
    /// Taken on drop.
    over: Option<O>,
}

/// What happens when an exchange is over. Not called if the rest of a body was too large, too slow
/// or broke off, because that ends the connection.
pub(crate) trait Over: Unpin + Send + 'static {
    fn over(self);
}

/// Nothing.
impl Over for () {
    fn over(self) {}
}

impl<B, O> ThenDrained<B, O>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    O: Over,
{
    pub(crate) fn new(body: Body, rest: Option<B>, over: O) -> Self {
        let over = Some(over);
        Self { body, rest, over }
    }
}

impl<B, O> HttpBody for ThenDrained<B, O>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    O: Over,
{
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B, O> Drop for ThenDrained<B, O>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    O: Over,
{
    fn drop(&mut self) {
        let Some(over) = self.over.take() else {
            return;
        };
        match self.rest.take() {
            None => over.over(),
            Some(rest) => in_background(async move {
                if drain(rest).await {
                    over.over();
                }
            }),
        }
    }
}

pub(crate) fn announce_close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Lends a request's body to a handler, which may drop it unread.
pub(crate) fn lend<B: HttpBody<Data = Bytes> + Unpin + Send + 'static>(
    body: B,
    version: Version,
    headers: &HeaderMap,
) -> (Lent<B>, Lender<B>) {
    let loan = Arc::new(Mutex::new(Loan::Out));
    let lent = Lent {
        body: Some(body),
        begun: false,
        loan: Arc::clone(&loan),
    };
    let lender = Lender {
        loan,
        waits_to_continue: version > Version::HTTP_10 && headers.contains_key(EXPECT),
        client_closes: client_closes(version, headers),
    };
    (lent, lender)
}

/// Whether the client ends the connection after this request, and may wait for the end.
fn client_closes(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &[u8]| {
        headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(word))
    };
    if version > Version::HTTP_10 {
        says(b"close")
    } else {
        !says(b"keep-alive")
    }
}

/// A body that a handler holds. If it is dropped before its end, it goes back to its lender.
pub(crate) struct Lent<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> {
    /// `None` once it has ended, well or badly.
    body: Option<B>,
    /// Whether anybody began to read it. hyper says `100 Continue` then.
    begun: bool,
    loan: Arc<Mutex<Loan<B>>>,
}

enum Loan<B> {
    Out,
    Back {
        body: B,
        begun: bool,
    },
    /// The answer was given: what comes back is read and dropped at once.
    Settled,
}

impl<B> HttpBody for Lent<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.begun = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B> Drop for Lent<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let mut loan = self.loan.lock().unwrap_or_else(PoisonError::into_inner);
        match *loan {
            Loan::Settled => in_background(async {
                drain(body).await;
            }),
            Loan::Out | Loan::Back { .. } => {
                let begun = self.begun;
                *loan = Loan::Back { body, begun };
            }
        }
    }
}

/// The lender of a body, who gets it back.
pub(crate) struct Lender<B> {
    loan: Arc<Mutex<Loan<B>>>,
    waits_to_continue: bool,
    client_closes: bool,
}

/// The unread rest.
pub(crate) struct Rest<B> {
    pub(crate) body: B,
    /// The connection cannot be kept, which its answer has to say.
    pub(crate) must_close: bool,
}

impl<B: HttpBody> Lender<B> {
    /// To be called when the answer is known: the body, if it was dropped before its end.
    pub(crate) fn settle(self) -> Option<Rest<B>> {
        let mut loan = self.loan.lock().unwrap_or_else(PoisonError::into_inner);
        let Loan::Back { body, begun } = mem::replace(&mut *loan, Loan::Settled) else {
            return None;
        };
        // Why not kept if the client waits for `100 Continue`: after a refusal some clients send
        // the body and some do not, so the next request could be mistaken for it.
        let must_close = self.client_closes
            || self.waits_to_continue && !begun
            || body.size_hint().lower() > LARGEST_REST;
        Some(Rest { body, must_close })
    }
}

/// Reads a body to its end and drops it: `false` if it is too large, too slow or breaks off.
async fn drain<B>(mut body: B) -> bool
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let to_its_end = async {
        let mut room = LARGEST_REST;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(left) = room.checked_sub(length as u64) else {
                return false;
            };
            room = left;
        }
        true
    };
    tokio::time::timeout(REST_WITHIN, to_its_end)
        .await
        .unwrap_or(false)
}

fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    // Without a runtime no connection is served any more.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
