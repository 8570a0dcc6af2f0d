//! A request and its answer.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    response::{IntoResponse as _, Response},
    routing::future::RouteFuture,
};
use http::{Request, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::Service as _;

use super::open_connections::{Listed, Phase};
use crate::body::unread::{Lender, Over, Rest, ThenDrained, announce_close, lend};

/// The host's app, on one connection.
pub(super) struct App(pub(super) Arc<Listed>);

impl hyper::service::Service<Request<Incoming>> for App {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Exchange;

    fn call(&self, request: Request<Incoming>) -> Exchange {
        let listed = Arc::clone(&self.0);
        let number = listed.begin();
        let mut app = listed.open.app.clone();
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(ConnectInfo(listed.peer));
        let (body, lent) = if body.is_end_stream() {
            (Body::empty(), None)
        } else {
            let timed = Timed {
                body,
                ended: false,
                number,
                listed: Arc::clone(&listed),
            };
            let (body, lent) = lend(timed, parts.version, &parts.headers);
            (Body::new(body), Some(lent))
        };
        Exchange {
            future: app.call(Request::from_parts(parts, body)),
            lent,
            number,
            listed,
        }
    }
}

pin_project_lite::pin_project! {
    /// The answer to come.
    pub(super) struct Exchange {
        #[pin]
        future: RouteFuture<Infallible>,
        lent: Option<Lender<Timed>>,
        number: u16,
        listed: Arc<Listed>,
    }
}

impl Future for Exchange {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.future.poll(context));
        let connection = &this.listed.connection;
        if this.lent.is_some() && connection.body_is_late() {
            response = too_late();
        }
        let mut rest = this.lent.take().and_then(Lender::settle);
        if rest.as_ref().is_some_and(|rest| rest.must_close) {
            rest = None; // so that hyper closes at once, and the client's rest is dropped as it comes
            announce_close(response.headers_mut());
        }
        if this.listed.open.stop.is_told() {
            announce_close(response.headers_mut());
        }
        connection.step(*this.number, Phase::Answering);
        let ending = Ending {
            number: *this.number,
            listed: Arc::clone(this.listed),
        };
        let rest = rest.map(|Rest { body, .. }| body);
        Poll::Ready(Ok(response.map(|body| ThenDrained::new(body, rest, ending))))
    }
}

fn too_late() -> Response {
    let why = "The request's body did not arrive in time.\n";
    let mut response = (StatusCode::REQUEST_TIMEOUT, why).into_response();
    announce_close(response.headers_mut());
    response
}

/// A request's body that reports when it waits for its client, and that ends when this takes too
/// long. If it is dropped before its end, hyper closes the connection, so the connection then
/// lingers.
pub(super) struct Timed {
    body: Incoming,
    ended: bool,
    number: u16,
    listed: Arc<Listed>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(polled, Poll::Ready(None));
        let connection = &self.listed.connection;
        if polled.is_pending() && connection.body_is_late() {
            return Poll::Ready(Some(Err("the body did not arrive in time".into())));
        }
        let phase = if polled.is_pending() {
            Phase::Body
        } else {
            Phase::Working
        };
        connection.step(self.number, phase);
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.listed.connection.linger();
        }
    }
}

/// The body of an answer, and what follows it.
pub(super) type Answer = ThenDrained<Timed, Ending>;

/// Reports to the connection that an exchange is over.
pub(super) struct Ending {
    number: u16,
    listed: Arc<Listed>,
}

impl Over for Ending {
    fn over(self) {
        self.listed.idle(self.number);
    }
}
