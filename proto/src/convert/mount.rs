//! Twins of a mount's options.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use forebay_types::{Admission, AdmissionRule, ByteCount};

use super::WireDefect;
use crate::v1;

/// For how long what was seen of the under-store is taken as true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// For ever: objects never change.
    Immutable,
    /// For this long.
    Bound(Duration),
}

/// What another client's change may lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coherence {
    /// Nothing: each open asks the master.
    Strict,
    /// A few seconds.
    Relaxed,
}

/// What is answered past its freshness while the under-store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// What is known.
    Serve,
    /// An error.
    Fail,
}

/// What may be asked of a mount's under-store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountMode {
    /// Whatever is needed.
    Normal,
    /// Nothing: it is in maintenance.
    NoAccess,
    /// Reads only.
    ReadOnly,
}

/// Where the value of an option comes from. Debug output hides secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum OptionSource {
    /// The value itself.
    Plain(String),
    /// `env:NAME` or `file:PATH`.
    Reference(String),
    /// The value itself, to be sealed before it is logged and never to be shown.
    Secret(String),
}

impl From<Freshness> for v1::Freshness {
    fn from(freshness: Freshness) -> Self {
        let bound = match freshness {
            Freshness::Immutable => v1::freshness::Bound::Immutable(true),
            Freshness::Bound(bound) => {
                v1::freshness::Bound::Nanos(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX))
            }
        };
        Self { bound: Some(bound) }
    }
}

impl TryFrom<v1::Freshness> for Freshness {
    type Error = WireDefect;

    fn try_from(freshness: v1::Freshness) -> Result<Self, WireDefect> {
        match WireDefect::required("bound", freshness.bound)? {
            v1::freshness::Bound::Immutable(true) => Ok(Self::Immutable),
            v1::freshness::Bound::Immutable(false) => {
                Err(WireDefect::invalid("bound")(&"neither immutable nor bound"))
            }
            v1::freshness::Bound::Nanos(nanos) => Ok(Self::Bound(Duration::from_nanos(nanos))),
        }
    }
}

impl From<Coherence> for v1::Coherence {
    fn from(coherence: Coherence) -> Self {
        match coherence {
            Coherence::Strict => Self::Strict,
            Coherence::Relaxed => Self::Relaxed,
        }
    }
}

impl From<OnOutage> for v1::OnOutage {
    fn from(on_outage: OnOutage) -> Self {
        match on_outage {
            OnOutage::Serve => Self::Serve,
            OnOutage::Fail => Self::Fail,
        }
    }
}

/// `None` where nothing is said, which means the default.
impl From<v1::OnOutage> for Option<OnOutage> {
    fn from(on_outage: v1::OnOutage) -> Self {
        match on_outage {
            v1::OnOutage::Unspecified => None,
            v1::OnOutage::Serve => Some(OnOutage::Serve),
            v1::OnOutage::Fail => Some(OnOutage::Fail),
        }
    }
}

impl From<MountMode> for v1::MountMode {
    fn from(mode: MountMode) -> Self {
        match mode {
            MountMode::Normal => Self::Normal,
            MountMode::NoAccess => Self::NoAccess,
            MountMode::ReadOnly => Self::ReadOnly,
        }
    }
}

/// `None` where nothing is said, which means the default.
impl From<v1::MountMode> for Option<MountMode> {
    fn from(mode: v1::MountMode) -> Self {
        match mode {
            v1::MountMode::Unspecified => None,
            v1::MountMode::Normal => Some(MountMode::Normal),
            v1::MountMode::NoAccess => Some(MountMode::NoAccess),
            v1::MountMode::ReadOnly => Some(MountMode::ReadOnly),
        }
    }
}

impl From<&Admission> for v1::Admission {
    fn from(admission: &Admission) -> Self {
        let rule = match admission.rule {
            AdmissionRule::All => v1::admission::Rule::All(true),
            AdmissionRule::None => v1::admission::Rule::None(true),
            AdmissionRule::Small(max) => v1::admission::Rule::SmallBytesMax(max.get()),
            AdmissionRule::Random => v1::admission::Rule::Random(true),
        };
        let texts = |patterns: &[forebay_types::Pattern]| {
            patterns.iter().map(|pattern| Bytes::copy_from_slice(pattern.as_bytes())).collect()
        };
        Self { rule: Some(rule), include: texts(&admission.include), exclude: texts(&admission.exclude) }
    }
}

impl TryFrom<v1::Admission> for Admission {
    type Error = WireDefect;

    fn try_from(admission: v1::Admission) -> Result<Self, WireDefect> {
        let rule = match WireDefect::required("rule", admission.rule)? {
            v1::admission::Rule::All(_) => AdmissionRule::All,
            v1::admission::Rule::None(_) => AdmissionRule::None,
            v1::admission::Rule::SmallBytesMax(max) => AdmissionRule::Small(ByteCount::new(max)),
            v1::admission::Rule::Random(_) => AdmissionRule::Random,
        };
        Self::new(rule, admission.include, admission.exclude)
            .map_err(|error| WireDefect::Invalid { field: "admission", reason: error.to_string() })
    }
}

impl From<OptionSource> for v1::OptionValue {
    fn from(source: OptionSource) -> Self {
        let value = match source {
            OptionSource::Plain(value) => v1::option_value::Value::Plain(value),
            OptionSource::Reference(value) => v1::option_value::Value::Reference(value),
            OptionSource::Secret(value) => v1::option_value::Value::Secret(value),
        };
        Self { value: Some(value) }
    }
}

impl TryFrom<v1::OptionValue> for OptionSource {
    type Error = WireDefect;

    fn try_from(value: v1::OptionValue) -> Result<Self, WireDefect> {
        Ok(match WireDefect::required("value", value.value)? {
            v1::option_value::Value::Plain(value) => Self::Plain(value),
            v1::option_value::Value::Reference(value) => Self::Reference(value),
            v1::option_value::Value::Secret(value) => Self::Secret(value),
        })
    }
}

impl fmt::Debug for OptionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => f.debug_tuple("Plain").field(value).finish(),
            Self::Reference(value) => f.debug_tuple("Reference").field(value).finish(),
            Self::Secret(_) => f.write_str("Secret"),
        }
    }
}
