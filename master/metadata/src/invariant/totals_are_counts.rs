//! The totals of the namespace and of each mount are what counting gives.

use std::collections::BTreeMap;

use super::Facts;
use crate::state::{Totals, TotalsScope};

pub(super) const ID: &str = "totals-are-counts";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut counted: BTreeMap<TotalsScope, Totals> = BTreeMap::new();
    for inode in facts.inodes.values() {
        counted.entry(TotalsScope::Namespace).or_default().add(inode);
        if let Some(mount) = inode.mount {
            counted.entry(TotalsScope::Mount(mount)).or_default().add(inode);
        }
    }
    if counted == facts.totals {
        return Vec::new();
    }
    vec![format!("the totals say {:?}, counting gives {counted:?}", facts.totals)]
}
