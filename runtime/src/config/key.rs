//! The keys that a configuration type takes, read off the type itself.
//!
//! serde tells a deserializer which fields a struct wants. The probe below walks down one path of fields, notes what
//! the type asks for there, and stops with an error; no value is ever made. Source of the idea: serde-reflection.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::limits::CONFIG_DEPTH_MAX;

/// What the name of each variable begins with.
pub(super) const PREFIX: &str = "FOREBAY_";

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The sections and the key's own name.
    pub path: Vec<&'static str>,
    /// What values it takes.
    pub kind: KeyKind,
}

/// How the text of a variable becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// As it is.
    Text,
    /// A TOML array, or entries between commas.
    List,
    /// Any TOML value, else text.
    Any,
}

impl Key {
    /// The key as documents write it: `worker.page_length`.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }

    /// The variable that sets it: `FOREBAY_WORKER_PAGE_LENGTH`.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = self.path.join("_").replace('-', "_").to_ascii_uppercase();
        format!("{}{name}", PREFIX)
    }
}

/// All keys of `T`, in the order of its fields. Sections nest at most [`CONFIG_DEPTH_MAX`] deep.
///
/// # Panics
/// If sections nest deeper, or if two keys share a variable: both are mistakes of the type's author.
#[must_use]
pub fn keys<T: DeserializeOwned>() -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    collect::<T>(&mut Vec::new(), &mut keys);
    for (position, key) in keys.iter().enumerate() {
        let twin = keys[..position].iter().find(|other| other.variable() == key.variable());
        assert!(twin.is_none(), "two keys share the variable {}", key.variable());
    }
    keys
}

fn collect<T: DeserializeOwned>(path: &mut Vec<&'static str>, keys: &mut Vec<Key>) {
    assert!(path.len() <= CONFIG_DEPTH_MAX, "section {} is nested too deep", path.join("."));
    let mut found = None;
    // The answer is in `found`; the error is how the probe stops.
    let _ = T::deserialize(Probe { path, found: &mut found });
    match found {
        Some(Shape::Section(fields)) => {
            for field in fields {
                path.push(field);
                collect::<T>(path, keys);
                path.pop();
            }
        }
        Some(Shape::Key(kind)) => keys.push(Key { path: path.clone(), kind }),
        // A field without a value, such as one that is skipped.
        None => {}
    }
}

enum Shape {
    Section(&'static [&'static str]),
    Key(KeyKind),
}

struct Probe<'a> {
    path: &'a [&'static str],
    found: &'a mut Option<Shape>,
}

impl Probe<'_> {
    fn stop<T>(self, shape: Shape) -> Result<T, Error> {
        *self.found = Some(shape);
        Err(Error::custom("the probe has its answer"))
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.path.split_first() {
            Some((first, rest)) => {
                let below = Probe { path: rest, found: self.found };
                visitor.visit_map(OneField { name: first, below: Some(below) })
            }
            None => self.stop(Shape::Section(fields)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.stop(Shape::Key(KeyKind::Text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.stop(Shape::Key(KeyKind::Text))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.stop(Shape::Key(KeyKind::Text))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.stop(Shape::Key(KeyKind::List))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.stop(Shape::Key(KeyKind::Any))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct map identifier ignored_any
    }
}

/// A map with one entry: the field on the way down.
struct OneField<'a> {
    name: &'static str,
    below: Option<Probe<'a>>,
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.below.is_none() {
            return Ok(None);
        }
        seed.deserialize(StrDeserializer::new(self.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let below = self.below.take().ok_or_else(|| Error::custom("a value is asked for once"))?;
        seed.deserialize(below)
    }
}
