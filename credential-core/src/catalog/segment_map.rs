//! A hash map for the one lookup that every API call makes: path segment to rights.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::api_type::Rights;

/// Rights by first path segment, or by FHIR type.
///
/// Why foldhash: it takes a fraction of the standard hasher's time on a short name. Its weakness, keys
/// chosen to collide, does not matter: callers look up, only the catalogue inserts.
pub(super) type SegmentMap = HashMap<Box<str>, Rights, FixedState>;
