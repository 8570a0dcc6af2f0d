//! What is said on standard output when the server has started.

use std::io;

use credential_core::{
    ScopeCatalog,
    catalog::{ApiType, SearchForm},
};

use crate::{sign_in, store::Store};

/// A first key and a first call, from whatever the catalogue offers.
#[derive(Default)]
struct Example<'a> {
    api_type: &'a str,
    scope: Option<&'a str>,
    /// A path that the scope opens.
    path: Option<String>,
}

impl<'a> Example<'a> {
    fn of(catalog: &'a ScopeCatalog) -> Self {
        let api_types = || catalog.api_types().iter();
        let callable = api_types().find_map(|api_type| Self::reads_of(api_type).next());
        callable.unwrap_or_else(|| Self {
            api_type: api_types().next().map_or("", |first| first.id().as_str()),
            ..Self::default()
        })
    }

    /// The resources whose read scope is what reading them needs.
    fn reads_of(api_type: &'a ApiType) -> impl Iterator<Item = Self> {
        let resources = api_type.categories().iter().flat_map(|all| &all.resources);
        resources.filter_map(|resource| {
            let scope = api_type.scope_at(resource.read?)?;
            let path = format!("{}/{}", api_type.base_path(), resource.id);
            let needed = api_type.requirement("GET", &path, SearchForm::None).ok()?;
            (api_type.describe(&needed) == scope.name).then(|| Self {
                api_type: api_type.id().as_str(),
                scope: Some(&scope.name),
                path: Some(path),
            })
        })
    }
}

/// Prints the address, which programs wait for, and then what a newcomer needs.
///
/// # Errors
/// The address could not be printed. An output that is closed afterwards is no error.
pub fn greet(
    out: &mut impl io::Write,
    base: &str,
    store: &Store,
    catalog: &ScopeCatalog,
    self_service: bool,
) -> io::Result<()> {
    let example = Example::of(catalog);
    writeln!(out, "listening on {base}")?;
    out.flush()?;
    let rest = writeln!(
        out,
        "
API Access page   {base}/settings/api-access
Sign in           {base}/sign-in, as {users}

{create}

  curl -s -c jar -d user=alder-admin {base}/sign-in
  curl -s -b jar -H 'Content-Type: application/json' \\
       -d '{{\"name\":\"Lab sync\",\"api_type\":\"{api_type}\",\"scopes\":[{scope}]}}' \\
       {base}/api-access/v1/credentials
  curl -s -d grant_type=client_credentials -d client_id=CLIENT_ID -d client_secret=CLIENT_SECRET \\
       {base}/oauth2/token
{call}
{kept} Ctrl-C stops it.",
        users = sign_in::user_list(),
        create = if self_service {
            "Create an API key and get a token:"
        } else {
            "Self-service is off: no API key can be created here. With `--self-service on`:"
        },
        api_type = example.api_type,
        scope = example
            .scope
            .map_or(String::new(), |scope| format!("\"{scope}\"")),
        call = example.path.map_or(String::new(), |path| format!(
            "  curl -s -H 'Authorization: Bearer ACCESS_TOKEN' {base}{path}\n"
        )),
        kept = match store {
            Store::Memory(_) => "The store is in memory: everything ends with this process.",
            Store::Postgres(_) =>
                "Credentials are kept in PostgreSQL; sign-ins end with this process.",
        },
    );
    if let Err(error) = rest.and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody reads on after the address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use credential_store_memory::MemoryStore;

    use super::*;

    /// Takes so many bytes, then is closed.
    struct Pipe(Vec<u8>, usize);

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_reads_only_the_address_does_not_end_the_server() {
        const LINE: &str = "listening on http://[::1]:80\n";
        let store = Store::Memory(MemoryStore::new());
        let catalog = ScopeCatalog::elation();
        for (room, greeted) in [(0, false), (LINE.len(), true), (10_000, true)] {
            let mut pipe = Pipe(Vec::new(), room);
            assert_eq!(
                greet(&mut pipe, "http://[::1]:80", &store, &catalog, true).is_ok(),
                greeted
            );
            assert_eq!(pipe.0.starts_with(LINE.as_bytes()), greeted);
        }
    }
}
