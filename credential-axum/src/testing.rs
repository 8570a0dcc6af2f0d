//! For a host's own tests: calls of its router without a socket, and [`Access`] for a handler that
//! is called as a function.
//!
//! ```
//! use axum::{Router, routing::get};
//! use credential_axum::{Access, Guard, GuardError, testing::TestHost};
//! use credential_core::{Credentials, ScopeCatalog, testing};
//! use credential_store_memory::MemoryStore;
//!
//! // The host's own.
//! fn app(credentials: &Credentials) -> Result<Router, GuardError> {
//!     let patients = Router::new().route("/api/2.0/patients/", get(patients).post(patients));
//!     Ok(patients.route_layer(Guard::new(credentials, "apiv2")?))
//! }
//! async fn patients(access: Access) -> String {
//!     format!("patients of {}", access.tenant())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Its test.
//! let credentials = testing::builder(MemoryStore::new(), ScopeCatalog::elation()).build()?;
//! let host = TestHost::new(app(&credentials)?);
//! let reader = testing::token(&credentials, "apiv2", &["system/patients.read"]).await;
//!
//! let answer = host.call("GET", "/api/2.0/patients/", &reader).await;
//! assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, "patients of test-tenant"));
//! assert_eq!(host.call("POST", "/api/2.0/patients/", &reader).await.status(), 403);
//! reader.revoke(&credentials).await;
//! assert_eq!(host.call("GET", "/api/2.0/patients/", &reader).await.status(), 401);
//! # Ok(())
//! # }
//! ```

use axum::{Router, body::Body, response::Response};
use credential_core::{Credentials, testing::LiveToken};
use http::{Request, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::Access;

/// A host whose router answers in the test's own process.
#[derive(Debug, Clone)]
pub struct TestHost {
    router: Router,
}

impl TestHost {
    /// Over everything that the host mounts.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self { router }
    }

    /// The answer to a call without a body, made with that token.
    ///
    /// # Panics
    /// As [`send`](Self::send); also if `method` or `path` is invalid.
    pub async fn call(&self, method: &str, path: &str, token: &LiveToken) -> Response<String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, token.authorization())
            .body(Body::empty())
            .expect("the test names a method and a path");
        self.send(request).await
    }

    /// The answer to any request.
    ///
    /// # Panics
    /// If the answer's body breaks off or is not text.
    pub async fn send(&self, request: Request<Body>) -> Response<String> {
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("the host ends its answer");
        let text = String::from_utf8(body.to_bytes().into());
        Response::from_parts(parts, text.expect("the answer is text"))
    }
}

/// The `Access` that a handler gets for a call that needed `scope`, of a client that holds only
/// that scope. Code without HTTP gets `credentials.verify(token.bearer())`.
///
/// # Panics
/// As [`token_of`](credential_core::testing::token_of).
pub async fn access(credentials: &Credentials, api_type: &str, scope: &str) -> Access {
    let token = credential_core::testing::token(credentials, api_type, &[scope]).await;
    let verified = credentials.verify(token.bearer()).await;
    let verified = verified.expect("a token that was issued just now is live");
    let requirement = verified.api_type().requires(scope);
    let requirement = requirement.expect("the credential was given the scope");
    Access::new(verified, requirement, None)
}
