//! Writes the public API of a library, an item a line, from the JSON that rustdoc makes of it:
//! `published target/doc/credential_core.json`. Called by `scripts/public-api`.

use std::{error::Error, io::Write as _};

use public_api::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let json = std::env::args().nth(1).ok_or("usage: published FILE")?;
    // Left out: what every type has by itself, such as `Send` and `impl<T> From<T> for T`.
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(false)
        .build()?;
    let mut out = std::io::stdout().lock();
    for item in api.items() {
        writeln!(out, "{item}")?;
    }
    Ok(())
}
