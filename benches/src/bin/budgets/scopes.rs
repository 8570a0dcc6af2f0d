//! P8: an admin's choice of scopes, parsed and checked.

use std::hint::black_box;

use benches::{
    Error,
    fixture::scope_names,
    measure::nanos_each,
    report::{Budget, Line, Report, Unit, progress},
};
use credential_core::ScopeCatalog;

use crate::Options;

pub fn measure(options: &Options, report: &mut Report) -> Result<(), Error> {
    let catalog = ScopeCatalog::elation();
    let api_type = catalog
        .api_type("apiv2")
        .ok_or("the catalogue lacks `apiv2`")?;
    let names = scope_names(api_type);
    progress("scopes");
    let figure = nanos_each(options.size(500, 50), 100, || {
        let parsed = catalog.parse_scopes(api_type, black_box(&names).iter().copied());
        let checked = parsed.and_then(|set| api_type.check(&set));
        assert!(checked.is_ok(), "a listed scope was refused");
    });
    let what = format!("parse+check/scopes={}", names.len());
    let budget = Budget::at_most(20_000.0, Unit::Nanos);
    report.add(Line::new("P8", what, figure, Unit::Nanos).within(budget))
}
