//! A catalogue in code: the same content as the file, checked by the same code.

use std::time::Duration;

use super::api_type::{ErrorBody, OnBehalfOfFormat, PathRules, Permission};
use super::{CatalogError, ScopeCatalog, validate};

/// Builds a [`ScopeCatalog`]; see the [file format](super::file) for what each part means.
#[derive(Debug, Clone, Default)]
pub struct CatalogBuilder {
    pub(super) api_types: Vec<ApiTypeBuilder>,
}

impl CatalogBuilder {
    /// Adds an API type.
    #[must_use]
    pub fn api_type(mut self, api_type: ApiTypeBuilder) -> Self {
        self.api_types.push(api_type);
        self
    }

    /// Checks the whole and makes the catalogue.
    ///
    /// # Errors
    /// [`CatalogError`] with every fault.
    pub fn build(self) -> Result<ScopeCatalog, CatalogError> {
        validate::catalog(&self, Vec::new())
    }
}

/// An API type to be checked by [`CatalogBuilder::build`].
#[derive(Debug, Clone)]
pub struct ApiTypeBuilder {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) description: String,
    pub(super) base_path: String,
    pub(super) token_ttl: Duration,
    pub(super) error_body: ErrorBody,
    pub(super) rules: PathRules,
    pub(super) full_access: Option<FullAccessDef>,
    pub(super) on_behalf_of: Option<OnBehalfOfDef>,
    pub(super) introspection: Option<ScopeDef>,
    pub(super) categories: Vec<CategoryBuilder>,
    pub(super) routes: Vec<RouteDef>,
}

#[derive(Debug, Clone)]
pub(super) struct ScopeDef {
    pub(super) name: String,
    pub(super) description: String,
}

#[derive(Debug, Clone)]
pub(super) struct FullAccessDef {
    pub(super) scope: ScopeDef,
    pub(super) excludes_resource_scopes: bool,
}

#[derive(Debug, Clone)]
pub(super) struct OnBehalfOfDef {
    pub(super) scope: ScopeDef,
    pub(super) header: String,
    pub(super) format: OnBehalfOfFormat,
    pub(super) needs_company: bool,
}

#[derive(Debug, Clone)]
pub(super) struct RouteDef {
    pub(super) method: String,
    pub(super) path: String,
    /// `None`: public.
    pub(super) scope: Option<String>,
}

impl ApiTypeBuilder {
    /// An API type whose paths start with `base_path` (`""` for the root).
    ///
    /// Tokens live one hour, errors are problem details, and the rules are
    /// [`PathRules::FirstSegment`], until said otherwise.
    pub fn new(
        id: impl Into<String>,
        label: impl Into<String>,
        base_path: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            description: String::new(),
            base_path: base_path.into(),
            token_ttl: Duration::from_secs(3600),
            error_body: ErrorBody::default(),
            rules: PathRules::FirstSegment,
            full_access: None,
            on_behalf_of: None,
            introspection: None,
            categories: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// What the API is for.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// How long an access token lives: 60 s to 24 h, whole seconds.
    #[must_use]
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.token_ttl = ttl;
        self
    }

    /// The shape that error bodies take.
    #[must_use]
    pub fn error_body(mut self, shape: ErrorBody) -> Self {
        self.error_body = shape;
        self
    }

    /// How a path without a route row of its own maps to a scope.
    #[must_use]
    pub fn rules(mut self, rules: PathRules) -> Self {
        self.rules = rules;
        self
    }

    /// The scope that opens everything, and whether it is never combined with resource scopes.
    #[must_use]
    pub fn full_access(
        mut self,
        scope: impl Into<String>,
        description: impl Into<String>,
        excludes_resource_scopes: bool,
    ) -> Self {
        self.full_access = Some(FullAccessDef {
            scope: ScopeDef::new(scope, description),
            excludes_resource_scopes,
        });
        self
    }

    /// The scope that lets a call name the user it acts for in `header`, and whether it is never
    /// held alone.
    #[must_use]
    pub fn on_behalf_of(
        mut self,
        scope: impl Into<String>,
        description: impl Into<String>,
        header: impl Into<String>,
        format: OnBehalfOfFormat,
        needs_company: bool,
    ) -> Self {
        self.on_behalf_of = Some(OnBehalfOfDef {
            scope: ScopeDef::new(scope, description),
            header: header.into(),
            format,
            needs_company,
        });
        self
    }

    /// The scope whose holder may introspect the tokens of its tenant, with an access token in place of a
    /// client's proof.
    #[must_use]
    pub fn introspection(
        mut self,
        scope: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.introspection = Some(ScopeDef::new(scope, description));
        self
    }

    /// Adds a category.
    #[must_use]
    pub fn category(mut self, category: CategoryBuilder) -> Self {
        self.categories.push(category);
        self
    }

    /// Adds a route row that needs `scope`; `method` may be `*`, `path` is a template.
    #[must_use]
    pub fn route(
        mut self,
        method: impl Into<String>,
        path: impl Into<String>,
        scope: impl Into<String>,
    ) -> Self {
        self.routes.push(RouteDef {
            method: method.into(),
            path: path.into(),
            scope: Some(scope.into()),
        });
        self
    }

    /// Adds a route row that needs nothing, not even a token.
    #[must_use]
    pub fn public_route(mut self, method: impl Into<String>, path: impl Into<String>) -> Self {
        self.routes.push(RouteDef {
            method: method.into(),
            path: path.into(),
            scope: None,
        });
        self
    }
}

impl ScopeDef {
    pub(super) fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
        }
    }
}

/// A category to be checked by [`CatalogBuilder::build`].
#[derive(Debug, Clone)]
pub struct CategoryBuilder {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) resources: Vec<ResourceBuilder>,
}

impl CategoryBuilder {
    /// A category without resources yet.
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            resources: Vec::new(),
        }
    }

    /// Adds a resource.
    #[must_use]
    pub fn resource(mut self, resource: ResourceBuilder) -> Self {
        self.resources.push(resource);
        self
    }
}

/// A resource to be checked by [`CatalogBuilder::build`].
#[derive(Debug, Clone)]
pub struct ResourceBuilder {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) segment: Option<String>,
    pub(super) wildcard: bool,
    pub(super) read: Option<ScopeDef>,
    pub(super) write: Option<ScopeDef>,
}

impl ResourceBuilder {
    /// A resource whose paths start with the segment `id`, without scopes yet.
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            segment: None,
            wildcard: false,
            read: None,
            write: None,
        }
    }

    /// The first segment of the resource's paths, where it is not the id.
    #[must_use]
    pub fn segment(mut self, segment: impl Into<String>) -> Self {
        self.segment = Some(segment.into());
        self
    }

    /// Makes the resource stand for every resource of its API type.
    #[must_use]
    pub fn wildcard(mut self) -> Self {
        self.wildcard = true;
        self
    }

    /// The scope that allows reading.
    #[must_use]
    pub fn read(mut self, scope: impl Into<String>, description: impl Into<String>) -> Self {
        self.read = Some(ScopeDef::new(scope, description));
        self
    }

    /// The scope that allows writing.
    #[must_use]
    pub fn write(mut self, scope: impl Into<String>, description: impl Into<String>) -> Self {
        self.write = Some(ScopeDef::new(scope, description));
        self
    }

    /// The scopes given, with what they permit.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (Permission, &ScopeDef)> {
        let read = self.read.iter().map(|scope| (Permission::Read, scope));
        let write = self.write.iter().map(|scope| (Permission::Write, scope));
        read.chain(write)
    }
}
