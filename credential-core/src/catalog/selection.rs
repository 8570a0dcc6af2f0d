//! What the scope editor shows and its buttons do: none, some or all per category, and presets.
//!
//! No preset and no category checkbox ever adds a wildcard, the full-access scope or the scope for
//! acting on behalf of a user: whoever wants those ticks them one by one.

use super::api_type::{ApiType, Category, Permission, Resource};
use super::scope_set::{ScopeIndex, ScopeSet};

/// How much of each category a set holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// In the order of the catalogue.
    pub categories: Vec<CategorySelection>,
}

/// How much of one category a set holds: "`selected` of `total`".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CategorySelection {
    /// The category.
    pub id: String,
    /// None, some or all of it.
    pub state: Selected,
    /// How many of its scopes the set itself holds; what a wildcard confers does not count.
    pub selected: usize,
    /// How many scopes it lists, wildcards included.
    pub total: usize,
    /// How many scopes its checkbox changes: all but wildcards. 0 means a checkbox without effect.
    pub tickable: usize,
}

/// The three states of a category's checkbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selected {
    /// No scope of the category.
    None,
    /// At least one, but not all.
    Some,
    /// Every scope of the category.
    All,
}

impl ApiType {
    /// The preset "read-only": every resource's read scope, nothing else.
    #[must_use]
    pub fn read_only(&self) -> ScopeSet {
        self.listed.reads
    }

    /// The set without any right to write: what is left only ever narrows.
    ///
    /// Full access goes too, as it writes; so does the scope for acting on behalf of a user when
    /// it would be left without the company it needs.
    #[must_use]
    pub fn without_write(&self, set: &ScopeSet) -> ScopeSet {
        if !self.owns(set) {
            return self.no_scopes();
        }
        let mut rest = set.difference(&self.listed.writes);
        for index in [self.wildcard.write, self.full_access]
            .into_iter()
            .flatten()
        {
            rest.remove(index);
        }
        if self.loneliness(&rest).is_some() {
            return self.no_scopes();
        }
        rest
    }

    /// How much of each category a set holds.
    #[must_use]
    pub fn selection(&self, set: &ScopeSet) -> Selection {
        let categories = self.categories.iter().map(|category| {
            let selected = scopes_in(category)
                .filter(|(_, index)| self.owns(set) && set.contains(*index))
                .count();
            let total = scopes_in(category).count();
            CategorySelection {
                id: category.id.clone(),
                state: match selected {
                    0 => Selected::None,
                    n if n == total => Selected::All,
                    _ => Selected::Some,
                },
                selected,
                total,
                tickable: tickable(category, None).count(),
            }
        });
        Selection {
            categories: categories.collect(),
        }
    }

    /// The set after a category's checkbox was ticked (`on`) or cleared. Clearing leaves a wildcard
    /// of the category alone, as ticking does. `None` if there is no such category or the set is of
    /// another API type.
    #[must_use]
    pub fn with_category(&self, set: &ScopeSet, category: &str, on: bool) -> Option<ScopeSet> {
        self.toggled(set, category, None, on)
    }

    /// Like [`ApiType::with_category`], for only the read or only the write scopes.
    #[must_use]
    pub fn with_category_permission(
        &self,
        set: &ScopeSet,
        category: &str,
        permission: Permission,
        on: bool,
    ) -> Option<ScopeSet> {
        self.toggled(set, category, Some(permission), on)
    }

    fn toggled(
        &self,
        set: &ScopeSet,
        category: &str,
        permission: Option<Permission>,
        on: bool,
    ) -> Option<ScopeSet> {
        let category = self.categories.iter().find(|known| known.id == category)?;
        let mut changed = self.owns(set).then_some(*set)?;
        for index in tickable(category, permission) {
            if on {
                changed.insert(index);
            } else {
                changed.remove(index);
            }
        }
        Some(changed)
    }
}

/// Every scope of a category, with its resource.
fn scopes_in(category: &Category) -> impl Iterator<Item = (&Resource, ScopeIndex)> {
    category.resources.iter().flat_map(|resource| {
        [resource.read, resource.write]
            .into_iter()
            .flatten()
            .map(move |index| (resource, index))
    })
}

fn tickable(
    category: &Category,
    permission: Option<Permission>,
) -> impl Iterator<Item = ScopeIndex> {
    scopes_in(category)
        .filter(move |(resource, index)| {
            !resource.wildcard
                && match permission {
                    None => true,
                    Some(Permission::Read) => resource.read == Some(*index),
                    Some(Permission::Write) => resource.write == Some(*index),
                }
        })
        .map(|(_, index)| index)
}
