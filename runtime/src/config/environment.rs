//! Variables as a layer of settings: `FOREBAY_WORKER_RAM=4GiB` sets the key `ram` of the section `worker`.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ConfigError;
use super::key::{Key, KeyKind, PREFIX, keys};

/// A name that differs in this many letters is taken for a slip.
const SLIPS_MAX: usize = 2;

/// The table that the variables stand for.
pub(super) fn overlay<T: DeserializeOwned>(
    environment: impl Iterator<Item = (String, String)>,
    known: &[&str],
) -> Result<Table, ConfigError> {
    // Sorted, so that of several errors the same one is shown each time.
    let mut variables: Vec<_> = environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    let keys = if variables.is_empty() { Vec::new() } else { keys::<T>() };
    let mut table = Table::new();
    for (variable, text) in variables {
        match keys.iter().find(|key| key.variable() == variable) {
            Some(key) => super::merge(&mut table, layer::<T>(key, &variable, &text)?),
            None if known.contains(&variable.as_str()) => {}
            None => return Err(unknown(variable, &keys, known)),
        }
    }
    Ok(table)
}

/// The table of one variable, checked alone so that an error can name it.
fn layer<T: DeserializeOwned>(key: &Key, variable: &str, text: &str) -> Result<Table, ConfigError> {
    let mut value = value(key.kind, text);
    for name in key.path.iter().rev() {
        value = Value::Table(Table::from_iter([((*name).to_owned(), value)]));
    }
    let Value::Table(table) = value else { unreachable!("a key has at least one name") };
    table.clone().try_into::<T>().map_err(|error| ConfigError::Variable {
        variable: variable.to_owned(),
        reason: error.message().to_owned(),
    })?;
    Ok(table)
}

fn value(kind: KeyKind, text: &str) -> Value {
    let literal = || {
        let mut table = toml::from_str::<Table>(&format!("value = {text}")).ok()?;
        // A text with a line break could smuggle in a second key.
        if table.len() == 1 { table.remove("value") } else { None }
    };
    match kind {
        KeyKind::Text => Value::String(text.to_owned()),
        KeyKind::Any => literal().unwrap_or_else(|| Value::String(text.to_owned())),
        KeyKind::List => literal().filter(Value::is_array).unwrap_or_else(|| {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            Value::Array(entries.map(|entry| Value::String(entry.to_owned())).collect())
        }),
    }
}

fn unknown(variable: String, keys: &[Key], known: &[&str]) -> ConfigError {
    let names = keys.iter().map(Key::variable).chain(known.iter().map(|name| (*name).to_owned()));
    let nearest = names
        .map(|name| (distance(&name, &variable), name))
        .filter(|(slips, _)| *slips <= SLIPS_MAX)
        .min()
        .map(|(_, name)| name);
    ConfigError::UnknownVariable { variable, nearest }
}

/// How many letters must be put in, left out or changed. Source: Wagner and Fischer 1974, with one row.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_slips_of_each_sort() {
        for (left, right, slips) in [("ram", "ram", 0), ("ram", "rim", 1), ("ram", "tram", 1), ("ram", "", 3)]
        {
            assert_eq!((distance(left, right), distance(right, left)), (slips, slips), "{left} {right}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
